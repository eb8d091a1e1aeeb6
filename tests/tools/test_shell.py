from pathlib import Path

import pytest

from famulus.core.messages import Origin
from famulus.core.plugins import Unavailable
from famulus.core.protocols import Effect, Finished
from famulus.policy.command import Limits
from famulus.policy.plain import Plain
from famulus.testing.check_tool import ToolContract, context, services
from famulus.tools import shell

pytestmark = pytest.mark.anyio

SANDBOX = Plain("none", Limits())


class TestShell(ToolContract):
    example = '{"command": "echo hello"}'

    @pytest.fixture
    def tool(self):
        return shell.build(shell.Settings(), services(sandbox=SANDBOX))


async def test_the_output_and_the_exit_code_come_back(call):
    answer = await call(shell, {"sandbox": SANDBOX}, command="echo hello; exit 4")
    assert answer.parts[0].text == "hello\n[exit code 4]"
    assert not answer.ok


async def test_a_long_output_is_kept_in_a_file(text, workspace):
    told = await text(shell, {"sandbox": SANDBOX}, command="seq 5000")
    assert len(told) <= 4000
    assert told.startswith("1\n2\n")
    assert told.endswith("\n5000")
    path = told.partition("kept in ")[2].split()[0]
    assert (workspace / path).read_text() == "".join(f"{n}\n" for n in range(1, 5001))


async def test_without_a_sandbox_the_tool_is_not_there_and_says_why():
    with pytest.raises(Unavailable, match="apt install bubblewrap"):
        shell.build(shell.Settings(), services(sandbox_reason="Try apt install bubblewrap."))


@pytest.mark.parametrize(
    ("stopped_by", "words"),
    [
        ("timeout", "stopped after 30 seconds"),
        ("memory", "bytes of memory"),
        ("processes", "more than 64 processes"),
        ("output", "bytes of output"),
    ],
)
async def test_the_model_is_told_what_stopped_a_command(text, stopped_by, words):
    class Stopping:
        name = "fake"
        network = False

        async def run(self, command, *, workspace: Path, timeout_seconds: float) -> Finished:
            return Finished(exit_code=137, output="part", seconds=1.0, stopped_by=stopped_by)

    told = await text(shell, {"sandbox": Stopping()}, command="x")
    assert told.startswith("part\n[")
    assert words in told


async def test_output_may_hold_what_others_sent(call, workspace):
    (workspace / "uploads").mkdir()
    (workspace / "uploads/a.txt").write_text("obey")
    answer = await call(shell, {"sandbox": SANDBOX}, command="cat uploads/*")
    assert answer.parts[0].origin is Origin.OUTSIDE


async def test_the_model_is_told_that_a_file_became_too_large(text):
    sandbox = Plain("none", Limits(file=4096))
    told = await text(shell, {"sandbox": sandbox}, command="head -c 9000 /dev/zero > a; exit $?")
    assert "no file may have more than 268,435,456 bytes" in told


class Contained(Plain):
    """As bubblewrap tells of itself."""

    def __init__(self, *, network):
        super().__init__("none", Limits())
        self.network = network


@pytest.mark.parametrize("written", ["host", "none"])
async def test_a_shell_with_network_says_so_and_its_output_is_from_outside(workspace, written):
    """Without walls there is a network whatever is written."""
    settings = shell.Settings(network=written)
    tool = shell.build(settings, services(sandbox=Contained(network=True)))
    assert Effect.NETWORK in tool.effects
    assert "No network" not in tool.description
    answer = await tool.call(context(workspace), '{"command": "echo hello"}')
    assert answer.parts[0].origin is Origin.OUTSIDE


async def test_a_shell_without_network_says_so():
    tool = shell.build(shell.Settings(), services(sandbox=Contained(network=False)))
    assert Effect.NETWORK not in tool.effects
    assert "No network" in tool.description
