import os

import pytest
from hypothesis import settings

# A shared machine may pause at any moment, so no example is timed. A change is judged by the same
# examples each time; who works on it gets new ones with every run.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
