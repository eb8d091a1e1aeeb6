"""The section `[agent]` of `famulus.toml`."""

from typing import Annotated, Literal

from famulus.core import checks
from famulus.core.settings import Seconds, Section, doc

Name = Annotated[str, doc("A name or a pattern of names.", check=checks.not_blank)]


class Agent(Section, frozen=True):
    """The main agent."""

    name: Annotated[
        str, doc("What the assistant calls itself.", min_length=1, check=checks.not_blank)
    ] = "famulus"
    model: Annotated[
        str,
        doc("A `[models]` name, or `provider/model-id`. Empty: the first key or server found."),
    ] = ""
    fallbacks: Annotated[tuple[Name, ...], doc("Models to try when the first one fails.")] = ()
    vision: Annotated[
        str, doc("Model for messages with pictures where the chosen one cannot see them.")
    ] = ""
    max_tool_rounds: Annotated[int, doc("Rounds of tool calls in one turn.", ge=1)] = 25
    max_repeats: Annotated[
        int, doc("How often the same call with the same outcome may be made in one turn.", ge=1)
    ] = 3
    max_calls: Annotated[
        int,
        doc("Tool calls of one answer of the model that are run; it is told of the others.", ge=1),
    ] = 64
    parallel_calls: Annotated[
        int, doc("Tool calls of one turn that run at the same time, commands not counted.", ge=1)
    ] = 16
    parallel_commands: Annotated[
        int,
        doc(
            "Commands of one turn that run at the same time. `tools.shell.parallel` is for all "
            "turns together.",
            ge=1,
        ),
    ] = 4
    turn_timeout: Annotated[Seconds, doc("Longest time for one turn.", gt=0)] = Seconds(600)
    turn_tokens: Annotated[
        int,
        doc("Most tokens of all model calls of one turn, input and output; 0: no limit.", ge=0),
    ] = 0
    turn_cost_usd: Annotated[float, doc("Most that one turn may cost; 0: no limit.", ge=0)] = 0.0
    tool_timeout: Annotated[Seconds, doc("Longest time for one tool call.", gt=0)] = Seconds(120)
    tools_allow: Annotated[tuple[Name, ...], doc("Patterns of tools the agent may use.")] = ("*",)
    tools_deny: Annotated[tuple[Name, ...], doc("Patterns of tools it may not; these win.")] = ()
    tools_budget: Annotated[
        int,
        doc(
            "Bytes of tool descriptions in a prompt. Beyond it, the model searches for the others "
            "with `find_tools` and calls them with `use_tool`.",
            ge=0,
        ),
    ] = 4000
    while_busy: Annotated[
        Literal["join", "steer", "queue"],
        doc(
            "Messages that arrive during a turn: `join` makes one next turn of them, `steer` shows "
            "them to the running turn between its steps, `queue` gives each a turn of its own."
        ),
    ] = "join"
    timezone: Annotated[
        str,
        doc(
            "IANA name of the zone you live in. Empty: what your browser says, else this "
            "machine's.",
            check=checks.own_time_zone,
            examples=["Europe/Berlin"],
        ),
    ] = ""
    history_tokens: Annotated[
        int, doc("Size of the window of past messages in a prompt, in tokens.", ge=500)
    ] = 16_000
    history_messages: Annotated[
        int,
        doc(
            "Most past messages in a prompt, tool calls and their results counted, whatever their "
            "size; 0: only `history_tokens` counts.",
            ge=0,
        ),
    ] = 0
    compaction: Annotated[
        bool,
        doc(
            "Whether the model condenses what falls out of the window; else it is just not shown "
            "any more."
        ),
    ] = True
    announce_compaction: Annotated[bool, doc("Tell the chat when that was done.")] = False
    system_prompt: Annotated[
        str,
        doc("Takes the place of the built-in base prompt; `{name}` in it is the agent's name."),
    ] = ""
    prompts: Annotated[str, doc("Folder with `base.md`, `policies/` and `channels/`.")] = ""
    workspace: Annotated[
        str,
        doc(
            "The folder that tools may read and write: absolute, `~/…`, or relative to the home "
            "folder. It may not hold what Famulus itself lives from.",
        ),
    ] = "workspace"
