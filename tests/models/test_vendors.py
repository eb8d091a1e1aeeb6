import aiohttp
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Config, Provider
from famulus.core.errors import ConfigError
from famulus.core.settings import Secret
from famulus.models.named import Models
from famulus.models.vendors import VENDORS, completed, keys_of, provider_from
from famulus.testing.check_model import answer_of, ask, read
from famulus.testing.fake_openai import FakeOpenAI

PAID = [name for name, vendor in VENDORS.items() if vendor.needs_key]
OWN = Secret("an-own-key")


def models(environment: dict[str, str], **providers: Provider) -> Models:
    return Models(
        Config(providers=providers),
        session=lambda: pytest.fail("a session is opened"),
        clock=Clock(),
        environment=environment,
    )


@pytest.mark.parametrize("name", PAID)
def test_a_key_alone_is_enough(name: str) -> None:
    variable = VENDORS[name].key_variable
    resolved = models({variable: "k"}).resolve(f"{name}/some-model")
    assert resolved.card.provider == name
    assert resolved.provider.api_key == Secret("k")
    assert resolved.provider.base_url == VENDORS[name].base_url


@pytest.mark.parametrize("name", PAID)
def test_a_missing_key_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=VENDORS[name].key_variable):
        models({}).resolve(f"{name}/some-model")


@pytest.mark.parametrize("name", ["vllm", "ollama"])
def test_a_server_at_home_needs_no_key(name: str) -> None:
    provider = models({}).resolve(f"{name}/some-model").provider
    assert provider.base_url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("name", PAID)
def test_a_section_takes_what_its_name_says(name: str) -> None:
    provider = completed(name, Provider(api_key=OWN), {})
    assert (provider.type, provider.api_key) == (name, OWN)
    assert provider.base_url == VENDORS[name].base_url


def test_a_section_under_any_name_can_be_of_a_vendors_type() -> None:
    provider = completed("work", Provider(type="groq"), {"GROQ_API_KEY": "k"})
    assert provider.api_key == Secret("k")
    assert provider.base_url == VENDORS["groq"].base_url


def test_a_written_key_is_not_sent_to_an_address_of_the_environment() -> None:
    environment = {"GROQ_BASE_URL": "http://elsewhere/v1", "GROQ_API_KEY": "k"}
    provider = completed("groq", Provider(api_key=OWN), environment)
    assert (provider.api_key, provider.base_url) == (OWN, VENDORS["groq"].base_url)


def test_the_vendors_key_is_not_sent_to_a_written_address() -> None:
    mine = Provider(base_url="http://mine/v1")
    assert keys_of(completed("groq", mine, {"GROQ_API_KEY": "k"})) == ()


def test_written_keys_keep_that_of_the_environment_out() -> None:
    mine = Provider(api_keys=(OWN, Secret(""), OWN, Secret("another-key")))
    provider = completed("openai", mine, {"OPENAI_API_KEY": "k"})
    assert keys_of(provider) == (OWN, Secret("another-key"))


@pytest.mark.parametrize(
    ("name", "provider", "id_"),
    [
        ("gemini-2.5-pro", "gemini", "gemini-2.5-pro"),
        ("mistral-large-latest", "mistral", "mistral-large-latest"),
        ("glm-5.1", "zhipu", "glm-5.1"),
        ("deepseek-chat", "deepseek", "deepseek-chat"),
        ("groq/openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b"),
        ("nvidia/nemotron-3-nano-30b-a3b", "nvidia", "nvidia/nemotron-3-nano-30b-a3b"),
        ("nvidia/meta/llama-4", "nvidia", "meta/llama-4"),
    ],
)
def test_a_name_finds_its_vendor(name: str, provider: str, id_: str) -> None:
    environment = {vendor.key_variable: "k" for vendor in VENDORS.values()}
    card = models(environment).resolve(name).card
    assert (card.provider, card.id) == (provider, id_)


def test_a_bare_id_prefers_a_section_of_the_vendors_type() -> None:
    providers = {"work": Provider(type="mistral", api_key=OWN), "other": Provider(api_key=OWN)}
    assert models({}, **providers).resolve("mistral-large-latest").card.provider == "work"


def test_the_fallback_provider_takes_a_vendor_that_has_no_key() -> None:
    many = Provider(type="openrouter", api_key=OWN, fallback=True)
    given = models({"GROQ_API_KEY": "k"}, many=many)
    assert given.resolve("mistral/large").card.provider == "many"
    assert given.resolve("groq/llama").card.provider == "groq"


def test_addresses_are_secure_but_for_those_of_this_machine() -> None:
    for name in VENDORS:
        url = provider_from(name, {}).base_url
        assert url.startswith(("https://", "http://127.0.0.1:")) or url == ""


@pytest.mark.anyio
async def test_a_vendor_answers_with_nothing_but_the_environment() -> None:
    async with FakeOpenAI() as vendor, aiohttp.ClientSession() as session:
        model = Models(
            Config(),
            session=lambda: session,
            clock=Clock(),
            environment={"GROQ_API_KEY": vendor.key, "GROQ_BASE_URL": vendor.url},
        ).named("groq/openai/gpt-oss-120b")
        done = answer_of(await read(model, ask("Hello")))
    assert done.model == "openai/gpt-oss-120b"
