import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from famulus.policy.sandbox import find_sandbox


@pytest.fixture(scope="session")
def bwrap(lacking):
    """The path of a bubblewrap that works here."""
    # In a thread, as a test that asks for it may run in a loop already.
    with ThreadPoolExecutor(1) as thread:
        sandbox, reason = thread.submit(lambda: asyncio.run(find_sandbox("bubblewrap"))).result()
    if sandbox is None:
        lacking(reason)
    return shutil.which("bwrap")
