"""The prompt, from files in a fixed order. It holds nothing that changes from turn to turn.

Order: base prompt, `policies/*.md` by name, `channels/<channel>.md`, then the workspace's own
files. What is volatile, such as the time, stands beside the message it belongs to.
"""

import logging
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from famulus.core.errors import ConfigError
from famulus.core.messages import Inbound, Message, Note, Part
from famulus.core.zones import person_zone, stamp

WORKSPACE_FILES = {
    "AGENTS.md": "How the assistant should work: rules, habits, things to avoid.",
    "SOUL.md": "The assistant's character and tone.",
    "IDENTITY.md": "The assistant's name and role.",
    "USER.md": "What the assistant should know about you.",
    "TOOLS.md": "Hints on tools and on this machine.",
}
_LARGEST_FILE_BYTES = 32 * 1024

log = logging.getLogger(__name__)


class Prompt:
    """Builds system prompts. `folder` is a prompt pack of the user's, or None for our own, and
    `base` stands in place of our own base prompt. Raises `ConfigError` for a file of the pack that
    says nothing.
    """

    def __init__(self, *, name: str, workspace: Path, folder: Path | None, base: str = "") -> None:
        self._name = name
        self._workspace = workspace
        self._folder = folder
        self._cache: dict[str, tuple[list[tuple[int, int] | None], str]] = {}
        if folder is None:
            self._base = base if base.strip() else packaged("base.md")
            return
        self._base = _required(folder / "base.md")
        for place in ("policies", "channels"):
            for path in sorted((folder / place).glob("*.md")):
                _required(path)

    def system(self, channel: str) -> str:
        """The system prompt for a channel; the same bytes until one of its files changes."""
        paths = self._paths(channel)
        state = [_state(path) for path in paths]
        cached = self._cache.get(channel)
        if cached and cached[0] == state:
            return cached[1]
        texts = [self._base.replace("{name}", self._name)]
        texts += [text for path in paths if (text := self._text(path))]
        system = "\n\n".join(text.strip() for text in texts)
        self._cache[channel] = (state, system)
        return system

    def _paths(self, channel: str) -> list[Path]:
        paths: list[Path] = []
        if self._folder is not None:
            paths += sorted((self._folder / "policies").glob("*.md"))
            paths.append(self._folder / "channels" / f"{channel}.md")
        return paths + [self._workspace / name for name in WORKSPACE_FILES]

    def _text(self, path: Path) -> str:
        is_tools = path.parent == self._workspace
        # A link could lead a tool's file to anything on the machine (CVE-2026-32060).
        if (is_tools and path.is_symlink()) or not path.is_file():
            return ""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read: {error.strerror}. Check who owns it."
            ) from None
        text = data[:_LARGEST_FILE_BYTES].decode(errors="replace").strip()
        if len(data) > _LARGEST_FILE_BYTES:
            log.warning("cut off in the prompt path=%s bytes=%d", path, len(data))
            text += f"\n[{path.name} is cut off here, after {_LARGEST_FILE_BYTES:,} bytes.]"
        if not is_tools or not text:
            return text
        return "" if text == template(path.name).strip() else f"## {path.name}\n{text}"


def release_templates(workspace: Path) -> None:
    """Put a template of each workspace file into a workspace that is new or empty: one that
    somebody has deleted does not come back.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    if any(workspace.iterdir()):
        return
    for name in WORKSPACE_FILES:
        (workspace / name).write_text(template(name), encoding="utf-8")


def template(name: str) -> str:
    """A workspace file as it is released; left like this it is no part of any prompt."""
    return (
        f"<!-- {WORKSPACE_FILES[name]}\n"
        "     Replace this comment with your own words; they become part of every prompt. -->\n"
    )


def opening(inbounds: Sequence[Inbound], timezone: str) -> Message:
    """The user message of a turn; messages that waited together are told apart by their notes, and
    are private together. Times are of the zone that the owner wrote, else of the sender's.
    """
    parts: list[Part] = []
    for inbound in inbounds:
        by = f", from {inbound.sender_name}" if inbound.group and inbound.sender_name else ""
        parts += inbound.parts
        zone = person_zone(timezone, inbound.timezone)
        parts.append(Note(f"[{stamp(inbound.at, zone)}{by}]"))
    return Message("user", tuple(parts), any(inbound.private for inbound in inbounds))


def packaged(name: str) -> str:
    return resources.files("famulus.agent").joinpath("prompts", name).read_text("utf-8")


def _required(path: Path) -> str:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"agent.prompts: {path} is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(
            f"agent.prompts: cannot read {path}: {error.strerror}. "
            f"Put a {path.name} there, or remove the setting."
        ) from None
    if not text.strip():
        raise ConfigError(
            f"agent.prompts: {path} is empty. Write something into it, or remove it"
            f"{' and the setting' if path.name == 'base.md' else ''}."
        )
    return text


def _state(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.lstat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
