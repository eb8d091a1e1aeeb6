"""What can be meant, but hardly is: said by `config check` and at the start, and stops nothing."""

from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches

from famulus.core.config import Config
from famulus.core.loading import Loaded
from famulus.core.toml import KeyPath, dotted
from famulus.models.fitted import written_bound
from famulus.models.naming import Names
from famulus.models.vendors import KeyMissing
from famulus.policy.allowed import allowed_id
from famulus.state.people import OWNER


def cautions(loaded: Loaded) -> list[str]:
    """A line for each, with its place. The configuration has passed the check."""
    return [
        f"{loaded.written.at(path)}{dotted(path)}: {doubt}"
        for path, doubt in (*_limits_of_nobody(loaded.config), *_long_answers(loaded))
    ]


def _long_answers(loaded: Loaded) -> Iterator[tuple[KeyPath, str]]:
    names = Names(loaded.config, loaded.environment)
    for name, entry in loaded.config.models.items():
        with suppress(KeyMissing):
            window = names.resolve(name).card.context_tokens
            if (bound := written_bound(entry)) * 2 > window:
                yield (
                    ("models", name),
                    f"answers of {bound:,} tokens in a window of {window:,} leave little for the "
                    "conversation, so an answer gets only what the prompt leaves. Lower max_tokens,"
                    " or raise context_tokens if the window is larger.",
                )


def _limits_of_nobody(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """A person may be in the database alone, which a check does not open."""
    known = [OWNER]
    for channel, settings in config.channels.items():
        known += (f"{channel}:{allowed_id(entry)}" for entry in getattr(settings, "allow", ()))
    for scope in config.cost.limits:
        kind, _, name = scope.partition(":")
        if kind == "job":
            doubt = "there are no jobs in this version, so this limit holds nobody."
            yield ("cost", "limits", scope), doubt
        if kind != "person" or name in known:
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
        yield (
            ("cost", "limits", scope),
            f'nobody of the configuration is the person "{name}", so this limit may never hold. '
            + hint,
        )
