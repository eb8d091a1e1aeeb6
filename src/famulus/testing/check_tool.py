"""The contract of a `Tool`, for any tool.

    class TestDice(ToolContract):
        example = '{"sides": 6}'

        @pytest.fixture
        def tool(self): return dice.build(dice.Settings(), services())

`example` is a call that works in an empty workspace.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from famulus.core.clock import Clock
from famulus.core.errors import ToolError
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Effect, Replay, Tool, ToolAnswer


def services(**given: Any) -> Services:
    """What a tool is built from; nothing but a clock unless it is `given`."""
    return Services(**{"clock": Clock(), **given})


def context(workspace: Path, **given: Any) -> Context:
    """A tool call of the owner in `workspace`."""
    return Context(
        **{
            "session": "test:main:1",
            "person": "owner",
            "agent": "famulus",
            "turn_id": "test::main:1",
            "key": "test::main:1:1",
            "workspace": workspace,
            "clock": Clock(),
            **given,
        }
    )


@pytest.mark.anyio
class ToolContract:
    example: str

    @pytest.fixture
    def tool(self) -> Tool:
        raise NotImplementedError

    def test_the_model_is_told_briefly_what_it_is(self, tool: Tool) -> None:
        assert tool.name.isidentifier()
        assert 0 < len(tool.description) <= 1000

    def test_the_schema_is_one_plain_json_object(self, tool: Tool) -> None:
        text = json.dumps(tool.schema)
        assert tool.schema["type"] == "object"
        assert set(tool.schema.get("required", ())) <= set(tool.schema["properties"])
        assert "$ref" not in text

    def test_effects_and_replay_are_declared(self, tool: Tool) -> None:
        assert all(isinstance(effect, Effect) for effect in tool.effects)
        assert isinstance(tool.replay, Replay)
        if Effect.SENDS in tool.effects or Effect.SPENDS in tool.effects:
            assert tool.replay is not Replay.SAFE

    @pytest.mark.parametrize(
        "arguments", ["", "{", "[]", "null", '"text"', '{"no such argument": 1}', '{"\\ud800": 1}']
    )
    async def test_wrong_arguments_are_an_error_for_the_model(
        self, tool: Tool, tmp_path: Path, arguments: str
    ) -> None:
        if not arguments and not tool.schema.get("required"):
            return
        with pytest.raises(ToolError) as error:
            await tool.call(context(tmp_path), arguments)
        assert str(error.value)

    async def test_a_good_call_says_something(self, tool: Tool, tmp_path: Path) -> None:
        answer = await self._call(tool, tmp_path)
        assert answer.ok
        assert answer.parts

    async def test_calls_at_the_same_time_do_not_disturb_each_other(
        self, tool: Tool, tmp_path: Path
    ) -> None:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(self._call(tool, tmp_path / str(n))) for n in range(3)]
        assert all(call.result().ok for call in calls)

    async def _call(self, tool: Tool, workspace: Path) -> ToolAnswer:
        async with asyncio.timeout(10):
            return await tool.call(context(workspace), self.example)
