"""Bytes that messages refer to: received pictures and files, kept once by their hash."""

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.store.database import Database


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
        hash_ = hashlib.sha256(data).hexdigest()
        await self._database.execute(
            "insert into blob (hash, media_type, name, size, data, created)"
            " values (:hash, :type, :name, :size, :data, :now) on conflict (hash) do nothing",
            hash=hash_,
            type=media_type,
            name=name,
            size=len(data),
            data=data,
            now=self._clock.now().timestamp(),
        )
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
