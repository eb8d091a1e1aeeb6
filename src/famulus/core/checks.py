"""What a value of the right type can still get wrong. Each check is for `doc(..., check=...)`.

A check raises `Unmeant` with words that go on after the setting's name, and shows the value only
where it can hold no secret.
"""

import math
import re
from typing import Any
from urllib.parse import urlsplit

from famulus.core.settings import Seconds, Secret, Size, Unmeant

_MOST_NUMBER = 2**53  # what JSON and every database still hold exactly
_MOST_SECONDS = 100 * 366 * 86400
_MOST_BYTES = 2**50
_LONGEST_PASSWORD = 1024
_HOST_NAME = re.compile(r"(?!-)[\w-]{1,63}(\.[\w-]{1,63})*\.?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_GO_DURATION = re.compile(r"-?(0|(\d+(\.\d+)?(ns|us|ms|s|m|h))+)")
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m=(\d+),t=(\d+),p=(\d+)"
    r"\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{16,})"
)
_MOST_ARGON2_KIB = 4 * 2**20


def check_magnitude(value: Any) -> None:
    """What no number, duration or size can mean: endless, or beyond what anything here holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise Unmeant("must be a number with an end, not inf or nan.")
    if isinstance(value, Seconds):
        if value > _MOST_SECONDS:
            raise Unmeant("is more than a hundred years. Write a shorter duration.")
    elif isinstance(value, Size):
        if value > _MOST_BYTES:
            raise Unmeant("is more than a thousand terabytes. Write a smaller size.")
    elif abs(value) > _MOST_NUMBER:
        raise Unmeant(f"is too large a number. The most is {_MOST_NUMBER}.")


def check_unsealed(value: Any) -> None:
    """A sealed secret must not go out as if it were the secret."""
    if isinstance(value, Secret) and value.reveal().lstrip().startswith("enc:"):
        raise Unmeant(
            "is sealed (enc:…), and this version cannot open sealed secrets. Write the secret"
            " itself into .env; the configuration refers to it as ${ITS_NAME}."
        )


def not_blank(text: str) -> None:
    if not text.strip():
        raise Unmeant("is blank. Write something, or remove the setting.")


def time_zone(name: str) -> None:
    """An IANA name."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only who writes a zone pays for it

    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise Unmeant(
            f"is {name!r}, which is no time zone. Use a name like Europe/Berlin."
        ) from None


def own_time_zone(name: str) -> None:
    """An IANA name, or nothing for this machine's zone."""
    if name:
        time_zone(name)


def listen_host(host: str) -> None:
    """An address or a name to listen on, without scheme and port."""
    if not host:
        raise Unmeant('is empty. Write "127.0.0.1", or "0.0.0.0" for all addresses.')
    if not _is_host(host):
        raise Unmeant(f'is {host!r}, which is no address. Write it like "127.0.0.1".')


def api_address(url: str) -> None:
    """The address of an API, or nothing for the vendor's own."""
    if url and not _is_http(url):
        raise Unmeant("is no address of an API. Write it like https://api.example.org/v1.")


def public_address(url: str) -> None:
    """Where people find the gateway, or nothing. The page is at the top of its host."""
    if not url:
        return
    if not _is_http(url):
        raise Unmeant("is no web address. Write it like https://famulus.example.org.")
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise Unmeant(
            "must end with the host, as the gateway does not work below a path. "
            "Write it like https://famulus.example.org."
        )


def host_and_port(text: str) -> None:
    try:
        parts = urlsplit(f"//{text}")
        right = _is_host(parts.hostname or "") and bool(parts.port) and parts.netloc == text
    except ValueError:
        right = False
    if not right or "@" in text:
        raise Unmeant(f'is {text!r}, but must be host:port, such as "192.168.1.20:8123".')


def password(secret: Secret) -> None:
    """Plain, or an argon2 hash that can be computed; or nothing."""
    text = secret.reveal()
    if text and not text.strip():
        raise Unmeant("is blank. Write a password, or remove the setting.")
    if not text.startswith("$argon2"):
        if len(text) > _LONGEST_PASSWORD:
            raise Unmeant(f"is longer than the {_LONGEST_PASSWORD} characters that a login takes.")
        return
    match = _ARGON2.fullmatch(text)
    memory, time, lanes = map(int, match.groups()[:3]) if match else (0, 0, 0)
    # A single base64 character beyond a multiple of four is nothing.
    whole = match is not None and all(len(part) % 4 != 1 for part in match.groups()[3:])
    if not (whole and time and lanes and 8 * lanes <= memory <= _MOST_ARGON2_KIB):
        raise Unmeant(
            "begins like an argon2 hash but is none, so nobody could log in. Write it whole, "
            "$argon2id$v=19$m=…,t=…,p=…$…$…, or write a plain password."
        )


def api_key(secret: Secret) -> None:
    """Sent in a header, which holds no line break and no letters beyond ASCII."""
    text = secret.reveal().strip()
    if not (text.isascii() and (text.isprintable() or not text)) or " " in text:
        raise Unmeant("holds a space, a line break or a letter that no key has. Copy it again.")


def headers(given: dict[str, Secret]) -> None:
    for name, value in given.items():
        text = value.reveal()
        if not _HEADER_NAME.fullmatch(name) or any(each in text for each in "\r\n\0"):
            raise Unmeant(f"holds {name!r}, which cannot be sent as a header.")


def keep_alive(text: str) -> None:
    if not _GO_DURATION.fullmatch(text):
        raise Unmeant('must be a duration of Ollama\'s, such as "10m", "0" or "-1s".')


def language(code: str) -> None:
    if code and not _LANGUAGE.fullmatch(code):
        raise Unmeant(f'is {code!r}, which is no code of a language. Write one such as "en".')


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and _is_host(parts.hostname or "")
        and port_is_right
        and not any(each.isspace() or not each.isprintable() for each in url)
    )


def _is_host(name: str) -> bool:
    import ipaddress  # noqa: PLC0415 - only who writes an address pays for it

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return len(name) <= 253 and bool(_HOST_NAME.fullmatch(name))
    return True
