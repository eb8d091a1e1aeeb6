"""Bytes that messages refer to: received pictures and files, kept once by their hash."""

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.store.database import Database, Statement, statement


class Blob(Struct, frozen=True):
    """`hash` is the SHA-256 in hex; `size` is in bytes."""

    hash: str
    media_type: str
    name: str
    size: int


class Blobs:
    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, data: bytes, *, media_type: str, name: str) -> Blob:
        """Keep `data`; on return it survives a power loss. What no message refers to within
        `storage.keep_uploads` is deleted, counted from the last time that it was added.
        """
        hash_ = hashlib.sha256(data).hexdigest()
        keep = statement(
            "insert into blob (hash, media_type, name, size, data, created)"
            " values (:hash, :type, :name, :size, :data, :now)"
            " on conflict (hash) do update set created = excluded.created",
            hash=hash_,
            type=media_type,
            name=name,
            size=len(data),
            data=data,
            now=self._clock.now().timestamp(),
        )
        await self._database.transaction([keep], durable=True)
        return Blob(hash_, media_type, name, len(data))

    async def find(self, hash_: str) -> Blob | None:
        rows = await self._database.fetch(
            "select hash, media_type, name, size from blob where hash = :hash", hash=hash_
        )
        if not rows:
            return None
        row = rows[0]
        return Blob(row["hash"], row["media_type"], row["name"], row["size"])

    async def read(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those that are there, by hash."""
        found = {}
        for hash_ in set(hashes):
            for row in await self._database.fetch(
                "select data from blob where hash = :hash", hash=hash_
            ):
                found[hash_] = bytes(row["data"])
        return found


async def only_of(database: Database, session: str) -> list[str]:
    """The hashes of what a conversation refers to and no other one does."""
    rows = await database.fetch(f"select hash from blob_use where session = :s{_ALONE}", s=session)
    return [row["hash"] for row in rows]


def released(session: str) -> list[Statement]:
    """Delete what only this conversation refers to, and that it refers to anything."""
    return [
        statement(
            "delete from blob where hash in"
            f" (select hash from blob_use where session = :s{_ALONE})",
            s=session,
        ),
        statement("delete from blob_use where session = :s", s=session),
    ]


_ALONE = (
    " and not exists (select 1 from blob_use other"
    " where other.hash = blob_use.hash and other.session <> :s)"
)
