import pytest

from famulus.core.clock import Clock
from famulus.core.errors import StoreError, StoreUnavailable
from famulus.store.waiting import when_available

pytestmark = pytest.mark.anyio


class Quick(Clock):
    async def sleep(self, seconds):
        pass


def reading(*outcomes):
    left = list(outcomes)

    async def read():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return read


async def test_a_database_that_is_away_at_the_start_is_waited_for():
    away = StoreUnavailable("It did not answer.")
    assert await when_available(reading(away, away, "rows"), Quick()) == "rows"


async def test_what_waiting_cannot_mend_is_told():
    with pytest.raises(StoreError, match="damaged"):
        await when_available(reading(StoreError("It is damaged."), "rows"), Quick())
