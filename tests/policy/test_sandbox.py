import asyncio
import os
import socket
import uuid
from pathlib import Path

import pytest

from famulus.core.errors import ToolError
from famulus.core.workspace import read_bytes
from famulus.policy.bubblewrap import Bubblewrap
from famulus.policy.command import Limits
from famulus.policy.plain import Plain
from famulus.policy.sandbox import find_sandbox, inside_container

pytestmark = pytest.mark.anyio

LIMITS = Limits(memory=128 * 2**20, processes=20, output=100_000, file=2**20)
BOTH = ("bubblewrap", "container")

# Doubles down to a depth, so that a sandbox that fails the test does not take the machine along.
BOMB = 'b() { [ "$1" -gt 6 ] || { b $(($1+1)) | b $(($1+1)) & }; sleep 20; }; b 0; sleep 20'


@pytest.fixture
def make(request, tmp_path):
    """Runs a shell command in the named sandbox."""

    def runner(name):
        if name == "bubblewrap":
            sandbox = Bubblewrap(request.getfixturevalue("bwrap"), LIMITS)
        else:
            sandbox = Plain("container", LIMITS)

        async def run(command, seconds=20.0):
            async with asyncio.timeout(40):
                return await sandbox.run(
                    ["/bin/sh", "-c", command],
                    workspace=tmp_path / "workspace",
                    timeout_seconds=seconds,
                )

        return run

    return runner


@pytest.fixture
def sh(make):
    return make("bubblewrap")


def living(marker: str) -> list[int]:
    """The processes that have `marker` in their command line."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                line = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line:
                found.append(int(path.name))
    return found


async def test_the_command_sees_the_workspace_and_its_output_comes_in_order(sh, tmp_path):
    finished = await sh("pwd; echo mistake >&2; echo hello > a.txt; cat a.txt; exit 3")
    assert finished.output == "/work\nmistake\nhello\n"
    assert (finished.exit_code, finished.stopped_by, finished.truncated) == (3, "", False)
    assert (tmp_path / "workspace/a.txt").read_text() == "hello\n"


async def test_there_is_no_network(sh):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        finished = await sh(
            f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)'"
            f" || exec 3<>/dev/tcp/127.0.0.1/{port}; ls /sys/class/net; cat /proc/net/dev"
        )
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "eth0" not in finished.output


async def test_a_command_that_is_given_the_network_reaches_it_and_no_more_files(bwrap, tmp_path):
    sandbox = Bubblewrap(bwrap, LIMITS, network=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        finished = await sandbox.run(
            ["/bin/sh", "-c", f'python3 -c "{code}" && cat /etc/resolv.conf; ls /root /home /run'],
            workspace=tmp_path / "workspace",
            timeout_seconds=20,
        )
        server.settimeout(5)
        server.accept()[0].close()
    assert Path("/etc/resolv.conf").read_text() in finished.output
    assert finished.output.count("No such file") == 3


async def test_no_file_of_ours_can_be_read(sh, tmp_path, monkeypatch):
    canary = f"canary-{uuid.uuid4().hex}"
    monkeypatch.setenv("API_KEY", canary)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("famulus.toml", "famulus.db", ".secret_key", ".env"):
        (home / name).write_text(canary)
    finished = await sh(
        f"cat {home}/* {home}/.* /proc/*/environ /etc/shadow; ls -a /root /home {Path.home()};"
        f"grep -rls {canary} /etc /home /root /tmp /var /work; env; ls /; echo done"
    )
    assert finished.output.endswith("done\n")
    assert canary not in finished.output
    assert "root:" not in finished.output


async def test_nothing_outside_the_workspace_can_be_written(sh, tmp_path):
    finished = await sh(
        f"for d in / /usr /etc /usr/bin /proc/sys/kernel {tmp_path}; do"
        " touch $d/planted && echo WROTE $d; done; touch /tmp/scratch && echo fine"
    )
    assert "WROTE" not in finished.output
    assert finished.output.endswith("fine\n")
    assert not Path("/usr/planted").exists()


async def test_the_kernel_refuses_what_could_break_out(sh):
    finished = await sh(
        "unshare -U true && echo ESCAPED; mount -t tmpfs none /tmp && echo ESCAPED;"
        'python3 -c "'
        "import ctypes, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.ptrace(0, 0, 0, 0), ctypes.get_errno())\n"
        "print(libc.ioctl(0, 0x5412, b'x'), ctypes.get_errno())\n"
        "try: socket.socket(40, 1)\n"
        "except OSError as error: print(error.errno)\n"
        "socket.socket(socket.AF_UNIX).close()\n"
        '"; grep -E "CapEff|NoNewPrivs" /proc/self/status'
    )
    assert "ESCAPED" not in finished.output
    assert "-1 1\n-1 1\n1\n" in finished.output
    assert "CapEff:\t0000000000000000\nNoNewPrivs:\t1" in finished.output


async def test_a_link_that_a_command_plants_leads_no_tool_out(sh, tmp_path):
    await sh("ln -s /etc/passwd passwd; ln -s / root")
    for path in ("passwd", "root/etc/passwd"):
        with pytest.raises(ToolError):
            read_bytes(tmp_path / "workspace", path, limit=10_000)


@pytest.mark.parametrize("name", BOTH)
async def test_what_a_command_leaves_behind_dies_with_it(make, name):
    marker = f"7{uuid.uuid4().int % 10**8}"
    finished = await make(name)(f"setsid sleep {marker} & (setsid sleep {marker} &) ; echo hi")
    assert finished.output == "hi\n"
    assert finished.seconds < 10
    assert not living(marker)


@pytest.mark.parametrize("name", BOTH)
async def test_a_time_out_ends_the_whole_tree_and_keeps_the_output(make, name):
    marker = f"7{uuid.uuid4().int % 10**8}"
    finished = await make(name)(f"echo begun; setsid sleep {marker} & sleep {marker}", seconds=0.5)
    assert (finished.stopped_by, finished.output) == ("timeout", "begun\n")
    assert finished.seconds < 10
    assert not living(marker)


@pytest.mark.parametrize("name", BOTH)
async def test_cancelling_ends_the_whole_tree_before_it_returns(make, name, tmp_path):
    marker = f"7{uuid.uuid4().int % 10**8}"
    run, begun = make(name), asyncio.Event()
    pipe = tmp_path / "workspace/begun"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    # Open for both, so that neither opening nor reading waits for a command that may never come.
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    asyncio.get_running_loop().add_reader(reader, begun.set)
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(run(f"setsid sleep {marker} & echo x > begun; sleep {marker}"))
            await begun.wait()
            task.cancel()
    finally:
        asyncio.get_running_loop().remove_reader(reader)
        os.close(reader)
    assert not living(marker)


@pytest.mark.parametrize("name", BOTH)
async def test_a_fork_bomb_stays_small_and_ends(make, name):
    finished = await make(name)(BOMB, seconds=3)
    # Root has no limit of the kernel's, so the command is ended; others just cannot fork.
    assert finished.stopped_by == "processes" or "ork" in finished.output
    assert finished.seconds < 15


@pytest.mark.parametrize("name", BOTH)
async def test_one_process_cannot_take_all_memory(make, name):
    finished = await make(name)("python3 -c 'x = bytearray(10**9)'")
    assert finished.exit_code
    assert "MemoryError" in finished.output or finished.stopped_by == "memory"


@pytest.mark.parametrize("name", BOTH)
async def test_many_processes_cannot_take_all_memory_together(make, name):
    hog = "import time; x = b'x' * 60_000_000; time.sleep(20)"
    finished = await make(name)(f'for i in 1 2 3 4; do python3 -c "{hog}" & done; wait')
    assert finished.stopped_by == "memory"
    assert finished.seconds < 15


@pytest.mark.parametrize("name", BOTH)
async def test_a_flood_of_output_is_cut_and_stopped(make, name):
    finished = await make(name)("yes")
    assert (finished.stopped_by, finished.truncated) == ("output", True)
    assert len(finished.output) == LIMITS.output


async def test_the_temporary_folder_and_single_files_are_bounded(sh):
    finished = await sh("head -c 2000000 /dev/zero > big; head -c 99000000 /dev/zero > /dev/shm/x")
    assert finished.exit_code
    assert await sh("stat -c %s big") is not None
    assert (await sh("stat -c %s big")).output == f"{LIMITS.file}\n"


@pytest.mark.parametrize("name", BOTH)
async def test_commands_do_not_see_each_other(make, name):
    run = make(name)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(run(f"echo {n}; exit {n}")) for n in range(8)]
    assert [(c.result().exit_code, c.result().output) for c in calls] == [
        (n, f"{n}\n") for n in range(8)
    ]


async def test_the_sandbox_that_is_found_works(bwrap):
    found, reason = await find_sandbox()
    assert found is not None
    assert not reason


async def test_without_bubblewrap_and_container_there_is_none_and_the_way_to_mend_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found, reason = await find_sandbox("bubblewrap")
    assert found is None
    assert "apt install bubblewrap" in reason


async def test_a_bubblewrap_that_does_not_work_is_not_used(tmp_path, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found, reason = await find_sandbox("bubblewrap")
    assert found is None
    assert "uid map: Permission denied" in reason
    assert "apparmor_restrict_unprivileged_userns" in reason


async def test_no_walls_at_all_only_when_written_by_hand():
    found, _ = await find_sandbox("none")
    assert found is not None
    assert found.name == "none"


def test_a_container_is_known_by_its_marks(tmp_path):
    assert not inside_container(tmp_path, {})
    assert inside_container(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    (tmp_path / ".dockerenv").touch()
    assert inside_container(tmp_path, {})
