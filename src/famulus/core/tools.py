"""A tool from a typed async function.

class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    expression: Annotated[str, doc("What to work out.")]

@tool(effects=(), replay=Replay.SAFE)
async def calculator(context: Context, arguments: Arguments) -> str:
    \"\"\"What the model reads.\"\"\"
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from famulus.core.errors import ToolError
from famulus.core.messages import Origin, Text
from famulus.core.protocols import Context, Effect, Replay, ToolAnswer

ArgumentsT = TypeVar("ArgumentsT", bound=msgspec.Struct)
Function = Callable[[Context, ArgumentsT], Awaitable[str | ToolAnswer]]


class FunctionTool(Generic[ArgumentsT]):
    """A `Tool` whose name, description, schema and arguments come from one function."""

    def __init__(
        self, function: Function[ArgumentsT], *, effects: Iterable[Effect], replay: Replay
    ) -> None:
        self.name = function.__name__
        self.description = inspect.cleandoc(function.__doc__ or "")
        self.effects = frozenset(effects)
        self.replay = replay
        self._function = function
        arguments: type[ArgumentsT] = get_type_hints(function)["arguments"]
        self.schema = tool_schema(arguments)
        self._decoder = msgspec.json.Decoder(arguments)

    async def call(self, context: Context, arguments: str) -> ToolAnswer:
        try:
            decoded = self._decoder.decode(arguments or "{}")
        except msgspec.ValidationError as error:
            raise ToolError(f"Wrong arguments for {self.name}: {error}.") from None
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise ToolError(f"The arguments of {self.name} are not valid JSON: {error}.") from None
        answer = await self._function(context, decoded)
        if isinstance(answer, str):
            return ToolAnswer((Text(answer, Origin.TOOL),))
        return answer


def tool(
    *, effects: Iterable[Effect] = (), replay: Replay = Replay.SAFE
) -> Callable[[Function[ArgumentsT]], FunctionTool[ArgumentsT]]:
    """Make a `Tool` of an async function `(context, arguments) -> str | ToolAnswer`."""
    return lambda function: FunctionTool(function, effects=effects, replay=replay)


def tool_schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of an arguments struct as one object, without `$ref` and titles."""
    (schema,), components = msgspec.json.schema_components([arguments], ref_template="{name}")

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(components[node["$ref"]])
        return {key: inline(value) for key, value in node.items() if key != "title"}

    result: dict[str, Any] = inline(schema)
    result.pop("description", None)
    return result
