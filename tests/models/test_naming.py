"""Several servers that are only an address."""

from typing import Any

import aiohttp
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Config, ModelEntry, Provider
from famulus.core.errors import ConfigError, ModelRejected
from famulus.core.messages import text_of
from famulus.core.protocols import Done
from famulus.core.settings import Secret
from famulus.models.named import Models
from famulus.models.naming import Names
from famulus.testing.check_model import ask, read
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Fault

ONE, OTHER = (Provider(base_url=f"http://{host}/v1") for host in ("one", "other"))
CLAUDE = Provider(type="anthropic", api_key=Secret("k"))


def names(environment: dict[str, str] | None = None, **providers: Provider) -> Names:
    models = {"mine": ModelEntry(provider="other", id="x"), "bare": ModelEntry(id="qwen3")}
    return Names(Config(providers=providers, models=models), environment or {})


@pytest.mark.parametrize(
    ("name", "sections", "id_"),
    [
        ("unknown-1", ["one", "other"], "unknown-1"),
        ("meta-llama/Llama-3", ["one", "other"], "meta-llama/Llama-3"),
        ("bare", ["one", "other"], "qwen3"),
        ("other/unknown-1", ["other"], "unknown-1"),
        ("mine", ["other"], "x"),
        ("claude-sonnet-5-5", ["claude"], "claude-sonnet-5-5"),
    ],
)
def test_unknown_model_is_looked_for_at_each_server(
    name: str, sections: list[str], id_: str
) -> None:
    known = names(one=ONE, claude=CLAUDE, other=OTHER)
    found = [known.resolve(name), *known.elsewhere(name)]
    assert [each.card.provider for each in found] == sections
    assert {each.card.id for each in found} == {id_}


def test_one_server_beside_a_vendor_takes_what_nobody_claims() -> None:
    known = names(one=ONE, claude=CLAUDE)
    assert known.resolve("unknown-1").card.provider == "one"
    assert known.elsewhere("unknown-1") == []


def test_misspelt_name_is_no_unknown_model() -> None:
    with pytest.raises(ConfigError, match="Did you mean mine"):
        names(one=ONE, other=OTHER).resolve("mien")


def test_well_known_id_goes_to_its_vendor_only_where_that_can_be_asked() -> None:
    assert names(one=ONE, other=OTHER).resolve("mistral-7b").card.provider == "one"
    key = {"MISTRAL_API_KEY": "k"}
    assert names(key, one=ONE, other=OTHER).resolve("mistral-7b").card.provider == "mistral"


def models(session: aiohttp.ClientSession, **providers: Provider) -> Models:
    config = Config(providers=providers)
    return Models(config, session=lambda: session, clock=Clock(), environment={})


def at(vendor: Any, type_: str = "openai") -> Provider:
    return Provider(type=type_, base_url=vendor.url, api_key=Secret(vendor.key))


@pytest.mark.anyio
async def test_server_that_has_not_the_model_passes_it_on(session: aiohttp.ClientSession) -> None:
    async with FakeOllama() as first, FakeOpenAI() as second:
        second.say(Answer(text=("From the second.",)))
        asked = models(session, one=at(first, "ollama"), other=at(second)).named("qwen3-9b")
        *_, done = await read(asked, ask("Hello"))
    assert isinstance(done, Done)
    assert text_of(done.parts) == "From the second."


@pytest.mark.anyio
async def test_model_that_no_server_has_is_told_with_all_of_them(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeOpenAI() as first, FakeOpenAI() as second:
        for vendor in (first, second):
            vendor.fail(Fault(status=404, message="no such model"))
        asked = models(session, one=at(first), other=at(second)).named("qwen3-9b")
        with pytest.raises(ModelRejected, match=r"one refuses.*other refuses"):
            await read(asked, ask("Hello"))
