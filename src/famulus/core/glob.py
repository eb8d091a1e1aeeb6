"""File patterns: `*` and `?` within a name, `**` for any number of folders."""

from fnmatch import fnmatchcase

from famulus.core.errors import ToolError


class Glob:
    """A pattern for paths with `/` between the names."""

    def __init__(self, pattern: str) -> None:
        self._names = tuple(name for name in pattern.split("/") if name not in ("", "."))
        # Each one multiplies the ways to try; nobody means more than two.
        if self._names.count("**") > 3:
            raise ToolError(f"{pattern[:80]} has too many `**`. Use one or two.")

    def matches(self, path: str) -> bool:
        return _matches(self._names, tuple(path.split("/")))


def _matches(pattern: tuple[str, ...], names: tuple[str, ...]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        # At the end it means everything below, but not the folder itself.
        rest = pattern[1:] or ("*",)
        return any(_matches(rest, names[skip:]) for skip in range(len(names)))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _matches(pattern[1:], names[1:])
