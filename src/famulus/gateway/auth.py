"""Who may use the gateway: the password, browser logins, tokens and one-time login links.

Whoever proves one of them is the owner. Guessing is slowed down for each address and for all of
them together, and a hash that takes time and memory is computed for one guess at a time.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import deque
from typing import Literal

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.config import Server as Settings
from famulus.core.errors import NotAllowed, TooFast
from famulus.core.memory import give_back_large_blocks
from famulus.core.settings import Secret
from famulus.state.logins import Logins, Tokens

log = logging.getLogger(__name__)

COOKIE = "session"

_WINDOW_SECONDS = 60.0
_ALL_ADDRESSES = 10  # times the attempts of one address
_MOST_LINKS = 8
_LONGEST_PASSWORD = 1024


class Identity(Struct, frozen=True):
    """How a client proved itself. `key` is a digest, never the proof itself."""

    kind: Literal["login", "token", "password", "local", "loopback"]
    key: str = ""


class Auth:
    """`local_token` is for programs of this machine's user, who read it from the home folder."""

    def __init__(self, settings: Settings, *, logins: Logins, tokens: Tokens, clock: Clock) -> None:
        self.local_token = secrets.token_urlsafe(32)
        self.lifetime_seconds = int(settings.session_lifetime)
        self._password = Password(settings.password)
        self._logins = logins
        self._tokens = tokens
        self._throttle = Throttle(settings.login_attempts, clock=clock)
        self._bearers = asyncio.Lock()
        self._links: deque[str] = deque(maxlen=_MOST_LINKS)

    def login_token(self) -> str:
        """A token that logs one browser in, once."""
        token = secrets.token_urlsafe(32)
        self._links.append(_digest(token))
        return token

    async def login(self, *, password: str, token: str, address: str) -> str:
        """The value of a new session cookie. Raises `NotAllowed` or `TooFast`."""
        attempt = self._throttle.enter(address)
        if not (self._use_link(token) if token else await self._password.matches(password)):
            log.warning(
                "refused a login proof=%s address=%s", "link" if token else "password", address
            )
            if token:
                raise NotAllowed(
                    "This login link was used already or is too old. Get a new one: famulus login"
                )
            raise NotAllowed("Wrong password")
        self._throttle.forgive(attempt)
        return await self._logins.create(self.lifetime_seconds)

    async def logout(self, cookie: str) -> str:
        """End a login; its digest, by which its open sockets are known."""
        digest = self._logins.digest(cookie)
        await self._logins.remove(digest)
        return digest

    async def by_cookie(self, cookie: str) -> Identity | None:
        digest = self._logins.digest(cookie)
        return Identity("login", digest) if await self._logins.valid(digest) else None

    async def by_bearer(self, token: str, address: str) -> Identity | None:
        """Raises `TooFast` when the address guessed too often."""
        if self.is_local(token):
            return Identity("local")
        if digest := await self._tokens.proven(token):
            return Identity("token", digest)
        # One after the other: many clients that come with the right password at once, as after a
        # restart, are one attempt and not many.
        async with self._bearers:
            if self._password.known(token):
                return Identity("password")
            attempt = self._throttle.enter(address)
            if not await self._password.matches(token):
                log.warning("refused a login proof=%s address=%s", "token", address)
                return None
            self._throttle.forgive(attempt)
            return Identity("password")

    async def still(self, identity: Identity) -> bool:
        """Whether a client that proved itself a while ago is still welcome."""
        match identity.kind:
            case "login":
                return await self._logins.valid(identity.key)
            case "token":
                return await self._tokens.has(identity.key)
            case _:
                return True

    def is_local(self, token: str) -> bool:
        return hmac.compare_digest(_digest(token), _digest(self.local_token))

    def _use_link(self, token: str) -> bool:
        found = next(
            (each for each in self._links if hmac.compare_digest(each, _digest(token))), ""
        )
        if found:
            self._links.remove(found)
        return bool(found)


class Password:
    """The configured password, plain or as an argon2 hash."""

    def __init__(self, password: Secret) -> None:
        self._password = password
        self._hash = password.reveal() if password.reveal().startswith("$argon2") else ""
        self._matched = ""
        # One at a time: each takes 19 MiB, which many guesses at once must not multiply.
        self._lock = asyncio.Lock()

    async def matches(self, guess: str) -> bool:
        if not (self._password and guess) or len(guess) > _LONGEST_PASSWORD:
            return False
        async with self._lock:
            right = await asyncio.to_thread(self._verify, guess)
        if right:
            self._matched = _digest(guess)
        return right

    def known(self, guess: str) -> bool:
        """Whether this has matched before; costs no argon2."""
        return bool(self._matched) and hmac.compare_digest(self._matched, _digest(guess))

    def _verify(self, guess: str) -> bool:
        give_back_large_blocks()
        # Imported and hashed at the first login only: a start has no time for it.
        from argon2 import PasswordHasher  # noqa: PLC0415
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

        hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._hash = self._hash or hasher.hash(self._password.reveal())
        try:
            return hasher.verify(self._hash, _bytes(guess))
        except (VerificationError, InvalidHashError):
            return False


class _Attempt(Struct, eq=False):
    address: str
    at: float


class Throttle:
    """A sliding minute of attempts. An attempt counts from its start, so that many at once gain
    nothing, and is forgiven when it succeeds.
    """

    def __init__(self, per_address: int, *, clock: Clock) -> None:
        self._per_address = per_address
        self._clock = clock
        self._attempts: deque[_Attempt] = deque()
        self._told_at = -_WINDOW_SECONDS

    def enter(self, address: str) -> _Attempt:
        """Raises `TooFast` with the seconds to wait."""
        now = self._clock.monotonic()
        while self._attempts and self._attempts[0].at <= now - _WINDOW_SECONDS:
            self._attempts.popleft()
        own = [each for each in self._attempts if each.address == address]
        for attempts, most in (
            (own, self._per_address),
            (self._attempts, self._per_address * _ALL_ADDRESSES),
        ):
            if len(attempts) >= most:
                wait = attempts[-most].at + _WINDOW_SECONDS - now
                self._tell(address, now)
                raise TooFast(
                    f"Too many attempts. Please try again in {wait:.0f} seconds.",
                    retry_after_seconds=wait,
                )
        attempt = _Attempt(address, now)
        self._attempts.append(attempt)
        return attempt

    def _tell(self, address: str, now: float) -> None:
        """Once a minute and in all, however often somebody guesses: the log has an end too."""
        if now - self._told_at >= _WINDOW_SECONDS:
            self._told_at = now
            log.warning("too many attempts to log in, more are refused address=%s", address)

    def forgive(self, attempt: _Attempt) -> None:
        if attempt in self._attempts:
            self._attempts.remove(attempt)


def _digest(token: str) -> str:
    return hashlib.sha256(_bytes(token)).hexdigest()


def _bytes(token: str) -> bytes:
    # What is not UTF-8 in a header reaches us as lone surrogates.
    return token.encode("utf-8", "surrogatepass")
