"""Who may come in: logged-in browsers, and the tokens of programs. Only hashes are kept."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.errors import FamulusError
from famulus.core.settings import Secret
from famulus.store.database import Database, statement

_USED_EVERY_SECONDS = 60.0
_LONGEST_NAME = 100


class Logins:
    """Browsers that are logged in, across restarts. A new password logs everyone out, because
    the password is the key of the hash that is kept.
    """

    def __init__(self, database: Database, *, clock: Clock, password: Secret) -> None:
        self._database = database
        self._clock = clock
        self._key = hashlib.sha256(password.reveal().encode()).digest()
        self._known: dict[str, float] = {}
        self._removals = 0

    async def create(self, lifetime_seconds: float) -> str:
        """The random value of a new session cookie."""
        token = secrets.token_urlsafe(32)
        now = self._now()
        await self._database.transaction(
            [
                statement("delete from login where expires <= :now", now=now),
                statement(
                    "insert into login (hash, created, expires) values (:hash, :now, :expires)",
                    hash=self.digest(token),
                    now=now,
                    expires=now + lifetime_seconds,
                ),
            ],
            durable=True,
        )
        return token

    async def valid(self, digest: str) -> bool:
        """Whether the login with this `digest` exists and has not expired."""
        expires = self._known.get(digest)
        if expires is None:
            removals = self._removals
            rows = await self._database.fetch(
                "select expires from login where hash = :hash", hash=digest
            )
            if not rows:
                return False
            expires = float(rows[0]["expires"])
            # A row that was read just before it went must not come back as known.
            if removals == self._removals:
                self._known[digest] = expires
        if expires > self._now():
            return True
        self._known.pop(digest, None)
        return False

    async def remove(self, digest: str) -> None:
        self._known.pop(digest, None)
        await self._database.transaction(
            [statement("delete from login where hash = :hash", hash=digest)], durable=True
        )
        self._removals += 1
        self._known.pop(digest, None)

    def digest(self, token: str) -> str:
        return hmac.new(self._key, _bytes(token), hashlib.sha256).hexdigest()

    def _now(self) -> float:
        return self._clock.now().timestamp()


class Token(Struct, frozen=True):
    """Times are seconds since 1970; `used` is 0 for one that was never used."""

    name: str
    created: float
    used: float


class Tokens:
    """Access tokens of programs. Removing one works at once, also from another process."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, name: str) -> str:
        """A new token; it is shown this one time. Raises FamulusError for a name that is taken or
        that nobody could tell from others.
        """
        if not (name.isprintable() and name == name.strip() and 0 < len(name) <= _LONGEST_NAME):
            raise FamulusError(
                f"A token's name has 1 to {_LONGEST_NAME} printable characters, and no blank at its"
                " ends. Choose one that says whose it is, such as my-script."
            )
        token = f"fam_{secrets.token_urlsafe(32)}"
        (result,) = await self._database.transaction(
            [
                statement(
                    "insert into token (hash, name, created) values (:hash, :name, :now)"
                    " on conflict do nothing",
                    hash=_sha256(token),
                    name=name,
                    now=self._now(),
                )
            ],
            durable=True,
        )
        if not result.touched:
            raise FamulusError(
                f"There is a token named {name!r} already. Choose another name, or remove that one"
                f" first: famulus tokens remove {name}"
            )
        return token

    async def all(self) -> Sequence[Token]:
        rows = await self._database.fetch("select name, created, used from token order by name")
        return [Token(row["name"], row["created"], row["used"]) for row in rows]

    async def remove(self, name: str) -> None:
        """Raises FamulusError if there is none of that name."""
        (result,) = await self._database.transaction(
            [statement("delete from token where name = :name", name=name)], durable=True
        )
        if not result.touched:
            raise FamulusError(f"There is no token named {name!r}. See: famulus tokens list")

    async def proven(self, token: str) -> str:
        """The digest of a valid token; empty for anything else."""
        hash_ = _sha256(token)
        rows = await self._database.fetch("select used from token where hash = :hash", hash=hash_)
        if not rows:
            return ""
        now = self._now()
        if now - rows[0]["used"] > _USED_EVERY_SECONDS:
            await self._database.execute(
                "update token set used = :now where hash = :hash", now=now, hash=hash_
            )
        return hash_

    async def has(self, digest: str) -> bool:
        """Whether the token of that digest still stands; a new one of the same name is another."""
        return bool(
            await self._database.fetch("select 1 from token where hash = :hash", hash=digest)
        )

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _sha256(token: str) -> str:
    return hashlib.sha256(_bytes(token)).hexdigest()


def _bytes(token: str) -> bytes:
    # What is not UTF-8 in a header reaches us as lone surrogates.
    return token.encode("utf-8", "surrogatepass")
