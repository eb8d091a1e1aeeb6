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

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from famulus.core.clock import Clock
from famulus.core.config import Config
from famulus.core.errors import ConfigError, OverLimit
from famulus.core.prices import Price
from famulus.core.protocols import Model, Transcriber
from famulus.core.settings import Secret
from famulus.models.breaker import Breaker, Interrupted
from famulus.models.budgeted import Budgeted
from famulus.models.catalog import lookup
from famulus.models.classify import compiled, keeps_local
from famulus.models.fallback import Fallback
from famulus.models.found import Found
from famulus.models.kept import Kept
from famulus.models.lightened import Lightened
from famulus.models.listeners import transcriber
from famulus.models.matched import Matched
from famulus.models.naming import Names, check_type, configured_model
from famulus.models.retried import Retried
from famulus.models.rotated import Keys, Rotated
from famulus.models.routed import Routed
from famulus.models.vendors import WELL_KNOWN, keys_of
from famulus.models.wires import (
    Later,
    Resolved,
    Session,
    Wire,
    plugin,
)
from famulus.models.withheld import Withheld
from famulus.state.budget import Budget

_DEAR = Price(input=5.0, output=25.0)  # what the dearer ones of the widely used models cost


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
        self._names = Names(config, environment, found)
        self.resolve = self._names.resolve
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
        main = self._main_name()
        for each in filter(None, (name, self.simple, main)):
            model = self._one(each)
            if model.card.local:
                return Kept(self._matched(model, here=True), self._config.router.local_tools)
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
        doubted = doubted and self._names.provider(model.card.provider).type == "ollama"
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
        guarded: Model = Lightened(self._guarded(resolved))
        if others := self._names.elsewhere(name):
            guarded = Fallback([guarded, *(Lightened(self._guarded(each)) for each in others)])
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
