"""What a vendor's refusal means: every failure of a model call becomes a `ModelError` kind here."""

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from time import time
from typing import Any

import msgspec
from msgspec import Struct

from famulus.core.errors import (
    ContextOverflow,
    ModelError,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
    RateLimited,
)
from famulus.core.protocols import ModelCard

# An error inside a stream comes after "200 OK", so only its name says what it is.
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "context_length_exceeded": 400,
}
# No vendor but OpenAI gives this a code of its own, and many servers that speak its format do not;
# llama.cpp and Ollama say it with 500 or in the middle of the stream.
_OVERFLOW = re.compile(
    r"prompt is too long|context[ _](length|window|size|limit)|too many (input )?tokens",
    re.IGNORECASE,
)
# Anthropic says it with 400, OpenAI with 429; neither gets better by waiting.
_NO_CREDIT = re.compile(
    r"insufficient_quota|billing_error|credit balance is too low", re.IGNORECASE
)
# OpenAI and Anthropic say it with 403, Google with 400, others with 451.
_NOT_HERE = re.compile(
    r"\bcountry|\bcountries|\bterritor|region|(user|your) location|^forbidden Request not allowed",
    re.IGNORECASE,
)
_LONGEST_MESSAGE = 400


class Fault(Struct, frozen=True):
    """What a vendor said went wrong, in whichever of the known formats. `status` 0: not said."""

    message: str = ""
    kind: str = ""
    param: str = ""
    status: int = 0

    @classmethod
    def of_body(cls, body: bytes) -> "Fault":
        """From an error body; one that is not JSON counts as text, unless it is a web page."""
        try:
            return cls.of(msgspec.json.decode(body))
        except (msgspec.DecodeError, RecursionError):
            text = body.decode("utf-8", "replace").strip()
            return cls(message="" if text.startswith("<") else text)

    @classmethod
    def of(cls, value: Any) -> "Fault":
        """From a decoded body or the `error` in it."""
        error = value.get("error", value) if isinstance(value, dict) else value
        if not isinstance(error, dict):
            return cls(message=error if isinstance(error, str) else "")
        code = error.get("code")
        said = [error.get("message") or error.get("detail")]
        if isinstance(error.get("metadata"), dict):
            said.append(error["metadata"].get("raw"))  # OpenRouter: what the vendor behind it said
        kinds = [kind for kind in (code, error.get("type")) if isinstance(kind, str)]
        known = next((_STATUS_OF[kind] for kind in kinds if kind in _STATUS_OF), 0)
        return cls(
            message=" ".join(text for text in said if isinstance(text, str)),
            kind=" ".join(kinds),
            param=error["param"] if isinstance(error.get("param"), str) else "",
            status=code if isinstance(code, int) and 400 <= code < 600 else known,
        )


class Failures:
    """The errors of one model. No text holds one of `secrets`, even if the vendor repeats it."""

    def __init__(self, card: ModelCard, secrets: Iterable[str] = ()) -> None:
        self._card = card
        # A local server's key is often a word such as "none", which is no secret.
        real = [secret for secret in secrets if len(secret) >= 8]
        self._secrets = tuple(sorted(real, key=len, reverse=True))

    def unavailable(
        self, why: str, status: int = 0, retry_after_seconds: float = 0.0
    ) -> ModelUnavailable:
        return ModelUnavailable(
            f"{self._card.provider} {self._clean(why)}. Try again later, or name other models in "
            "agent.fallbacks.",
            provider=self._card.provider,
            status=status,
            retry_after_seconds=retry_after_seconds,
        )

    def in_stream(self, fault: Fault) -> ModelError:
        """An error that came in the middle of an answer."""
        return self.answered(fault.status or 500, fault)

    def answered(
        self, status: int, fault: Fault, headers: Mapping[str, str] | None = None
    ) -> ModelError:
        """An answer with an HTTP status other than 200, or an equivalent."""
        who = self._card.provider
        said = self._clean(fault.message) or _phrase(status)
        marks = f"{fault.kind} {fault.message}"
        no_credit = status == 402 or (status in (400, 429) and _NO_CREDIT.search(marks))
        if status == 429 and not no_credit:
            return self._rate_limited(said, retry_after(headers or {}))
        too_long = status == 413 or (status in (400, 422, 500) and _OVERFLOW.search(marks))
        if status in (408, 409) or (status >= 500 and not too_long):
            why = f"is unavailable ({status}): {said}"
            return self.unavailable(why, status, retry_after(headers or {}))
        kind: type[ModelError]
        if no_credit:
            kind, why = ModelUnauthorized, "says that the account has no credit"
            advice = "Add credit with the vendor, or use another model."
        elif status == 451 or (status in (400, 403) and _NOT_HERE.search(marks)):
            kind, why = ModelRejected, f"does not offer {self._card.id} where you are"
            advice = "The key is not at fault. Use another model, or the vendor from elsewhere."
        elif status in (401, 403):
            kind, why = ModelUnauthorized, "does not accept the key"
            advice = f"Check providers.{who}.api_key, then run: famulus config check"
        elif too_long:
            kind, why = ContextOverflow, f"finds the conversation too long for {self._card.id}"
            advice = "Shorten it with /compact, or start a new one with /new."
        else:
            kind, why, advice = ModelRejected, "refuses the request", self._advice(status, fault)
        return kind(f"{who} {why} ({status}): {said}. {advice}", provider=who, status=status)

    def _rate_limited(self, said: str, seconds: float) -> RateLimited:
        wait = f"in {seconds:.0f} seconds" if seconds else "in a while"
        return RateLimited(
            f"{self._card.provider} takes no more requests for now (429): {said}. Try again "
            f"{wait}, or name other models in agent.fallbacks.",
            provider=self._card.provider,
            retry_after_seconds=seconds,
        )

    def _advice(self, status: int, fault: Fault) -> str:
        if status < 400 or status == 404:
            return (
                f"Check models.{self._card.name}.id and providers.{self._card.provider}.base_url."
            )
        if fault.param:
            named = self._clean(fault.param)
            return f"The parameter is {named}; check models.{self._card.name}."
        return f"Check models.{self._card.name}, or use another model."

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = " ".join(text.split())
        if len(text) > _LONGEST_MESSAGE:
            text = text[:_LONGEST_MESSAGE] + "…"
        return text.rstrip(".")


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that the vendor asks us to wait; 0 when it does not say, or not clearly."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        # Its own clock counts, since ours may be wrong.
        now = headers.get("date")
        start = parsedate_to_datetime(now).timestamp() if now else time()
        return max(0.0, parsedate_to_datetime(value).timestamp() - start)
    except (ValueError, OverflowError):
        return 0.0


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else 0.0


def _phrase(status: int) -> str:
    if status == 529:
        return "Overloaded"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
