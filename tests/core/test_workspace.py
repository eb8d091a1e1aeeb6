import errno
import os
import stat
import subprocess
import sys
import time

import pytest

from famulus.core.errors import ToolError
from famulus.core.messages import Origin
from famulus.core.workspace import (
    append_bytes,
    read_bytes,
    shortened,
    walk,
    write_bytes,
)

SWAPPING = """
import os, sys
os.chdir(sys.argv[1])
while True:
    os.symlink("../outside", "spot")
    os.unlink("spot")
    os.rename("real", "spot")
    os.rename("spot", "real")
"""


def test_a_folder_that_turns_into_a_link_all_the_time_never_leads_out(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder, content in ((outside, "secret"), (root / "real", "mine")):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(content)
    read = refused = 0
    with subprocess.Popen([sys.executable, "-c", SWAPPING, str(root)]) as swapping:
        try:
            until = time.monotonic() + 20
            while (read < 50 or refused < 50) and time.monotonic() < until:
                try:
                    assert read_bytes(root, "spot/a.txt", limit=100) == b"mine"
                    read += 1
                except ToolError as error:
                    refused += "link" in str(error)
        finally:
            swapping.kill()
    assert read >= 50
    assert refused >= 50


def test_a_write_replaces_at_once_and_keeps_the_mode(tmp_path):
    write_bytes(tmp_path, "a/b/c.sh", b"old")
    (tmp_path / "a/b/c.sh").chmod(0o755)
    with (tmp_path / "a/b/c.sh").open("rb") as reader:
        write_bytes(tmp_path, "a/b/c.sh", b"new")
        assert reader.read() == b"old"
    assert (tmp_path / "a/b/c.sh").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a/b/c.sh").stat().st_mode) == 0o755
    assert os.listdir(tmp_path / "a/b") == ["c.sh"]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch):
    write_bytes(tmp_path, "a.txt", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError, match="The disk is full"):
        write_bytes(tmp_path, "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_devices_are_refused(tmp_path):
    with pytest.raises(ToolError):
        append_bytes(tmp_path, "/dev/full", b"x")


def test_walking_does_not_follow_links(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "out")
    (root / "a\nb").write_text("x")
    assert [(entry.path, entry.kind) for entry in walk(root)] == [("link", "link")]


def test_a_workspace_that_was_never_written_is_empty(tmp_path):
    assert list(walk(tmp_path / "none")) == []


def test_a_long_text_keeps_both_ends_and_the_whole_in_a_file(tmp_path):
    text = "begin " + "x" * 5000 + " end"
    short = shortened(tmp_path, "turn:1", text, Origin.TOOL, 1000)
    assert len(short) == 1000
    assert short.startswith("begin")
    assert short.endswith(" end")
    path = short.partition("kept in ")[2].split()[0]
    assert (tmp_path / path).read_text() == text


@pytest.mark.parametrize("write", [write_bytes, append_bytes])
def test_what_was_written_is_on_the_disk_with_all_folders_that_lead_to_it(
    tmp_path, monkeypatch, write
):
    synced, fsync = [], os.fsync

    def note(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((path, os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path, "a/b/file", b"12345")
    paths = [path for path, _ in synced]
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(paths)
    assert 5 in [size for path, size in synced if not path.endswith(("a", "b", tmp_path.name))]
    assert paths[-1] == str(tmp_path / "a" / "b")
    synced.clear()
    write(tmp_path, "a/b/file", b"67")
    assert synced
