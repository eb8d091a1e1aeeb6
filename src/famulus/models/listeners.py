"""Who listens to recordings."""

from collections.abc import Callable, Mapping

import msgspec

from famulus.core.config import Config, ModelEntry, Provider
from famulus.core.errors import ConfigError
from famulus.core.protocols import Model, ModelCard, Transcriber
from famulus.models.heard import Heard
from famulus.models.vendors import keys_of, type_of, usable
from famulus.models.wires import Resolved, can_listen, listening

# In the order of preference: the first of which there is a key.
_LISTENERS = {"groq": "whisper-large-v3-turbo", "openai": "gpt-4o-mini-transcribe"}


def transcriber(
    config: Config,
    environment: Mapping[str, str],
    resolve: Callable[[str], Resolved],
    guarded: Callable[..., Model],
) -> Transcriber | None:
    """Who listens to recordings, or None where that is off or there is no key for it."""
    settings = config.transcription
    name = settings.model or _listener(config, environment)
    if not (settings.enabled and name):
        return None
    section, _, id_ = name.partition("/")
    if section == "local" and "local" not in config.providers:
        card = ModelCard(name=name, id=id_, provider=section, local=True)
        resolved = Resolved(card, Provider(type="local"), ModelEntry())
    else:
        resolved = resolve(name)
    type_, entry = resolved.provider.type, resolved.entry
    if not can_listen(type_):
        raise ConfigError(
            f'transcription.model = "{name}" is of a provider of the type {type_}, which '
            'cannot listen. Name one of the type openai or groq, or "local/NAME".'
        )
    if settings.language:
        written = {"language": settings.language, **entry.parameters}
        entry = msgspec.structs.replace(entry, parameters=written)
    model = guarded(resolved._replace(entry=entry), find=listening)
    return Heard(model, max_bytes=settings.max_size)


def _listener(config: Config, environment: Mapping[str, str]) -> str:
    """The vendor with a key that listens best for its price."""
    for vendor, model in _LISTENERS.items():
        known = usable(vendor, environment)
        for section, given in config.providers.items():
            own = type_of(section, given) == vendor and not given.base_url
            if own and (known or keys_of(given)):
                return f"{section}/{model}"
        if known and vendor not in config.providers:
            return f"{vendor}/{model}"
    return ""
