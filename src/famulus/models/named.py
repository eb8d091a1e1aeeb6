"""From a name in the configuration to a model that can be asked.

Around the wire of each model stand, from the outside:

- `Matched`, where a model cannot see pictures;
- `Fallback`, the other models;
- `Lightened`, so that a picture or document that is refused locks no conversation;
- `Retried`, so that a bad moment changes no model;
- `Interrupted`, the provider's breaker, inside so that it counts every request; another try that
  meets it open fails at once and is the last, so nobody waits for a provider that rests;
- `Rotated`, a wire for each key, inside so that a limited key neither waits while another one
  works nor counts against the provider;
- `Budgeted`, so that each single call is booked;
- `Withheld`, inside of all and built with the wire itself, so that nothing private passes it,
  whichever way a request came.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from famulus.core.clock import Clock
from famulus.core.config import Config, ModelEntry, Provider
from famulus.core.errors import ConfigError, OverLimit
from famulus.core.prices import Price, find
from famulus.core.protocols import Model, ModelCard, Transcriber
from famulus.core.settings import Secret
from famulus.models.breaker import Breaker, Interrupted
from famulus.models.budgeted import Budgeted
from famulus.models.catalog import Known, lookup
from famulus.models.classify import compiled, keeps_local
from famulus.models.fallback import Fallback
from famulus.models.found import Found
from famulus.models.kept import Kept
from famulus.models.lightened import Lightened
from famulus.models.listeners import transcriber
from famulus.models.matched import Matched
from famulus.models.nearby import is_nearby
from famulus.models.retried import Retried
from famulus.models.rotated import Keys, Rotated
from famulus.models.routed import Routed
from famulus.models.vendors import VENDORS, WELL_KNOWN, completed, keys_of, type_of, usable
from famulus.models.wires import (
    Later,
    Resolved,
    Session,
    Wire,
    offered,
    plugin,
)
from famulus.models.withheld import Withheld
from famulus.state.budget import Budget

_THINKING = ("openrouter", "openai_responses")
_INPUTS = ("text", "image")
_SEND_PDF = ("anthropic", "openai", "openai_responses", "openrouter")
_CONTEXT_TOKENS = 128_000
_DEAR = Price(input=5.0, output=25.0)  # what the dearer ones of the widely used models cost
_RUNS_ELSEWHERE = re.compile(r"[:-]cloud$")  # Ollama's names of models it only passes on to


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
        budget: Budget | None = None,
    ) -> None:
        """Raises `ConfigError` for a provider whose type nobody knows."""
        for section, provider in config.providers.items():
            check_type(section, provider)
        self._session = session
        self._clock = clock
        self._environment = environment
        self._config = config
        self._found = found
        self._budget = budget
        self._breakers: dict[str, Breaker] = {}
        self._keys: dict[str, Keys] = {}
        self.keeps = keeps_local(config.router.rules)
        self.simple = config.router.simple or (found.simple if found else "")
        self._fallbacks = config.agent.fallbacks or (found.fallbacks if found else ())

    def main(self) -> Model:
        """The main agent's model, with its fallbacks and the router."""
        router = self._config.router
        name = self._main_name()
        complex_ = self._safe(router.complex or name)
        if not self.simple:
            if self.keeps and not complex_.card.local:
                raise ConfigError(
                    'router.rules has a rule of class "local", but there is no local model to '
                    "keep messages with. Set router.simple to one."
                )
            return complex_
        # Where its server says that it cannot see a picture, the complex one answers.
        simple = self._matched(self._one(self.simple), doubted=False)
        if self.keeps and not simple.card.local:
            raise ConfigError(
                f'router.rules has a rule of class "local", but router.simple = "{self.simple}" '
                "does not run on this machine. Name a local model there."
            )
        tool = complex_ if router.tool in ("", complex_.card.name) else self._safe(router.tool)
        return Routed(
            simple=simple,
            complex=complex_,
            tool=tool,
            rules=compiled(router.rules, bold=router.boldness == "bold"),
            local_tools=router.local_tools,
            local_timeout=router.local_timeout,
            shadow=self._safe(name) if router.shadow else None,
        )

    def named(self, name: str) -> Model:
        """The model that `name` stands for, and behind it the fallbacks, the agent's own model the
        last of them. Raises `ConfigError` when it is not known.
        """
        return self._safe(name, *((self._main_name(),) if self._fallbacks else ()))

    def doubt(self, name: str) -> str:
        """Why a name may be wrong though a provider takes it; empty when the model is known.

        Raises `ConfigError` when no provider takes it.
        """
        resolved = self.resolve(name)
        type_, id_ = resolved.provider.type, resolved.card.id
        if name in self._config.models or type_ in ("ollama", "offline") or lookup(type_, id_):
            return ""
        return (
            f"Nothing is known of a model {id_} here, so {resolved.card.provider} is asked for it "
            "as it stands."
        )

    def kept(self, name: str = "") -> Model:
        """Who answers what a rule keeps on this machine where `name` is chosen, or nobody for an
        empty one: the chosen model if it is local, else the router's, else the agent's.
        """
        simple, main = self.simple, self._main_name()
        for each in filter(None, (name, simple, main)):
            model = self._one(each)
            if model.card.local:
                routed = each == simple and each != name
                tools = self._config.router.local_tools if routed else ("*",)
                return Kept(self._matched(model, here=True), tools)
        return self.named(name or main)

    def _main_name(self) -> str:
        found = self._found.model if self._found else "offline"
        return configured_model(self._config) or found

    def transcriber(self) -> Transcriber | None:
        """Who listens to recordings, or None where that is off or there is no key for it."""
        return transcriber(self._config, self._environment, self.resolve, self._guarded)

    def _matched(self, model: Model, *, here: bool = False, doubted: bool = True) -> Model:
        """The model, with another one for pictures where it cannot see them, or where only its
        server knows (`doubted`); `here` only with a local one.
        """
        name = self._config.agent.vision
        doubted = doubted and self._provider(model.card.provider).type == "ollama"
        if "image" in model.card.inputs and not doubted:
            return model
        if not name or name == model.card.name:
            return Matched(model)
        vision = self._one(name)
        if "image" not in vision.card.inputs:
            raise ConfigError(
                f'agent.vision = "{name}" cannot see pictures, as far as is known. Name another '
                f'model, or write models.{name}.inputs = ["text", "image"].'
            )
        return Matched(model, vision if vision.card.local or not here else None)

    def _one(self, name: str) -> Model:
        """A model with what guards its wire, and the one that takes over when it is too dear."""
        resolved = self.resolve(name)
        if resolved.provider.type == "offline":
            # Compiling its rules costs 15 ms that only its users should pay.
            from famulus.models.offline import Offline  # noqa: PLC0415

            return Withheld(Offline())
        if resolved.provider.type not in WELL_KNOWN:
            plugin(resolved.provider.type)
        guarded = Lightened(self._guarded(resolved))
        spare = self._config.cost.over_limit
        if spare in ("refuse", name) or guarded.card.local:
            return guarded  # what is meant to stay on this machine is not given away
        return Fallback((guarded, self._one(spare)), on=OverLimit)

    def _guarded(self, resolved: Resolved, *, find: Callable[[str], Wire] | None = None) -> Model:
        """The wires of a model, one for each key, and around them what stands between."""
        section, provider = resolved.card.provider, resolved.provider
        wires: list[Model] = [
            self._booked(
                Later(
                    resolved._replace(provider=msgspec.structs.replace(provider, api_key=key)),
                    self._session,
                    find,
                ),
                resolved,
            )
            for key in keys_of(provider) or (Secret(),)
        ]
        model = wires[0]
        if len(wires) > 1:
            keys = Keys(section, len(wires), self._clock)
            model = Rotated(wires, self._keys.setdefault(section, keys))
        return Retried(Interrupted(model, self._breaker(section)), clock=self._clock)

    def _booked(self, wire: Model, resolved: Resolved) -> Model:
        if self._budget is None:
            return wire
        return Budgeted(wire, resolved.entry, self._budget, assumed=_assumed(resolved))

    def resolve(self, name: str) -> Resolved:
        """A `[models]` name, `provider/model-id`, or a bare model id whose provider is found by
        its patterns, then as the fallback, then as the only one, then by the well-known names.
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
        provider = self._provider(section)
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

    def _safe(self, name: str, *last: str) -> Model:
        first, fallbacks = self._one(name), dict.fromkeys((*self._fallbacks, *last))
        others = [self._one(other) for other in fallbacks if other != name]
        return self._matched(Fallback([first, *others]) if others else first)

    def _breaker(self, section: str) -> Breaker:
        if section not in self._breakers:
            # Without another model to go on to, a long rest would only make an outage longer.
            longest = 600.0 if self._fallbacks else 30.0
            self._breakers[section] = Breaker(section, clock=self._clock, longest_seconds=longest)
        return self._breakers[section]

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
        for vendor, defaults in VENDORS.items():
            if name.startswith(defaults.ids):
                return self._section_of(vendor), name
        raise ConfigError(
            f'There is no model "{name}".{_nearest(name, self._config.models)} Add [models.NAME] '
            'with provider and id, or write "provider/model-id".'
        )

    def _section_of(self, vendor: str) -> str:
        """The first section of that type, or the vendor's own name."""
        sections = self._config.providers.items()
        return next((each for each, given in sections if type_of(each, given) == vendor), vendor)

    def _provider(self, section: str) -> Provider:
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
        if vendor and vendor.model and keys_of(provider) and not provider.base_url:
            return f"{section}/{vendor.model}"
    return ""


def _assumed(resolved: Resolved) -> Price | None:
    """What a call is taken to cost until its vendor states it, as OpenRouter does."""
    if resolved.provider.type != "openrouter":
        return None
    most: Any = {**resolved.provider.routing, **resolved.entry.routing}.get("max_price")
    try:
        # OpenRouter goes to nobody dearer.
        return Price(input=float(most["prompt"]), output=float(most["completion"]))
    except (KeyError, TypeError, ValueError):
        return _DEAR


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
