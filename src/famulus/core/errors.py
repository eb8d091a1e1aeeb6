"""The errors of Famulus.

FamulusError                  says what, where and what to do next
├── ConfigError               the configuration cannot be used
├── StoreError                the database did not do what was asked
│   ├── StoreFull             no space left on the device; nothing was written
│   ├── Locked                another process uses the database, and only one may
│   ├── StoreDamaged          its file is not what it should be
│   ├── StoreUnavailable      the database cannot be reached; worth another try
│   └── Conflict              an expectation of the transaction did not hold; nothing was written
├── Refused                   a message that never became a turn
│   ├── Invalid               it breaks a format
│   │   └── TooLarge          it breaks a limit on size
│   ├── Gone                  it came before, and what was said then is deleted
│   ├── NotAllowed            its sender is not on the allowlist
│   ├── TooFast               its sender exceeds the rate limit
│   └── Busy                  a queue is full; the sender should try again
│       └── NotReady          a start, a shutdown or a full disk; nothing the sender did
├── ModelError                a model call ended without an answer
│   ├── ModelUnavailable      network, time-out, 408, 409, 5xx, a broken stream
│   │   └── ProviderResting   it failed so often that it is not asked for a while
│   ├── RateLimited           429, with the seconds the vendor asks us to wait
│   ├── ModelRejected         the vendor refuses this request; another try cannot help
│   ├── ModelUnauthorized     the key is missing, wrong or out of credit
│   ├── ContextOverflow       the request is larger than the model's window
│   └── OverLimit             the call could pass a limit on cost or tokens; it was not made
├── ChannelError              a reply was not delivered
│   ├── Unreachable           nobody is connected to receive it now
│   ├── SendLater             the platform asks us to wait
│   └── SendRejected          the platform refuses this message for good
├── ToolError                 becomes text for the model
└── SandboxUnavailable        nothing here can contain a command
"""


class FamulusError(Exception):
    """An error whose text may be shown to the user as it is."""


class ConfigError(FamulusError):
    pass


class StoreError(FamulusError):
    pass


class StoreFull(StoreError):
    pass


class Locked(StoreError):
    pass


class StoreUnavailable(StoreError):
    pass


class StoreDamaged(StoreError):
    pass


class Conflict(StoreError):
    pass


class Refused(FamulusError):
    """`code` is stable and meant for programs; the text is meant for people."""

    code = "refused"

    def __init__(self, text: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


class Invalid(Refused):
    code = "invalid"


class TooLarge(Invalid):
    code = "too_large"


class Gone(Refused):
    code = "gone"


class NotAllowed(Refused):
    code = "not_allowed"


class TooFast(Refused):
    code = "rate_limited"


class Busy(Refused):
    code = "busy"


class NotReady(Busy):
    code = "unavailable"


class ModelError(FamulusError):
    """`provider` names who failed, so that the text can say it, and `model` whose call it was.
    `sent` is false when the request did not get there, so that nobody can charge for it.
    """

    def __init__(self, text: str, *, provider: str = "", status: int = 0) -> None:
        super().__init__(text)
        self.provider = provider
        self.status = status
        self.model = ""
        self.sent = True


class ModelUnavailable(ModelError):
    """`retry_after_seconds` is 0 when nobody said how long it takes."""

    def __init__(
        self, text: str, *, provider: str = "", status: int = 0, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(text, provider=provider, status=status)
        self.retry_after_seconds = retry_after_seconds


class ProviderResting(ModelUnavailable):
    pass


class RateLimited(ModelError):
    def __init__(
        self, text: str, *, provider: str = "", status: int = 429, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(text, provider=provider, status=status)
        self.retry_after_seconds = retry_after_seconds


class ModelRejected(ModelError):
    pass


class ModelUnauthorized(ModelError):
    pass


class ContextOverflow(ModelError):
    pass


class OverLimit(ModelError):
    pass


class ChannelError(FamulusError):
    pass


class Unreachable(ChannelError):
    pass


class SendLater(ChannelError):
    def __init__(self, text: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


class SendRejected(ChannelError):
    pass


class ToolError(FamulusError):
    pass


class SandboxUnavailable(FamulusError):
    pass
