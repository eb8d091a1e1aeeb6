import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from famulus.core.errors import StoreError
from famulus.store.lock import hold

_HOLDER = """
import sys
from pathlib import Path
from famulus.store.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_holder_is_told_who_holds_it_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    database = tmp_path / "famulus.db"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {holder.pid}.*{database}"), hold(database):
            pass
        holder.kill()
        with hold(database, wait_seconds=10):
            assert (tmp_path / "famulus.db.lock").read_text() == str(os.getpid())


def test_lock_can_be_held_again_after_it_is_left(tmp_path: Path) -> None:
    for _ in range(2):
        with hold(tmp_path / "famulus.db"):
            pass


def test_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"), hold(tmp_path / "no" / "famulus.db"):
        pass


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="has no locks that work"), hold(tmp_path / "famulus.db"):
        pass


def test_a_killed_holder_is_known_until_somebody_has_looked(tmp_path: Path) -> None:
    database = tmp_path / "famulus.db"
    with hold(database) as held:
        assert not held.unclean
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    for _ in range(2):
        with hold(database, wait_seconds=10) as held:
            assert held.unclean
    with hold(database) as held:
        held.unclean = False
    with hold(database) as held:
        assert not held.unclean
