from datetime import UTC, datetime

import pytest

from famulus.core.clock import Clock
from famulus.core.errors import ToolError
from famulus.testing.check_tool import ToolContract, context, services
from famulus.tools.current_datetime import Settings, build

pytestmark = pytest.mark.anyio


class Noon(Clock):
    def now(self):
        return datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


class TestCurrentDatetime(ToolContract):
    example = "{}"

    @pytest.fixture
    def tool(self):
        return build(Settings(), services())


async def ask(tmp_path, arguments, **settings):
    tool = build(Settings(**settings), services())
    return (await tool.call(context(tmp_path, clock=Noon()), arguments)).parts[0].text


async def test_the_time_in_a_zone(tmp_path):
    told = await ask(tmp_path, '{"timezone": "Asia/Tokyo"}')
    assert told == "Wednesday, 2026-07-01 21:00:00+09:00 (Asia/Tokyo, JST)"


async def test_the_configured_zone_is_used_when_none_is_named(tmp_path):
    assert "14:00:00+02:00" in await ask(tmp_path, "{}", timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Berlin", "Europe/Berlin"),
        ("America/new york", "America/New_York"),
        ("Asia/Tokio", "Asia/Tokyo"),
        ("../../etc/passwd", "Use a name like"),
        ("", None),
    ],
)
async def test_an_unknown_zone_names_the_nearest(tmp_path, name, near):
    if near is None:
        assert "2026-07-01" in await ask(tmp_path, '{"timezone": ""}')
        return
    with pytest.raises(ToolError, match=near):
        await ask(tmp_path, f'{{"timezone": "{name}"}}')
