"""The only folder that tools may touch, and the ways to touch it.

A path is walked one name at a time from the workspace's own descriptor, and no step follows a
symbolic link. So `..`, an absolute path or a link that is planted in the middle of a call cannot
lead out: there is no moment between a check and its use.
"""

import contextlib
import difflib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from famulus.core.errors import ToolError
from famulus.core.messages import Origin
from famulus.core.settings import Seconds, Section, doc

MOUNT = "/work"
"""Where a sandboxed command sees the workspace; such a path is understood by the tools too."""

UPLOADS = "uploads"
"""What came from outside lies here, and is not to be trusted when it is read again."""

OUTPUTS = ".outputs"
"""Long outputs of tools lie here."""

_DEEPEST = 40


class FileSettings(Section, frozen=True):
    """The tools that read, write, list and search files of the workspace."""

    enabled: Annotated[bool, doc("Whether the tools are there.")] = True
    search_timeout: Annotated[Seconds, doc("Longest time for one search.", gt=0)] = Seconds(5)


class Entry(Struct, frozen=True):
    """A name in the workspace. `path` is relative to it and has `/` between the names."""

    path: str
    kind: str
    size: int


def names_of(root: Path, path: str) -> tuple[str, ...]:
    """The names that lead from `root` to `path`; none for the workspace itself."""
    if "\0" in path:
        raise ToolError("A path cannot hold a NUL character.")
    for prefix in (str(root), MOUNT):
        if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
            path = path[len(prefix) :].lstrip("/")
            break
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if path.startswith(("/", "~")) or ".." in names:
        raise ToolError(
            f"{path} is outside the workspace. Use a path relative to it, without `..`."
        )
    if len(names) > _DEEPEST:
        raise ToolError(f"{path[:80]}… is nested too deeply.")
    return names


def origin_of(root: Path, path: str) -> Origin:
    """Who must be taken for the author of what `path` holds."""
    return Origin.OUTSIDE if names_of(root, path)[:1] == (UPLOADS,) else Origin.TOOL


def holds_uploads(root: Path) -> bool:
    """Whether anything in the workspace came from outside."""
    uploads = root / UPLOADS
    return uploads.is_dir() and any(uploads.iterdir())


@contextlib.contextmanager
def open_folder(root: Path, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder that `names` lead to. With `make`, missing folders are made."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if make:
        root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, flags)
    try:
        for name in names:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
                    os.fsync(folder)
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def open_file(root: Path, path: str) -> Iterator[int]:
    """A descriptor of a regular file, for reading."""
    names = names_of(root, path)
    with explained(root, path), open_folder(root, names[:-1]) as folder:
        # Without O_NONBLOCK opening a named pipe would wait for a writer for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(names[-1] if names else ".", flags, dir_fd=folder)
        try:
            _refuse_special(os.fstat(file), path)
            yield file
        finally:
            os.close(file)


def read_bytes(root: Path, path: str, *, limit: int) -> bytes:
    """The whole file. More than `limit` bytes is a `ToolError`."""
    with open_file(root, path) as file:
        size = os.fstat(file).st_size
        if size > limit:
            raise ToolError(f"{path} has {size:,} bytes; the most this tool takes is {limit:,}.")
        with os.fdopen(os.dup(file), "rb") as stream:
            return stream.read(limit)


def write_bytes(root: Path, path: str, content: bytes) -> None:
    """Replace the file at once: a reader or a crash sees the old content or the new. On return
    the new one survives a power loss.
    """
    names = names_of(root, path)
    if not names:
        raise ToolError("The path is empty. Name a file.")
    with explained(root, path), open_folder(root, names[:-1], make=True) as folder:
        mode = 0o644
        with contextlib.suppress(FileNotFoundError):
            old = os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
            _refuse_special(old, path)
            mode = stat.S_IMODE(old.st_mode)
        draft = f".{secrets.token_hex(8)}.tmp"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=folder)
        try:
            with os.fdopen(file, "wb") as stream:
                os.fchmod(file, mode)
                stream.write(content)
                stream.flush()
                os.fsync(file)
            os.replace(draft, names[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(draft, dir_fd=folder)
            raise
        os.fsync(folder)


def append_bytes(root: Path, path: str, content: bytes) -> None:
    """Add to the end of a file, which is made when it is missing. On return that survives a power
    loss.
    """
    names = names_of(root, path)
    if not names:
        raise ToolError("The path is empty. Name a file.")
    with explained(root, path), open_folder(root, names[:-1], make=True) as folder:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        flags |= os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(names[-1], flags, 0o644, dir_fd=folder)
        # Unbuffered: a buffer would try to write its rest once more when it is closed.
        with os.fdopen(file, "ab", buffering=0) as stream:
            status = os.fstat(file)
            _refuse_special(status, path)
            try:
                left = memoryview(content)
                while left:
                    left = left[stream.write(left) :]
                os.fsync(file)
                if not status.st_size:
                    os.fsync(folder)  # it may be new there
            except OSError:
                # A full disk may take a part; half a line is worse than none.
                os.truncate(file, status.st_size)
                raise


def walk(root: Path, path: str = ".") -> Iterator[Entry]:
    """Everything below `path`, depth first, sorted. Links are named but never followed."""
    names = names_of(root, path)
    if not names and not root.exists():
        return
    with explained(root, path):
        yield from _walk(root, names)


def _walk(root: Path, names: tuple[str, ...]) -> Iterator[Entry]:
    with open_folder(root, names) as folder, os.scandir(folder) as listing:
        # A name with line breaks or control characters could pose as something it is not.
        names_here = sorted(entry.name for entry in listing if entry.name.isprintable())
        found = [(name, _status(folder, name)) for name in names_here]
    for name, status in found:
        if status is None:
            continue
        inner = (*names, name)
        kind = _kind(status.st_mode)
        yield Entry("/".join(inner), kind, status.st_size)
        if kind == "folder" and len(inner) < _DEEPEST:
            # A folder may vanish or become a link while its siblings are being read.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                yield from _walk(root, inner)


def _status(folder: int, name: str) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def spill(root: Path, key: str, text: str, origin: Origin) -> str:
    """Keep a long output where `read_file` finds it and return its path."""
    folder = UPLOADS if origin is Origin.OUTSIDE else OUTPUTS
    path = f"{folder}/{_spilled_name(key)}"
    write_bytes(root, path, text.encode("utf-8", "replace"))
    return path


def remove_spilled(root: Path, keys: Iterable[str]) -> None:
    """Delete the outputs that `spill` kept under `keys`."""
    names = {_spilled_name(key) for key in keys}
    for folder in (OUTPUTS, UPLOADS):
        _remove(root, folder, lambda name: name in names)


def remove_uploaded(root: Path, hashes: Iterable[str]) -> None:
    """Delete the received files with these hashes, under whatever names they came."""
    beginnings = tuple(uploaded_name(hash_, "") for hash_ in hashes)
    _remove(root, UPLOADS, lambda name: name.startswith(beginnings))


def uploaded_name(hash_: str, name: str) -> str:
    """The name of a received file among the uploads."""
    return f"{hash_[:8]}-{name}"


def _spilled_name(key: str) -> str:
    return f"{sha256(key.encode()).hexdigest()[:12]}.txt"


def _remove(root: Path, folder: str, doomed: Callable[[str], bool]) -> None:
    with contextlib.suppress(FileNotFoundError), open_folder(root, (folder,)) as opened:
        with os.scandir(opened) as listing:
            found = [entry.name for entry in listing if doomed(entry.name)]
        for name in found:
            # A folder of that name is none of ours.
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                os.unlink(name, dir_fd=opened)
        if found:
            os.fsync(opened)


def shortened(
    root: Path, key: str, text: str, origin: Origin, limit: int, *, private: bool = False
) -> str:
    """`text` cut to about `limit` characters, keeping both ends; the whole goes to a file, unless
    it is `private`: any model may read there.
    """
    if len(text) <= limit:
        return text
    kept = "the rest is not kept" if private else f"kept in {spill(root, key, text, origin)}"
    note = f"\n[… {len(text):,} characters in all, {kept} …]\n"
    room = max(limit - len(note), 0)
    tail = room // 4
    return text[: room - tail] + note + text[len(text) - tail :]


@contextlib.contextmanager
def explained(root: Path, path: str) -> Iterator[None]:
    """Turn what the system says about `path` into words for the model."""
    try:
        yield
    except OSError as error:
        raise ToolError(_explanation(root, path, error)) from error


def _explanation(root: Path, path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"There is no {path} in the workspace.{_near(root, path)}"
        case errno.ELOOP:
            return f"{path} is a symbolic link, and links are not followed."
        case errno.ENOTDIR:
            return f"{path} does not lead through folders; a part of it is a file or a link."
        case errno.EISDIR:
            return f"{path} is a folder."
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return f"The disk is full: {path} was not written. Free some space and try again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"The system does not allow access to {path}."
        case errno.ENXIO:
            return f"{path} is a pipe or device, not a file."
        case errno.ENAMETOOLONG:
            return f"A name in {path[:80]}… is too long."
    return f"{path}: {error.strerror or error}."


def _near(root: Path, path: str) -> str:
    wanted = path.rsplit("/", 1)[-1]
    found = []
    with contextlib.suppress(ToolError, OSError):
        for count, entry in enumerate(_walk(root, ())):
            if count >= 2000:
                break
            found.append(entry.path)
    best = difflib.get_close_matches(path, found, 3, 0.7)
    best += [name for name in found if name.rsplit("/", 1)[-1] == wanted and name not in best]
    return f" Did you mean {' or '.join(best[:3])}?" if best else ""


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "special")


def _refuse_special(status: os.stat_result, path: str) -> None:
    kind = _kind(status.st_mode)
    if kind == "folder":
        raise ToolError(f"{path} is a folder.")
    if kind == "link":
        raise ToolError(f"{path} is a symbolic link, and links are not followed.")
    if kind != "file":
        raise ToolError(f"{path} is a pipe or device, not a file.")
