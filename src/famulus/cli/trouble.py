"""Everyday trouble in one sentence: what it is, where, and what to do next."""

import errno
from traceback import walk_tb

_FLUSHED = "famulus.cli.program"

_NEXT = {
    errno.ENOSPC: "no space is left on its device. Free some, then try again.",
    errno.EDQUOT: "its disk quota is used up. Free some space, then try again.",
    errno.EROFS: "its file system is read-only. Name a home that can be written: --home FOLDER.",
    errno.EACCES: "permission denied. Check who owns it, and who may read and write it.",
    errno.EPERM: "the system does not permit it. Check who owns it.",
    errno.EMFILE: "too many files are open. Raise the limit: ulimit -n 1024.",
    errno.EIO: "its device reports an error. Check the disk.",
}


def sentence(error: BaseException) -> str:
    """What to tell the user; nothing for what may be a fault of ours."""
    if isinstance(error, UnicodeEncodeError):
        shown = error.object.encode("utf-8", "replace").decode()[:60]
        return f"This is not UTF-8 text: {shown}. Set the terminal to UTF-8, or write it anew."
    if isinstance(error, OSError) and error.errno:
        place = error.filename2 or error.filename
        if not place:
            place = "The output" if _in_print(error) else "A file"
        elif error.errno not in _NEXT:
            return (
                f"{place} cannot be used: {error.strerror}. --debug shows what it was wanted for."
            )
        if next_ := _NEXT.get(error.errno):
            return f"{place} cannot be used: {next_}"
        if place == "The output":
            return f"The output cannot be written: {error.strerror}."
    # SQLite does not say which of the two it was.
    if type(error).__module__ == "sqlite3":
        return f"The database cannot be used: {error}. Check the disk and the space that is left."
    return ""


def _in_print(error: OSError) -> bool:
    frames = list(walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_globals["__name__"] in {"click.utils", _FLUSHED}
