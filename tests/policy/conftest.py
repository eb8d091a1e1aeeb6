import os
import shutil

import pytest


@pytest.fixture
def bwrap():
    """The path of bubblewrap. In CI its absence is a failure, elsewhere a reason to skip."""
    program = shutil.which("bwrap")
    if not program and os.environ.get("CI") == "true":
        pytest.fail("CI must have bubblewrap: apt install bubblewrap")
    if not program:
        pytest.skip("bubblewrap is not installed")
    return program
