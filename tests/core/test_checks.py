"""Every declared setting, those of channels and tools included, is asked what it refuses."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_origin

import msgspec
import pytest
from argon2 import PasswordHasher

from famulus.core import checks, plugins
from famulus.core.describe import tables
from famulus.core.errors import ConfigError
from famulus.core.prices import Price
from famulus.core.settings import (
    Seconds,
    Secret,
    Section,
    Shape,
    Size,
    Unmeant,
    doc,
    is_section,
    shape,
)
from famulus.core.validation import build

# Where nothing, none or never is meant by it.
MAY_BE_ZERO = {
    "server.port",
    "storage.keep_turns",
    "storage.keep_ids",
    "storage.keep_uploads",
    "models.NAME.temperature",
    "models.NAME.top_p",
    *(
        f"{section}.{field.name}"
        for section in ("models.NAME.price", "cost.prices.NAME")
        for field in msgspec.structs.fields(Price)
        if field.name != "over_tokens"
    ),
    "agent.tools_budget",
    "agent.turn_tokens",
    "agent.history_messages",
    "agent.turn_cost_usd",
    *(
        f"{section}.{period}_limit_{what}"
        for section in ("cost", "cost.limits.NAME")
        for period in ("daily", "monthly")
        for what in ("usd", "tokens")
    ),
    "cost.warn_at_percent",
    "engine.drain_timeout",
    "limits.upload",
    "limits.attachments",
    "limits.owner_messages_per_minute",
}
# Texts that other rooms check, with the whole configuration at hand: see `cli/checking.py`.
CHECKED_WITH_THE_REST = {
    "storage.url",
    "providers.NAME.type",
    "models.NAME.provider",
    "models.NAME.id",
    "agent.model",
    "agent.vision",
    "agent.prompts",
    "agent.system_prompt",
    "agent.workspace",
    "router.simple",
    "router.complex",
    "router.tool",
    "transcription.model",
    "cost.over_limit",
}
NUMBERS = (int, float, Seconds, Size)


class Field(NamedTuple):
    """A setting, and the least that its section needs to be built beside it."""

    kind: type[Section]
    path: tuple[str, ...]
    form: Shape
    beside: dict[str, Any]

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def written(self, value: Any) -> Any:
        """The setting's value after it was written like this. Raises `ConfigError`."""
        section = build(self.kind, self.beside | {self.path[-1]: value}, self.path[:-1])
        field = next(f for f in msgspec.structs.fields(self.kind) if f.encode_name == self.path[-1])
        return getattr(section, field.name)


def fields() -> Iterator[Field]:
    for table in tables():
        yield from _fields(table.kind, table.path)


def _fields(kind: type[Section], path: tuple[str, ...]) -> Iterator[Field]:
    declared = msgspec.structs.fields(kind)
    samples = {float: 1.0, str: "a", int: 1}
    beside = {
        each.encode_name: samples.get(shape(each.type).type, "simple")
        for each in declared
        if each.required
    }
    for each in declared:
        form = shape(each.type)
        if not is_section(form.type) and not is_section(form.item):
            yield Field(kind, (*path, each.encode_name), form, beside)


FIELDS = list(fields())


def those(wanted: Any) -> Any:
    return pytest.mark.parametrize(
        "field", [pytest.param(each, id=each.name) for each in FIELDS if wanted(each)]
    )


def refused(field: Field, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        field.written(value)
    assert str(caught.value).startswith(field.name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@those(lambda each: each.form.type in NUMBERS)
@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), 10**30, "9" * 400 + "d"])
def test_no_number_is_below_zero_or_without_end(field: Field, value: object) -> None:
    refused(field, value)


@those(lambda each: each.form.type in NUMBERS)
def test_zero_is_refused_wherever_it_means_nothing(field: Field) -> None:
    if field.name in MAY_BE_ZERO:
        assert field.written(0) == 0
    else:
        refused(field, 0)


@those(lambda each: str in {each.form.type, each.form.item and shape(each.form.item).type})
def test_every_text_is_checked_for_what_it_means(field: Field) -> None:
    form = field.form if field.form.type is str else shape(field.form.item)
    assert bool(form.check) != (field.name in CHECKED_WITH_THE_REST)


@those(lambda each: Secret in {each.form.type, each.form.item and shape(each.form.item).type})
def test_no_sealed_secret_is_taken_for_the_secret_itself(field: Field) -> None:
    for text in ("enc:0123456789abcdef", " enc:0123456789abcdef"):
        value: Any = text
        if field.form.is_list:
            value = [text]
        elif get_origin(field.form.type) is dict:
            value = {"X-Key": text}
        said = refused(field, value)
        assert "cannot open sealed secrets" in said
        assert "0123456789" not in said


def test_the_lists_above_name_settings_that_there_are() -> None:
    names = {each.name for each in FIELDS}
    assert names >= MAY_BE_ZERO | CHECKED_WITH_THE_REST
    assert {"server.port", "tools.shell.timeout", "tools.web.allow_hosts"} <= names


def test_every_section_of_a_plugin_is_asked() -> None:
    asked = {each.path[:2] for each in FIELDS}
    for kind in ("channels", "tools"):
        for name, section in plugins.sections(kind).items():
            assert (kind, name) in asked or not msgspec.structs.fields(section)


def check(function: Any, value: object) -> str:
    """What the check says of a value; empty where it has nothing against it."""
    try:
        function(value)
    except Unmeant as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "my-box.lan", "fe80::1%eth0"]
)
def test_an_address_to_listen_on_has_no_scheme_and_no_port(host: str) -> None:
    assert not check(checks.listen_host, host)


@pytest.mark.parametrize(
    "host", ["", " ", "http://x", "127.0.0.1:80", "[::1]", "a b", "a/b", "-x", "a..b", "a" * 254]
)
def test_what_is_no_address_to_listen_on_is_refused(host: str) -> None:
    assert check(checks.listen_host, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:11434",
        "https://api.example.org/v1",
        "http://[::1]:8000/v1/",
        "https://münchen.example/v1",
    ],
)
def test_an_api_address_is_http_with_a_host(url: str) -> None:
    assert not check(checks.api_address, url)


@pytest.mark.parametrize(
    "url",
    ["htp://foo", "foo", "localhost:11434", "http://", "http://a b", "http://x:99999", "http://[x"],
)
def test_what_is_no_api_address_is_refused(url: str) -> None:
    assert "Write it like https://api.example.org/v1." in check(checks.api_address, url)


@pytest.mark.parametrize("url", ["", "https://famulus.example.org", "http://box:8080/"])
def test_a_public_address_is_a_host(url: str) -> None:
    assert not check(checks.public_address, url)


@pytest.mark.parametrize(
    "url", ["not a url", "famulus.example.org", "https://x/chat", "https://me@x", "https://x/#a"]
)
def test_what_is_no_public_address_is_refused(url: str) -> None:
    assert "https://famulus.example.org" in check(checks.public_address, url)


@pytest.mark.parametrize("text", ["192.168.1.20:8123", "box:80", "[::1]:80"])
def test_a_host_and_a_port_are_taken_together(text: str) -> None:
    assert not check(checks.host_and_port, text)


@pytest.mark.parametrize(
    "text", ["", "foo", ":80", "foo:", "foo:x", "foo:0", "http://a:80", "me@foo:80", "foo:80/x"]
)
def test_what_is_no_host_with_a_port_is_refused(text: str) -> None:
    assert 'must be host:port, such as "192.168.1.20:8123"' in check(checks.host_and_port, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "open sesame",
        "$argon2i$m=64,t=1,p=1$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
    ],
)
def test_a_password_is_plain_or_a_hash_that_can_be_computed(text: str) -> None:
    assert not check(checks.password, Secret(text))


@pytest.mark.parametrize("sizes", [{}, {"hash_len": 16, "salt_len": 8}])
def test_every_hash_that_argon2_makes_is_a_password(sizes: dict[str, int]) -> None:
    text = PasswordHasher(time_cost=1, memory_cost=64, **sizes).hash("x")
    assert not check(checks.password, Secret(text))


@pytest.mark.parametrize(
    "text",
    [
        "  ",
        "x" * 1025,
        "$argon2bogus",
        "$argon2id$v=19$m=65536,t=3,p=4",
        "$argon2id$v=19$m=65536,t=0,p=4$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=18$m=65536,t=3,p=4$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=19$m=999999999,t=3,p=4$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ12$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
    ],
)
def test_a_password_that_nobody_could_log_in_with_is_refused(text: str) -> None:
    said = check(checks.password, Secret(text))
    assert said
    assert text.strip() not in said or not text.strip()


@pytest.mark.parametrize("text", ["sk-a b", "sk-a\nb", "sk-ä"])
def test_a_key_that_no_header_holds_is_refused(text: str) -> None:
    assert "Copy it again" in check(checks.api_key, Secret(text))
    assert not check(checks.api_key, Secret("sk-ant-api03-x_y.z\n"))


@pytest.mark.parametrize("given", [{"X Y": "a"}, {"": "a"}, {"X": "a\r\nb"}])
def test_a_header_that_cannot_be_sent_is_refused(given: dict[str, str]) -> None:
    assert check(checks.headers, {name: Secret(text) for name, text in given.items()})
    assert not check(checks.headers, {"X-Title": Secret("Famulus")})


@pytest.mark.parametrize("text", ["10m", "1h30m", "-1s", "0", "1.5h"])
def test_how_long_a_model_stays_is_written_as_ollama_reads_it(text: str) -> None:
    assert not check(checks.keep_alive, text)
    assert check(checks.keep_alive, f"{text} minutes")


@pytest.mark.parametrize("code", ["", "en", "de-CH", "zh-Hant"])
def test_a_language_is_a_code(code: str) -> None:
    assert not check(checks.language, code)
    assert check(checks.language, "in english")


def test_a_zone_is_found_by_its_name() -> None:
    assert not check(checks.time_zone, "Europe/Berlin")
    for name in ("Mars/Base", "", "../etc/passwd", "Europe"):
        assert re.search("no time zone. Use a name like", check(checks.time_zone, name))


def test_a_check_speaks_of_the_item_of_a_list_that_it_does_not_like() -> None:
    class Hosts(Section, frozen=True):
        hosts: tuple[Annotated[str, doc("", check=checks.host_and_port)], ...] = ()

    with pytest.raises(ConfigError, match=r"^x\.hosts\[1\] is 'foo', but must be"):
        build(Hosts, {"hosts": ["a:1", "foo"]}, ("x",))
