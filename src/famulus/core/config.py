"""The sections of `famulus.toml`. Sections of channels and tools stand in their own files."""

from typing import Annotated, Any, Literal, TypeVar

from famulus.core import checks
from famulus.core.main_agent import Agent, Name
from famulus.core.prices import Price
from famulus.core.settings import Seconds, Secret, Section, Size, doc
from famulus.core.validation import build

SettingsT = TypeVar("SettingsT", bound=Section)


class Server(Section, frozen=True):
    """The gateway's address and who may log in."""

    host: Annotated[
        str,
        doc(
            "Address to listen on. Anything but loopback needs a password.",
            check=checks.listen_host,
        ),
    ] = "127.0.0.1"
    port: Annotated[int, doc("TCP port; 0 takes a free one.", ge=0, le=65535)] = 19876
    password: Annotated[
        Secret,
        doc(
            "Password of the web chat, plain or an argon2 hash. Without one the gateway listens "
            "on loopback only and prints a login link that works once.",
            check=checks.password,
        ),
    ] = Secret()
    public_url: Annotated[
        str,
        doc(
            "The address people use when a proxy or tunnel stands before the gateway.",
            check=checks.public_address,
        ),
    ] = ""
    session_lifetime: Annotated[Seconds, doc("How long a browser stays logged in.", ge=60)] = (
        Seconds(86400)
    )
    login_attempts: Annotated[int, doc("Wrong passwords per minute from one address.", ge=1)] = 5
    max_clients: Annotated[int, doc("WebSockets that may be open at the same time.", ge=1)] = 1000
    trust_loopback: Annotated[
        bool,
        doc(
            "Lets every program of this machine use the WebSocket without a login. Never with a "
            "proxy or a tunnel before the gateway, or with users whom you do not trust."
        ),
    ] = False


class Storage(Section, frozen=True):
    """Where everything is kept."""

    url: Annotated[
        str, doc("`sqlite:///FILE` (relative to the home folder) or `postgresql://…`.")
    ] = "sqlite:///famulus.db"
    timeout: Annotated[Seconds, doc("Longest wait for an answer of PostgreSQL.", gt=0)] = Seconds(
        10
    )
    keep_turns: Annotated[
        Seconds,
        doc(
            "How long the journal of an ended turn is kept: its steps, its reply and long outputs "
            "of its tools. The conversation stays; 0: all stays."
        ),
    ] = Seconds(30 * 86400)
    keep_ids: Annotated[
        Seconds,
        doc(
            "How long the ids of messages are kept after that, so that one that is delivered again "
            "is not answered again; 0: for ever."
        ),
    ] = Seconds(365 * 86400)
    keep_uploads: Annotated[
        Seconds, doc("How long an uploaded file is kept that no message refers to; 0: for ever.")
    ] = Seconds(86400)


class Provider(Section, frozen=True):
    """An account with a model vendor."""

    type: Annotated[
        str,
        doc(
            "The wire format and its defaults: `anthropic`, `openai` (Chat Completions, which most "
            "other servers speak too), `openai_responses`, `openrouter`, `gemini`, `groq`, "
            "`deepseek`, `mistral`, `nvidia`, `zhipu`, `vllm`, `ollama`, `offline`, or the name of "
            "a plugin. Empty: the section's name if it is one of these, else `openai`."
        ),
    ] = ""
    api_key: Annotated[
        Secret, doc("The key; usually `${NAME_OF_A_VARIABLE}`.", check=checks.api_key)
    ] = Secret()
    api_keys: Annotated[
        tuple[Annotated[Secret, doc("A key.", check=checks.api_key)], ...],
        doc("More keys; the next one is used while one is over its limit or not accepted."),
    ] = ()
    base_url: Annotated[
        str,
        doc("Address of the API; empty for the vendor's own.", check=checks.api_address),
    ] = ""
    headers: Annotated[
        dict[str, Secret], doc("Extra headers for every request.", check=checks.headers)
    ] = {}
    patterns: Annotated[
        tuple[Name, ...],
        doc(
            "Which bare model names are this provider's: `vendor/` is how one begins, and is taken "
            "off but for OpenRouter; anything else may stand anywhere in it.",
            examples=["claude"],
        ),
    ] = ()
    fallback: Annotated[bool, doc("Takes the model names that no provider claims.")] = False
    routing: Annotated[
        dict[str, Any],
        doc(
            "OpenRouter's choice between its providers, just as the vendor names it: `order`, "
            "`only`, `ignore`, `sort`, `max_price`, `data_collection`, …."
        ),
    ] = {}
    keep_alive: Annotated[
        str,
        doc(
            "How long Ollama keeps a model loaded after an answer; `-1s` for ever.",
            check=checks.keep_alive,
        ),
    ] = "10m"
    timeout: Annotated[Seconds, doc("Longest silence in the middle of an answer.", gt=0)] = Seconds(
        120
    )
    connect_timeout: Annotated[Seconds, doc("Longest wait for a connection.", gt=0)] = Seconds(10)


class ModelEntry(Section, frozen=True):
    """A model under a name of yours. Parameters are sent only when they are written."""

    provider: Annotated[str, doc("Name of a `[providers]` section.")] = ""
    id: Annotated[str, doc("The vendor's name of the model.")] = ""
    max_tokens: Annotated[int, doc("Longest answer, in tokens.", ge=1, examples=[8192])] | None = (
        None
    )
    temperature: Annotated[float, doc("Randomness.", ge=0, le=2, examples=[0.7])] | None = None
    top_p: Annotated[float, doc("Nucleus sampling.", ge=0, le=1, examples=[0.9])] | None = None
    reasoning: Annotated[
        dict[str, Any],
        doc(
            "How to think, for `openrouter` and `openai_responses`, just as the vendor names it: "
            "`effort`, `max_tokens`, `exclude`, `summary`, …."
        ),
    ] = {}
    routing: Annotated[
        dict[str, Any], doc("As in `[providers]`, for this model alone; merged over that one.")
    ] = {}
    parameters: Annotated[
        dict[str, Any], doc("Anything else for the request's body, just as the vendor names it.")
    ] = {}
    inputs: (
        Annotated[
            tuple[Literal["text", "image", "pdf", "audio"], ...],
            doc(
                "What the model can take in; `pdf` is sent by the types `anthropic`, `openai`, "
                "`openai_responses` and `openrouter`. Default: what the catalogue says of it, else "
                "text and image.",
                examples=[["text", "image"]],
            ),
        ]
        | None
    ) = None
    context_tokens: (
        Annotated[
            int,
            doc(
                "Size of the model's window. Default: what the catalogue says, else 128000.",
                ge=1024,
                examples=[128_000],
            ),
        ]
        | None
    ) = None
    price: (
        Annotated[Price, doc("What it costs, in USD. Default: what the catalogue says.")] | None
    ) = None
    local: (
        Annotated[
            bool,
            doc(
                "Nothing leaves this machine. Default: true for an Ollama that is not on the "
                "internet."
            ),
        ]
        | None
    ) = None
    tools: Annotated[tuple[Name, ...], doc("Patterns of the tools this model may use.")] = ("*",)


class Rule(Section, frozen=True, rename={"class_": "class"}):
    """One piece of evidence about a message."""

    class_: Annotated[
        Literal["simple", "complex", "tool", "local"],
        doc("What a match speaks for; `local` keeps the message on this machine whatever else."),
    ]
    pattern: Annotated[
        str,
        doc(
            "A regular expression; case does not matter.",
            check=checks.not_blank,
            examples=["^(hi|hello)$"],
        ),
    ]
    weight: Annotated[float, doc("How much a match counts.", gt=0)] = 1.0


class Router(Section, frozen=True):
    """Which model answers which kind of message. Without `simple`, and with none found for `pair`,
    there is no routing.
    """

    simple: Annotated[str, doc("Model for simple messages, usually a local one.")] = ""
    complex: Annotated[str, doc("Model for complex messages; empty: the agent's.")] = ""
    tool: Annotated[str, doc("Model for messages that need tools; empty: the agent's.")] = ""
    local_tools: Annotated[
        tuple[Name, ...], doc("Patterns of the tools that the simple model may use.")
    ] = ("calculator", "current_datetime")
    pair: Annotated[
        bool,
        doc(
            "Where no model is configured, and there are a key in the environment and an Ollama "
            "that answers: simple messages go to the latter."
        ),
    ] = True
    boldness: Annotated[
        Literal["careful", "bold"],
        doc(
            "`careful`: only what is recognised as simple goes to the simple model. `bold`: so do "
            "up to five words that nothing speaks against."
        ),
    ] = "careful"
    local_timeout: Annotated[
        Seconds,
        doc("Longest silence of the simple model before the complex one answers instead.", gt=0),
    ] = Seconds(20)
    shadow: Annotated[
        bool, doc("Decide and log only: the agent's model answers, except what stays local.")
    ] = False
    rules: Annotated[tuple[Rule, ...], doc("Rules beside the built-in ones.")] = ()


class Transcription(Section, frozen=True):
    """Who turns spoken messages into text. Pictures and files need no section."""

    enabled: Annotated[bool, doc("Whether recordings are listened to at all.")] = True
    model: Annotated[
        str,
        doc(
            "A `[models]` name or `provider/model-id`; `local/NAME` is faster-whisper on this "
            "machine. Empty: Groq's or OpenAI's, whichever has a key.",
            examples=["groq/whisper-large-v3-turbo"],
        ),
    ] = ""
    language: Annotated[
        str,
        doc(
            "What is spoken, as a code such as `en`; empty lets the model find out.",
            check=checks.language,
        ),
    ] = ""
    max_size: Annotated[Size, doc("Largest recording that is sent.", ge=1000)] = Size(
        25 * 1000 * 1000
    )
    before_rules: Annotated[
        bool,
        doc(
            "Whether another machine may listen although a rule of the class `local` knows the "
            "words only afterwards."
        ),
    ] = False


class SpendingLimits(Section, frozen=True):
    """Limits for a `person:`, an `agent:`, a `channel:` or a `job:`, such as `"person:alice"`."""

    daily_limit_usd: Annotated[float, doc("Most to spend in a day; 0: no limit.", ge=0, le=1e9)] = (
        0.0
    )
    monthly_limit_usd: Annotated[
        float, doc("Most to spend in a month; 0: no limit.", ge=0, le=1e9)
    ] = 0.0
    daily_limit_tokens: Annotated[
        int, doc("Most tokens in a day, input and output together; 0: no limit.", ge=0)
    ] = 0
    monthly_limit_tokens: Annotated[int, doc("Most tokens in a month; 0: no limit.", ge=0)] = 0


class Cost(SpendingLimits, frozen=True):
    """What model calls may cost. No call is made that could pass a limit."""

    enabled: Annotated[bool, doc("Whether calls are booked and limits kept.")] = True
    warn_at_percent: Annotated[
        int, doc("Part of a limit at which you are warned, once; 0: never.", ge=0, le=100)
    ] = 80
    over_limit: Annotated[
        str, doc('`"refuse"`, or the model that takes over when a call could pass a limit.')
    ] = "refuse"
    allow_unknown_price: Annotated[
        bool, doc("Whether a limit in USD lets a model pass whose price is not known.")
    ] = False
    max_tokens: Annotated[
        int,
        doc(
            "Longest answer while a limit applies, of models without `max_tokens` of their own: "
            "what a call can cost must be known before it is made.",
            ge=1,
        ),
    ] = 8192
    prices: Annotated[
        dict[str, Price],
        doc(
            "Prices by the vendor's name of a model, as it is or after its provider and `/`; `*` "
            "stands for anything. `models.NAME.price` counts for more, the catalogue for less."
        ),
    ] = {}
    timezone: Annotated[
        str,
        doc(
            "IANA name of the zone whose midnights part the days. Empty: `agent.timezone`, else "
            "this machine's.",
            check=checks.own_time_zone,
        ),
    ] = ""
    limits: Annotated[dict[str, SpendingLimits], doc("More limits, by who causes the cost.")] = {}


class Engine(Section, frozen=True):
    """How turns are run."""

    max_turns: Annotated[int, doc("Turns at the same time.", ge=1)] = 64
    max_turns_per_person: Annotated[int, doc("Turns at the same time for one person.", ge=1)] = 64
    queue_per_session: Annotated[int, doc("Messages that may wait in one session.", ge=1)] = 50
    max_attempts: Annotated[int, doc("Starts of one turn before it is given up.", ge=1)] = 5
    outbox_expiry: Annotated[
        Seconds, doc("Replies older than this are not sent any more.", gt=0)
    ] = Seconds(86400)
    drain_timeout: Annotated[Seconds, doc("Time for running turns at shutdown; 0: none.")] = (
        Seconds(10)
    )


class Limits(Section, frozen=True):
    """What bad input meets."""

    message: Annotated[Size, doc("Longest message, in bytes of UTF-8.", ge=1)] = Size(64 * 1024)
    upload: Annotated[Size, doc("Largest uploaded file; 0: none.")] = Size(20 * 1000 * 1000)
    frame: Annotated[Size, doc("Largest WebSocket frame.", ge=1024, le=2**30)] = Size(1024 * 1024)
    body: Annotated[Size, doc("Largest HTTP body.", ge=1024)] = Size(25 * 1000 * 1000)
    tool_output: Annotated[
        int, doc("Characters of a tool's output given to the model.", ge=200)
    ] = 4000
    answer: Annotated[
        Size,
        doc(
            "Largest answer of a model: text, thoughts and the arguments of tool calls together. "
            "A larger one is cut off.",
            ge=1024,
        ),
    ] = Size(2 * 1024 * 1024)
    json_depth: Annotated[int, doc("Deepest nesting of a JSON value.", ge=4, le=256)] = 64
    attachments: Annotated[int, doc("Files with one message; 0: none.", ge=0)] = 10
    messages_per_minute: Annotated[
        int,
        doc(
            "Messages from one person in a minute, on channels with an allowlist. The web chat, "
            "the API and the terminal are the owner's: see `owner_messages_per_minute`.",
            ge=1,
        ),
    ] = 20
    owner_messages_per_minute: Annotated[
        int,
        doc("Messages through the gateway's web chat and API in a minute; 0: no limit.", ge=0),
    ] = 0


class Logging(Section, frozen=True):
    """What is written to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], doc("Least level shown.")] = (
        "info"
    )
    format: Annotated[Literal["logfmt", "json"], doc("One line an event, in this format.")] = (
        "logfmt"
    )


class Config(Section, frozen=True):
    """The whole of `famulus.toml`. Every field has a default, so an empty file is valid.

    A value of `channels` and `tools` is the `Settings` of that plugin, or a table not yet checked.
    """

    server: Server = Server()
    storage: Storage = Storage()
    providers: Annotated[dict[str, Provider], doc("Accounts, under names of yours.")] = {}
    models: Annotated[dict[str, ModelEntry], doc("Models, under names of yours.")] = {}
    agent: Agent = Agent()
    router: Router = Router()
    transcription: Transcription = Transcription()
    cost: Cost = Cost()
    engine: Engine = Engine()
    limits: Limits = Limits()
    logging: Logging = Logging()
    channels: Annotated[dict[str, Any], doc("One section per channel.")] = {}
    tools: Annotated[dict[str, Any], doc("One section per tool.")] = {}

    def plugin_settings(
        self, kind: Literal["channels", "tools"], name: str, settings_type: type[SettingsT]
    ) -> SettingsT:
        """The settings of a plugin, its defaults where nothing is written."""
        given = getattr(self, kind).get(name, {})
        return (
            given if isinstance(given, settings_type) else build(settings_type, given, (kind, name))
        )
