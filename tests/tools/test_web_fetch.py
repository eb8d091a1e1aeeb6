import sys

import pytest

from famulus.core.errors import ToolError
from famulus.core.messages import Origin
from famulus.core.plugins import Unavailable
from famulus.core.protocols import Fetched
from famulus.testing.check_tool import ToolContract, services
from famulus.tools import web_fetch

pytestmark = pytest.mark.anyio

PAGE = """<html><head><title>A page</title><script>steal()</script><style>p{}</style></head><body>
<h1>Weather</h1><p>It is <b>sunny</b> in Wien &amp; Graz, and it will stay so for a long while.</p>
<p>Tomorrow brings rain to the west, with wind from the sea and temperatures around ten degrees.</p>
<svg><text>hidden</text></svg></body></html>"""


class Web:
    """A door with one page behind it."""

    def __init__(self, body=PAGE, media_type="text/html", status=200, charset="", truncated=False):
        self.asked = []
        self._body = body if isinstance(body, bytes) else body.encode()
        self._rest = (media_type, status, charset, truncated)

    async def fetch(self, url, *, method="GET", headers=None, body=b""):
        self.asked.append(url)
        media_type, status, charset, truncated = self._rest
        return Fetched(url, status, media_type, charset, self._body, truncated)


class TestWebFetch(ToolContract):
    example = '{"url": "https://example.org/"}'

    @pytest.fixture
    def tool(self):
        return web_fetch.build(web_fetch.Settings(), services(egress=Web()))


@pytest.fixture(params=["trafilatura", "stdlib"])
def reader(request, monkeypatch):
    if request.param == "trafilatura":
        pytest.importorskip("trafilatura")
    else:
        monkeypatch.setattr(web_fetch.importlib.util, "find_spec", lambda name: None)


async def test_a_page_becomes_readable_text(text, reader):
    told = await text(web_fetch, {"egress": Web()}, url="https://example.org/")
    assert told.startswith("https://example.org/\n")
    assert "Wien & Graz" in told
    assert "rain to the west" in told
    assert not any(word in told for word in ("steal", "p{}", "<p>", "hidden"))


async def test_everything_that_comes_back_is_marked_as_from_outside(call):
    answer = await call(web_fetch, {"egress": Web("x", "text/plain")}, url="https://example.org/")
    assert {part.origin for part in answer.parts} == {Origin.OUTSIDE}


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/ld+json", ""])
async def test_other_text_is_given_as_it_is(text, kind):
    told = await text(web_fetch, {"egress": Web('{"a": 1}', kind)}, url="https://a.org/")
    assert told == 'https://a.org/\n{"a": 1}'


async def test_what_is_not_text_is_refused(text):
    with pytest.raises(ToolError, match="not text: image/png, 5 bytes"):
        await text(web_fetch, {"egress": Web(b"\x89PNG\0", "image/png")}, url="https://a.org/")


async def test_an_error_of_the_site_is_told(call):
    answer = await call(web_fetch, {"egress": Web("gone", "text/plain", 404)}, url="https://a.org/")
    assert not answer.ok
    assert answer.parts[0].text == "https://a.org/ answered 404\ngone"


async def test_a_long_page_is_cut_and_kept_where_it_stays_marked(text, workspace):
    long = "begin " + "x " * 10_000
    told = await text(web_fetch, {"egress": Web(long, "text/plain")}, url="https://a.org/")
    assert len(told) <= 4000
    path = told.partition("kept in ")[2].split()[0]
    assert path.startswith("uploads/")
    assert (workspace / path).read_text() == long


@pytest.mark.parametrize(
    ("body", "charset"),
    [("Grüße", "utf-8"), ("Grüße".encode("latin-1"), "latin-1"), ("Grüße", "no-such-charset"),
     ('<meta charset="latin-1">Grüße'.encode("latin-1"), "")],
)  # fmt: skip
async def test_the_charset_is_understood(text, body, charset):
    web = Web(body, "text/plain", charset=charset)
    assert "Grüße" in await text(web_fetch, {"egress": web}, url="https://a.org/")


async def test_an_address_without_a_scheme_is_taken_for_https(text):
    web = Web("x", "text/plain")
    await text(web_fetch, {"egress": web}, url="example.org/a")
    assert web.asked == ["https://example.org/a"]


async def test_without_a_door_the_tool_is_not_there():
    with pytest.raises(Unavailable):
        web_fetch.build(web_fetch.Settings(), services())


def test_the_reader_is_not_imported_before_it_is_needed():
    assert "trafilatura" not in web_fetch.__dict__
    assert web_fetch.__name__ in sys.modules
