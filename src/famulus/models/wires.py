"""Building a wire only when it is needed: they import aiohttp, which costs 200 ms."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ConfigError, ModelRejected
from famulus.core.protocols import Chunk, Model, ModelCard, Request
from famulus.models.fitted import fitted, written_bound
from famulus.models.sized import Sized
from famulus.models.streamed import streamed
from famulus.models.vendors import VENDORS, WELL_KNOWN
from famulus.models.withheld import Withheld

if TYPE_CHECKING:
    import aiohttp

Session = Callable[[], "aiohttp.ClientSession"]
"""Gives the process's one client session. Called when a model is asked for the first time."""


Wire = Callable[..., Model]
"""Builds a model from what was resolved and a session."""


class Resolved(NamedTuple):
    """What a name stands for."""

    card: ModelCard
    provider: Provider
    entry: ModelEntry


class Later:
    """A model whose wire is imported and built when it is asked for the first time.

    Whoever's wire it is, its answers have the size that the card allows, and what a rule keeps on
    this machine is withheld from it where it is not local.
    """

    def __init__(
        self, resolved: Resolved, session: Session, find: "Callable[[str], Wire] | None" = None
    ) -> None:
        self.card = resolved.card
        self._resolved = resolved
        self._session = session
        self._find = find or wire
        self._model: Model | None = None
        self._bound = written_bound(resolved.entry)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        if self._model is None:
            try:
                build = self._find(self._resolved.provider.type)
                self._model = Withheld(Sized(build(*self._resolved, self._session())))
            except ConfigError as error:
                raise ModelRejected(str(error), provider=self.card.provider) from error
        request = fitted(request, self.card, self._bound)
        async with streamed(self._model, request) as chunks:
            async for chunk in chunks:
                yield chunk


def wire(type_: str) -> Wire:
    """What builds a model of a provider's type. The wires import aiohttp, which costs 200 ms."""
    type_ = VENDORS[type_].wire if type_ in VENDORS else type_
    if type_ == "anthropic":
        from famulus.models.anthropic import Anthropic  # noqa: PLC0415

        return Anthropic
    if type_ in ("openai", "openrouter"):
        from famulus.models.openai_chat import OpenAIChat  # noqa: PLC0415

        return OpenAIChat
    if type_ == "openai_responses":
        from famulus.models.openai_responses import OpenAIResponses  # noqa: PLC0415

        return OpenAIResponses
    if type_ == "ollama":
        from famulus.models.ollama import Ollama  # noqa: PLC0415

        return Ollama
    return plugin(type_)


def listening(type_: str) -> Wire:
    """What builds a model that turns recordings into text."""
    if type_ == "local":
        from famulus.models.transcribe_local import LocalWhisper  # noqa: PLC0415

        return LocalWhisper
    from famulus.models.transcribe import Transcription  # noqa: PLC0415

    return Transcription


def can_listen(type_: str) -> bool:
    """Whether `listening` knows how to speak with a provider of that type."""
    spoken = VENDORS[type_].wire if type_ in VENDORS else type_
    return spoken in ("openai", "openai_responses", "local")


def offered() -> list[str]:
    """The provider types that other packages offer. None of them is imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that most starts save

    return sorted(entry.name for entry in entry_points(group="famulus.models"))


def plugin(type_: str) -> Wire:
    """What a package offers as the entry point `type_`, called like the wires of our own."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that most starts save

    plugins = {plugin.name: plugin for plugin in entry_points(group="famulus.models")}
    if type_ in plugins:
        return cast("Wire", plugins[type_].load())
    raise ConfigError(
        f'There is no provider type "{type_}". Known: {", ".join((*WELL_KNOWN, *plugins))}. '
        "A package can add one as an entry point of the group famulus.models."
    )
