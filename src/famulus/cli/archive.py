"""The file that `famulus backup` writes: a tar of plain files and folders, with their checksums.

    famulus-backup.json   what it is and who made it
    database              a copy of the SQLite file
    home/…                configuration, keys, workspace, prompts
    manifest.json         size and SHA-256 of every file before it

Any program that reads tar can open it. What it says is believed only after `check`.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from famulus.cli.replacing import REPLACED, STAGING
from famulus.core.errors import FamulusError

HEADER = "famulus-backup.json"
MANIFEST = "manifest.json"
DATABASE = "database"
HOME = "home/"
FORMAT = 1

_CHUNK_BYTES = 1 << 20
# Headers and checksums of a million files.
_MOST_JSON_BYTES = 1 << 28

# What says that a process runs, and what a restore leaves; both would be wrong anywhere else.
_PASSING = ("gateway.json", "gateway.tmp", STAGING)

T = TypeVar("T")
Progress = Callable[[int], None]


class Header(Struct, frozen=True, kw_only=True):
    """`schema` is 0 where there is no database; `secrets` says whether keys are in it."""

    format: int
    version: str
    created: str
    schema: int
    secrets: bool


class Kept(Struct, frozen=True, array_like=True):
    """What the manifest says of a file: its size, less than what is in the archive where it became
    shorter while it was copied, and the checksum of what is in the archive.
    """

    size: int
    sha256: str


class Checked(NamedTuple):
    """`files` by their names as Python's `ascii` writes them, as not all are UTF-8."""

    header: Header
    files: dict[str, Kept]

    @property
    def size(self) -> int:
        return sum(each.size for each in self.files.values())


class Writer:
    """Writes an archive into `stream`."""

    def __init__(self, stream: IO[bytes], header: Header) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 - `close` is called by `end`
            fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
        )
        self.kept: dict[str, Kept] = {}
        self._add_json(HEADER, header)

    def folder(self, name: str, *, mode: int, mtime: float) -> None:
        info = tarfile.TarInfo(name)
        info.type = tarfile.DIRTYPE
        info.mode, info.mtime = mode, int(mtime)
        self._add(info, None)

    def file(
        self,
        name: str,
        source: IO[bytes],
        *,
        size: int,
        mode: int,
        mtime: float,
        progress: Progress,
    ) -> bool:
        """Add `size` bytes of `source`; False if it had become shorter meanwhile."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, int(mtime)
        reader = Measured(source, size, progress)
        self._add(info, reader)
        self.kept[ascii(name)] = Kept(size - reader.missing, reader.sha256())
        return not reader.missing

    def end(self) -> None:
        self._add_json(MANIFEST, self.kept)
        self._tar.close()

    def _add_json(self, name: str, value: object) -> None:
        data = msgspec.json.encode(value)
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        self._add(info, Measured(_Bytes(data), len(data), lambda _: None))

    def _add(self, info: tarfile.TarInfo, source: "Measured | None") -> None:
        self._tar.addfile(info, source)
        _forget(self._tar)


def check(path: Path, progress: Progress = lambda _: None) -> Checked:
    """Read all of an archive. Raises FamulusError with what is wrong with it."""
    header: Header | None = None
    found: dict[str, Kept] = {}
    manifest: dict[str, Kept] | None = None
    folders: set[str] = set()
    for member, source in members(path):
        name = ascii(member.name)
        if manifest is not None:
            raise damaged(path, "something stands behind its end")
        if name in found or name in folders:
            raise damaged(path, f"it holds {name} twice")
        if header is None:
            header = _header(path, member, source)
        elif member.name == MANIFEST:
            manifest = _decoded(path, source, member, dict[str, Kept])
        elif source is None:
            folders.add(name)
        else:
            measured = Measured(source, member.size, progress)
            while measured.read(_CHUNK_BYTES):
                pass
            found[name] = Kept(member.size - measured.missing, measured.sha256())
    if header is None or manifest is None:
        raise damaged(path, "its end is missing")
    for name in found.keys() | manifest.keys():
        here, said = found.get(name), manifest.get(name)
        if not here or not said or here.sha256 != said.sha256 or said.size > here.size:
            raise damaged(path, f"the checksum of {name[:200]} is wrong")
    return Checked(header, manifest)


def members(path: Path) -> "Iterator[tuple[tarfile.TarInfo, _Whole | None]]":
    """Each file, and each folder without a stream. Raises FamulusError for anything else, such as
    a link or a name that leads elsewhere, and where the archive is cut off.
    """
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as tar:
            for member in tar:
                _forget(tar)
                if not _is_safe(member):
                    raise damaged(path, f"it holds {ascii(member.name)[:200]}, which no backup has")
                stream = tar.extractfile(member)
                yield member, _Whole(path, stream) if stream else None
    except (tarfile.TarError, ValueError, LookupError, OverflowError) as error:
        raise damaged(path, str(error)) from None
    except MemoryError:
        raise damaged(path, "one of its headers is too large") from None
    except OSError as error:
        raise FamulusError(f"{path} cannot be read: {error.strerror or error}.") from None


def is_passing(name: str) -> bool:
    """Whether something that stands in a home is never in a backup."""
    return name in _PASSING or name.startswith(REPLACED)


def damaged(path: Path, what: str) -> FamulusError:
    return FamulusError(
        f"{path} is no whole backup of Famulus: {what}. Nothing was changed. Use another one."
    )


def _is_safe(member: tarfile.TarInfo) -> bool:
    plain = member.type in (tarfile.REGTYPE, tarfile.DIRTYPE) and not member.sparse
    if member.name in (HEADER, MANIFEST, DATABASE):
        return plain and member.isreg()
    parts = member.name.split("/")
    return (
        plain
        and len(parts) > 1
        and parts[0] == HOME.rstrip("/")
        and not {"", ".", ".."} & set(parts)
        and not is_passing(parts[1])
        and "\0" not in member.name
    )


def _header(path: Path, member: tarfile.TarInfo, source: "_Whole | None") -> Header:
    if member.name != HEADER or source is None:
        raise damaged(path, f"it does not begin with {HEADER}")
    header = _decoded(path, source, member, Header)
    if header.format > FORMAT:
        raise FamulusError(
            f"{path} was made by Famulus {header.version}, in a format that this one does not know."
            " Install that version or a newer one. Nothing was changed."
        )
    return header


def _decoded(path: Path, source: "_Whole | None", member: tarfile.TarInfo, kind: type[T]) -> T:
    try:
        if source is None or member.size > _MOST_JSON_BYTES:
            raise ValueError(f"{member.name} is too large")
        return msgspec.json.decode(source.read(member.size), type=kind)
    except (ValueError, msgspec.MsgspecError) as error:
        raise damaged(path, f"{member.name}: {error}") from None


def _forget(tar: tarfile.TarFile) -> None:
    """It would remember every member there was."""
    vars(tar)["members"].clear()


class _Whole:
    """Reads a member. Raises FamulusError where it is cut off."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except tarfile.TarError as error:
            raise damaged(self._path, str(error)) from None


class Measured:
    """Reads `size` bytes, with zeros where the source ends before, and sums them up."""

    def __init__(
        self, source: "IO[bytes] | _Whole | _Bytes", size: int, progress: Progress
    ) -> None:
        self.missing = 0
        self._source = source
        self._left = size
        self._sum = hashlib.sha256()
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        self.missing += wanted - len(data)
        data += bytes(wanted - len(data))
        self._sum.update(data)
        self._left -= wanted
        self._progress(wanted)
        return data

    def sha256(self) -> str:
        return self._sum.hexdigest()


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        part, self._data = self._data[:size], self._data[size:]
        return part
