"""What a gateway on PostgreSQL owes to others: one at a time, and the truth about its state."""

import asyncio
import signal

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("kept", ["own_server"], indirect=True),
]


async def test_readiness_follows_the_database(make_house, proxy):
    house = make_house(storage={"timeout": 1})
    async with asyncio.timeout(60):
        await house.start()
        async with house.session() as session:

            async def ready():
                async with session.get("/ready") as response:
                    return response.status, (await response.json())["status"]

            assert await ready() == (200, "ready")
            proxy.swallow()
            assert await ready() == (503, "unavailable")
            proxy.flow()
            while await ready() != (200, "ready"):
                await asyncio.sleep(0.05)
        assert await house.end(signal.SIGTERM) == 0


async def test_second_gateway_on_the_same_database_is_refused(make_house, tmp_path):
    house = make_house(storage={"timeout": 1})
    async with asyncio.timeout(60):
        await house.start()
        (tmp_path / "second").mkdir()
        second = make_house(home=tmp_path / "second" / "home")
        await second.spawn()
        assert await second.process.wait() == 1
        (line,) = second.log.read_text().splitlines()
        assert f"Another Famulus (process {house.process.pid} on " in line
        await house.kill()
        await second.start()
        assert await second.end(signal.SIGTERM) == 0
