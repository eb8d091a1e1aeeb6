"""From a name in the configuration to a model that can be asked."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from famulus.core.clock import Clock
from famulus.core.config import Config, ModelEntry, Provider
from famulus.core.errors import ConfigError, ModelRejected
from famulus.core.protocols import Chunk, Model, ModelCard, Request
from famulus.models.classify import compiled
from famulus.models.fallback import Fallback
from famulus.models.found import VENDORS, Found, provider_from
from famulus.models.retried import Retried
from famulus.models.routed import Routed

if TYPE_CHECKING:
    import aiohttp

Session = Callable[[], "aiohttp.ClientSession"]
"""Gives the process's one client session. Called when a model is asked for the first time."""

_SAME_ACCOUNT = {"openai_responses": "openai"}  # two wires, one vendor
_WELL_KNOWN = (*VENDORS, *_SAME_ACCOUNT, "ollama", "offline")
_THINKING = ("openrouter", "openai_responses")
_RUNS_ELSEWHERE = re.compile(r"[:-]cloud$")  # Ollama's names of models it only passes on to


class Resolved(NamedTuple):
    """What a name stands for."""

    card: ModelCard
    provider: Provider
    entry: ModelEntry


class Models:
    """The models of a configuration, by name. Nothing is imported or opened to make one."""

    def __init__(
        self,
        config: Config,
        *,
        session: Session,
        clock: Clock,
        environment: Mapping[str, str],
        found: Found | None = None,
    ) -> None:
        self._session = session
        self._clock = clock
        self._environment = environment
        self._config = config
        self._found = found

    def main(self) -> Model:
        """The main agent's model, with its fallbacks and the router."""
        router = self._config.router
        name = configured_model(self._config) or (self._found.model if self._found else "offline")
        complex_ = self._safe(router.complex or name)
        keeps = any(rule.class_ == "local" for rule in router.rules)
        if not router.simple:
            if keeps and not complex_.card.local:
                raise ConfigError(
                    'router.rules has a rule of class "local", but there is no local model to '
                    "keep messages with. Set router.simple to one."
                )
            return complex_
        simple = self.named(router.simple)
        if keeps and not simple.card.local:
            raise ConfigError(
                f'router.rules has a rule of class "local", but router.simple = "{router.simple}" '
                "does not run on this machine. Name a local model there."
            )
        tool = complex_ if router.tool in ("", complex_.card.name) else self._safe(router.tool)
        return Routed(
            simple=simple,
            complex=complex_,
            tool=tool,
            rules=compiled(router.rules),
            local_tools=router.local_tools,
        )

    def named(self, name: str) -> Model:
        """The model that `name` stands for, retried. Raises `ConfigError` when it is not known."""
        resolved = self.resolve(name)
        if resolved.provider.type == "offline":
            # Compiling its rules costs 15 ms that only its users should pay.
            from famulus.models.offline import Offline  # noqa: PLC0415

            return Offline()
        if resolved.provider.type not in _WELL_KNOWN:
            _plugin(resolved.provider.type)
        return Retried(_Later(resolved, self._session), clock=self._clock)

    def resolve(self, name: str) -> Resolved:
        """A `[models]` name, `provider/model-id`, or a bare model id whose provider is found by
        its patterns, then as the fallback, then as the only one, then by the well-known names.
        """
        entry = self._config.models.get(name, ModelEntry())
        id_ = entry.id or name
        if entry.provider:
            section = entry.provider
            if section not in self._config.providers and section not in _WELL_KNOWN:
                raise ConfigError(
                    f'models.{name}.provider is "{section}", which is not a [providers] section.'
                    f"{_nearest(section, (*self._config.providers, *_WELL_KNOWN))}"
                )
        else:
            section, id_ = self._provider_of(id_)
        provider = self._provider(section)
        _check(name, entry, section, provider)
        if provider.type == "openrouter" and "/" not in id_:
            id_ = f"openrouter/{id_}"  # `openrouter/auto` is the vendor's whole name
        local = entry.local
        if local is None:
            local = provider.type == "ollama" and not _RUNS_ELSEWHERE.search(id_)
        card = ModelCard(
            name=name,
            id=id_,
            provider=section,
            inputs=entry.inputs,
            context_tokens=entry.context_tokens,
            local=local,
            tools=entry.tools,
        )
        return Resolved(card, provider, entry)

    def _safe(self, name: str) -> Model:
        first, fallbacks = self.named(name), self._config.agent.fallbacks
        others = [self.named(other) for other in fallbacks if other != name]
        return Fallback([first, *others]) if others else first

    def _provider_of(self, name: str) -> tuple[str, str]:
        """The provider's section of a model that does not say it, and the vendor's id."""
        providers = self._config.providers
        section, slash, rest = name.partition("/")
        if slash and rest and section in providers:
            return section, rest
        for candidate, provider in providers.items():
            for pattern in provider.patterns:
                if pattern.endswith("/") and name.startswith(pattern):
                    keep = provider.type == "openrouter"
                    return candidate, name if keep else name.removeprefix(pattern)
        if slash and rest and section in _WELL_KNOWN:
            return section, rest
        for candidate, provider in providers.items():
            if any(not p.endswith("/") and p in name for p in provider.patterns):
                return candidate, name
        if claimed := [each for each, provider in providers.items() if provider.fallback]:
            return claimed[0], name
        if name == "offline":
            return name, name
        if len(providers) == 1:
            return next(iter(providers)), name
        for vendor, known in VENDORS.items():
            if any(name.startswith(pattern) for pattern in known.patterns):
                return vendor, name
        raise ConfigError(
            f'There is no model "{name}".{_nearest(name, self._config.models)} Add [models.NAME] '
            'with provider and id, or write "provider/model-id".'
        )

    def _provider(self, section: str) -> Provider:
        """The section with what it leaves out, or a well-known provider that has none."""
        found = self._found
        if (
            section not in self._config.providers
            and found
            and found.model.startswith(f"{section}/")
        ):
            return found.provider
        provider = self._config.providers.get(section) or provider_from(section, self._environment)
        if provider.type == "ollama" and not provider.base_url:
            url = provider_from("ollama", self._environment).base_url
            return msgspec.structs.replace(provider, base_url=url)
        vendor = _SAME_ACCOUNT.get(provider.type, provider.type)
        if vendor not in VENDORS or provider.api_key or provider.headers:
            return provider
        if section in self._config.providers and provider.base_url:
            return provider  # a server of the user's own is never sent the vendor's key
        known = provider_from(vendor, self._environment)
        if not known.api_key:
            raise ConfigError(
                f"providers.{section}.api_key is empty. Set it, or "
                f"{VENDORS[vendor].key_variable} in the environment or .env, or use another model."
            )
        url = known.base_url if section not in self._config.providers else provider.base_url
        return msgspec.structs.replace(provider, api_key=known.api_key, base_url=url)


def configured_model(config: Config) -> str:
    """The main model as far as the configuration says it; empty when it has to be found."""
    if config.agent.model or config.router.complex:
        return config.agent.model or config.router.complex
    if config.models:
        return next((name for name in config.models if name != config.router.simple), "")
    for section, provider in config.providers.items():
        vendor = VENDORS.get(_SAME_ACCOUNT.get(provider.type, provider.type))
        if vendor and provider.api_key and not provider.base_url:
            return f"{section}/{vendor.model}"
    return ""


def _check(name: str, entry: ModelEntry, section: str, provider: Provider) -> None:
    """Raise `ConfigError` for what our wires would not send, rather than leave it out in silence.

    What a plugin does with these fields is its own affair.
    """
    type_ = provider.type
    if type_ not in _WELL_KNOWN:
        return
    if entry.reasoning and type_ not in _THINKING:
        raise ConfigError(
            f"models.{name}.reasoning is for {' and '.join(_THINKING)}, and its provider is of "
            f"the type {type_}. Write what this vendor calls it under models.{name}.parameters."
        )
    if (entry.routing or provider.routing) and type_ != "openrouter":
        where = f"models.{name}" if entry.routing else f"providers.{section}"
        raise ConfigError(
            f"{where}.routing is for openrouter, and the provider is of the type {type_}. "
            "Take it out, or use a provider of the type openrouter."
        )


class _Later:
    """A model whose wire is imported and built when it is asked for the first time."""

    def __init__(self, resolved: Resolved, session: Session) -> None:
        self.card = resolved.card
        self._resolved = resolved
        self._session = session
        self._model: Model | None = None

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        if self._model is None:
            try:
                self._model = _wire(self._resolved.provider.type)(*self._resolved, self._session())
            except ConfigError as error:
                raise ModelRejected(str(error), provider=self.card.provider) from error
        async with aclosing(cast("AsyncGenerator[Chunk]", self._model.stream(request))) as chunks:
            async for chunk in chunks:
                yield chunk


def _wire(type_: str) -> Callable[..., Model]:
    """What builds a model of a provider's type. The wires import aiohttp, which costs 200 ms."""
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
    return _plugin(type_)


def _plugin(type_: str) -> Callable[..., Model]:
    """What a package offers as the entry point `type_`, called like the wires of our own."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that most starts save

    plugins = {plugin.name: plugin for plugin in entry_points(group="famulus.models")}
    if type_ in plugins:
        return cast("Callable[..., Model]", plugins[type_].load())
    raise ConfigError(
        f'There is no provider type "{type_}". Known: {", ".join((*_WELL_KNOWN, *plugins))}. '
        "A package can add one as an entry point of the group famulus.models."
    )


def _nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    if close := get_close_matches(name, list(known), n=3):
        return f" Did you mean {' or '.join(close)}?"
    return f" Known: {', '.join(known)}." if known else ""
