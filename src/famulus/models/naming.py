"""From a name in the configuration to a vendor, its id of the model, and what is known of it.

A model that does not say its provider belongs to the section that it names before a `/`, else to
the one whose pattern it begins with, else to a well-known vendor that it names so, else to the one
whose pattern it holds, else to the one that is the fallback, else to the only one, else to the
well-known vendor whose ids begin so, else to the sections that are only an address.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from famulus.core.config import Config, ModelEntry, Provider
from famulus.core.errors import ConfigError
from famulus.core.prices import Price, find
from famulus.core.protocols import ModelCard
from famulus.models.catalog import Known, lookup
from famulus.models.found import Found
from famulus.models.nearby import is_nearby
from famulus.models.vendors import VENDORS, WELL_KNOWN, completed, keys_of, type_of, usable
from famulus.models.wires import Resolved, offered

_THINKING = ("openrouter", "openai_responses")
_INPUTS = ("text", "image")
_SEND_PDF = ("anthropic", "openai", "openai_responses", "openrouter")
_CONTEXT_TOKENS = 128_000
_RUNS_ELSEWHERE = re.compile(
    r"[:-]cloud$", re.IGNORECASE
)  # Ollama's names of models it only passes on to


class Names:
    """The names of a configuration. Nothing is imported or opened to know what one stands for."""

    def __init__(
        self, config: Config, environment: Mapping[str, str], found: Found | None = None
    ) -> None:
        self._config = config
        self._environment = environment
        self._found = found

    def resolve(self, name: str) -> Resolved:
        """What a `[models]` name, `provider/model-id` or a bare model id stands for. Raises
        `ConfigError`.
        """
        entry = self._config.models.get(name, ModelEntry())
        id_ = entry.id or name
        if entry.provider:
            section = entry.provider
            if section not in self._config.providers and section not in WELL_KNOWN:
                raise ConfigError(
                    f'models.{name}.provider is "{section}", which is not a [providers] section.'
                    f"{_nearest(section, (*self._config.providers, *WELL_KNOWN))}"
                )
        else:
            section, id_ = self._provider_of(id_)
        return self._resolved(name, entry, section, id_)

    def elsewhere(self, name: str) -> list[Resolved]:
        """The same at the other servers that may have the model, where only asking tells which
        has it.
        """
        entry = self._config.models.get(name, ModelEntry())
        id_ = entry.id or name
        if entry.provider or len(servers := self._servers()) < 2:
            return []
        section, rest = self._provider_of(id_)
        if section != servers[0] or rest != id_:
            return []
        return [self._resolved(name, entry, each, id_) for each in servers[1:]]

    def _resolved(self, name: str, entry: ModelEntry, section: str, id_: str) -> Resolved:
        provider = self.provider(section)
        _check(name, entry, section, provider)
        if provider.type in ("openrouter", "nvidia") and "/" not in id_:
            id_ = f"{provider.type}/{id_}"  # `openrouter/auto` is the vendor's whole name
        local = entry.local
        if local is None:
            near = provider.type == "ollama" and is_nearby(provider.base_url)
            local = near and not _RUNS_ELSEWHERE.search(id_)
        known = Known() if provider.type == "offline" else lookup(provider.type, id_) or Known()
        card = ModelCard(
            name=name,
            id=id_,
            provider=section,
            inputs=entry.inputs or _sendable(known.inputs, provider.type) or _INPUTS,
            context_tokens=entry.context_tokens or known.context_tokens or _CONTEXT_TOKENS,
            max_output_tokens=known.max_output_tokens,
            local=local,
            tools=entry.tools,
            price=self._price(entry, section, id_, local=local) or (None if local else known.price),
            answer_bytes=self._config.limits.answer,
        )
        return Resolved(card, provider, entry)

    def _price(self, entry: ModelEntry, section: str, id_: str, *, local: bool) -> Price | None:
        """What is written of a price. A pattern means vendors' models, not those of one's own."""
        names = (id_, f"{section}/{id_}")
        return entry.price or find(self._config.cost.prices, names, patterns=not local)

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
        claimed = next((each for each, provider in providers.items() if provider.fallback), "")
        if (
            slash
            and rest
            and section in WELL_KNOWN
            and (not claimed or usable(section, self._environment))
        ):
            return section, rest
        for candidate, provider in providers.items():
            if any(not p.endswith("/") and p in name for p in provider.patterns):
                return candidate, name
        if claimed:
            return claimed, name
        if name == "offline":
            return name, name
        if len(providers) == 1:
            return next(iter(providers)), name
        vendor = next((each for each, known in VENDORS.items() if name.startswith(known.ids)), "")
        section = self._section_of(vendor)
        servers = self._servers()
        if vendor and (section in providers or usable(vendor, self._environment) or not servers):
            return section, name
        if servers and not get_close_matches(name, list(self._config.models)):
            return servers[0], name
        raise ConfigError(
            f'There is no model "{name}".{_nearest(name, self._config.models)} Add [models.NAME] '
            'with provider and id, or write "provider/model-id".'
        )

    def _servers(self) -> list[str]:
        """The sections that say where a server is, and not what it has."""
        providers = self._config.providers.items()
        return [each for each, given in providers if given.base_url and not given.patterns]

    def _section_of(self, vendor: str) -> str:
        """The first section of that type, or the vendor's own name."""
        sections = self._config.providers.items()
        return next((each for each, given in sections if type_of(each, given) == vendor), vendor)

    def provider(self, section: str) -> Provider:
        """The section with what it leaves out, or a well-known provider that has none."""
        found = self._found
        given = self._config.providers.get(section)
        if given is None and found and found.model.startswith(f"{section}/"):
            return found.provider
        return completed(section, given, self._environment)


def configured_model(config: Config) -> str:
    """The main model as far as the configuration says it; empty when it has to be found."""
    if config.agent.model or config.router.complex:
        return config.agent.model or config.router.complex
    if config.models:
        return next((name for name in config.models if name != config.router.simple), "")
    for section, provider in config.providers.items():
        vendor = VENDORS.get(type_of(section, provider))
        chooses = vendor and vendor.model and not vendor.voice
        if vendor and chooses and keys_of(provider) and not provider.base_url:
            return f"{section}/{vendor.model}"
    return ""


def check_type(section: str, provider: Provider) -> None:
    """Raise `ConfigError` if no wire speaks the provider's type, whether it is used or not."""
    type_ = type_of(section, provider)
    if type_ in (*WELL_KNOWN, "local"):
        return
    known = (*WELL_KNOWN, *offered())
    if type_ not in known:
        raise ConfigError(
            f'providers.{section}.type is "{type_}", which is no type of provider.'
            f"{_nearest(type_, known)} A package can add one as an entry point of the group "
            "famulus.models."
        )


def _check(name: str, entry: ModelEntry, section: str, provider: Provider) -> None:
    """Raise `ConfigError` for what our wires would not send, rather than leave it out in silence.

    What a plugin does with these fields is its own affair.
    """
    type_ = provider.type
    if type_ not in WELL_KNOWN:
        return
    if entry.reasoning and type_ not in _THINKING:
        raise ConfigError(
            f"models.{name}.reasoning is for {' and '.join(_THINKING)}, and its provider is of "
            f"the type {type_}. Write what this vendor calls it under models.{name}.parameters."
        )
    if entry.inputs and "pdf" in entry.inputs and type_ not in _SEND_PDF:
        raise ConfigError(
            f"models.{name}.inputs has pdf, which is not sent to a provider of the type {type_}. "
            f"Take it out, or use a provider of the type {', '.join(_SEND_PDF)}."
        )
    if (entry.routing or provider.routing) and type_ != "openrouter":
        where = f"models.{name}" if entry.routing else f"providers.{section}"
        raise ConfigError(
            f"{where}.routing is for openrouter, and the provider is of the type {type_}. "
            "Take it out, or use a provider of the type openrouter."
        )


def _sendable(inputs: tuple[str, ...], type_: str) -> tuple[str, ...]:
    """What a model takes by the catalogue, without what our wire for it does not send."""
    return tuple(each for each in inputs if each != "pdf" or type_ in _SEND_PDF)


def _nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    if close := get_close_matches(name, list(known), n=3):
        return f" Did you mean {' or '.join(close)}?"
    return f" Known: {', '.join(known)}." if known else ""
