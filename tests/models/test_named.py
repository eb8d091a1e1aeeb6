import subprocess
import sys
from typing import Any

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Agent, Config, Cost, ModelEntry, Provider, Router, Rule
from famulus.core.errors import ConfigError, ModelRejected
from famulus.core.messages import Message, Origin, Text
from famulus.core.prices import Price
from famulus.core.protocols import Done, Model, Request
from famulus.core.settings import Secret
from famulus.models.fallback import Fallback
from famulus.models.found import Found
from famulus.models.kept import Kept
from famulus.models.lightened import Lightened
from famulus.models.matched import Matched
from famulus.models.named import Models
from famulus.models.naming import configured_model
from famulus.models.offline import Offline
from famulus.models.routed import Routed
from famulus.models.wires import wire

KEY = Secret("k")
KEYS = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b", "OPENROUTER_API_KEY": "c"}


def no_session() -> Any:
    raise AssertionError("a session is opened before a model is asked")


def models(found: Found | None = None, environment: dict[str, str] = KEYS, **given: Any) -> Models:
    return Models(
        Config(**given), session=no_session, clock=Clock(), environment=environment, found=found
    )


PROVIDERS = {
    "work": Provider(type="openai", api_key=KEY, base_url="http://x/v1", patterns=("w/", "gpt")),
    "claude": Provider(type="anthropic", api_key=KEY, patterns=("anthropic/", "claude")),
    "many": Provider(type="openrouter", api_key=KEY, patterns=("meta/",), fallback=True),
}


@pytest.mark.parametrize(
    ("name", "provider", "id_"),
    [
        ("mine", "claude", "claude-x"),
        ("bare", "work", "gpt-9"),
        ("claude/claude-y", "claude", "claude-y"),
        ("work/some/thing", "work", "some/thing"),
        ("anthropic/claude-y", "claude", "claude-y"),
        ("w/anything", "work", "anything"),
        ("meta/llama", "many", "meta/llama"),
        ("my-gpt-tuned", "work", "my-gpt-tuned"),
        ("claude-z", "claude", "claude-z"),
        ("mistral/large", "many", "mistral/large"),
        ("many/auto", "many", "openrouter/auto"),
        ("ollama/llama3.2:3b", "ollama", "llama3.2:3b"),
    ],
)
def test_name_finds_its_provider(name: str, provider: str, id_: str) -> None:
    entries = {
        "mine": ModelEntry(provider="claude", id="claude-x"),
        "bare": ModelEntry(id="gpt-9"),
    }
    card = models(providers=PROVIDERS, models=entries).resolve(name).card
    assert (card.name, card.provider, card.id) == (name, provider, id_)


@pytest.mark.parametrize(
    ("name", "provider", "key"),
    [
        ("claude-sonnet-5-5", "anthropic", "a"),
        ("anthropic/claude-x", "anthropic", "a"),
        ("gpt-5.5", "openai", "b"),
        ("openrouter/meta/llama", "openrouter", "c"),
        ("openai_responses/gpt-5.5", "openai_responses", "b"),
    ],
)
def test_well_known_providers_need_no_section(name: str, provider: str, key: str) -> None:
    resolved = models().resolve(name)
    assert resolved.card.provider == provider
    assert resolved.provider.api_key.reveal() == key


def test_price_is_found_by_the_id_of_a_model() -> None:
    written, by_id, pattern = (Price(input=n, output=n) for n in (1.0, 2.0, 3.0))
    found = models(
        providers={"p": Provider(type="anthropic", api_key=KEY)},
        models={
            "own": ModelEntry(provider="p", id="claude-sonnet-4-5", price=written),
            "here": ModelEntry(provider="p", id="claude-sonnet-4-5", local=True),
            "free": ModelEntry(provider="p", id="claude-sonnet-4-6", local=True),
        },
        cost=Cost(prices={"claude-sonnet-4-5": by_id, "claude-*": pattern}),
    )
    prices = {name: found.resolve(name).card.price for name in ("own", "p/claude-x-1")}
    assert prices == {"own": written, "p/claude-x-1": pattern}
    assert found.resolve("p/claude-sonnet-4-5").card.price is by_id
    assert found.resolve("here").card.price is by_id
    assert found.resolve("free").card.price is None


def test_only_provider_takes_every_name() -> None:
    resolved = models(providers={"lm": Provider(base_url="http://127.0.0.1:1/v1")}).resolve("qwen")
    assert resolved.card.provider == "lm"
    assert not resolved.provider.api_key, "a vendor's key is not sent to another server"


def test_entry_says_what_the_model_is() -> None:
    entry = ModelEntry(
        provider="ollama", id="llava", inputs=("text",), context_tokens=4096, tools=("calc*",)
    )
    card = models(models={"eye": entry}).resolve("eye").card
    assert (card.inputs, card.context_tokens, card.tools) == (("text",), 4096, ("calc*",))
    assert card.local


@pytest.mark.parametrize(
    ("name", "local"),
    [("ollama/llama3.2", True), ("ollama/gpt-oss:120B-Cloud", False), ("openai/gpt-5.5", False)],
)
def test_local_means_that_nothing_leaves(name: str, local: bool) -> None:
    assert models().resolve(name).card.local is local


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sonet", r'no model "sonet"\. Did you mean sonnet\?'),
        ("lost", r'models\.lost\.provider is "antropic".*Did you mean anthropic'),
    ],
)
def test_unknown_name_says_what_to_do(name: str, says: str) -> None:
    given = models(
        models={
            "sonnet": ModelEntry(provider="anthropic"),
            "lost": ModelEntry(provider="antropic"),
        },
        providers={"one": Provider(), "other": Provider(base_url="http://x/v1")},
    )
    with pytest.raises(ConfigError, match=says):
        given.named(name)


@pytest.mark.parametrize(
    ("type_", "says"), [("odd", "Known: anthropic"), ("antropic", r"Did you mean anthropic\?")]
)
def test_a_provider_of_an_unknown_type_is_said_though_nobody_uses_it(type_: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf'providers\.x\.type is "{type_}".*{says}'):
        models(providers={"x": Provider(type=type_)})


def test_missing_key_is_said_before_any_call() -> None:
    with pytest.raises(ConfigError, match=r"providers\.anthropic\.api_key .* ANTHROPIC_API_KEY"):
        models(environment={}).named("anthropic/claude-x")


def test_both_wires_of_a_vendor_take_its_key_and_address() -> None:
    environment = {"OPENAI_API_KEY": "b", "OPENAI_BASE_URL": "http://proxy/v1"}
    provider = models(environment=environment).resolve("openai_responses/gpt-5.5").provider
    assert (provider.type, provider.base_url) == ("openai_responses", "http://proxy/v1")
    sections = {"work": Provider(type="openai_responses")}
    provider = models(providers=sections, environment=environment).resolve("work/gpt-5.5").provider
    assert (provider.api_key.reveal(), provider.base_url) == ("b", "")


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("anthropic", "Anthropic"),
        ("openai", "OpenAIChat"),
        ("openrouter", "OpenAIChat"),
        ("openai_responses", "OpenAIResponses"),
        ("ollama", "Ollama"),
    ],
)
def test_type_names_the_wire(type_: str, name: str) -> None:
    assert wire(type_).__name__ == name


@pytest.mark.parametrize(
    ("entry", "routing", "says"),
    [
        ({"reasoning": {"effort": "low"}}, {}, r"models\.m\.reasoning .* models\.m\.parameters"),
        ({"routing": {"sort": "price"}}, {}, r"models\.m\.routing is for openrouter"),
        ({}, {"sort": "price"}, r"providers\.x\.routing is for openrouter"),
    ],
)
def test_what_a_wire_would_not_send_is_refused(
    entry: dict[str, Any], routing: dict[str, Any], says: str
) -> None:
    def resolve(type_: str) -> None:
        models(
            providers={"x": Provider(type=type_, api_key=KEY, routing=routing)},
            models={"m": ModelEntry(provider="x", **entry)},
        ).resolve("m")

    resolve("openrouter")
    with pytest.raises(ConfigError, match=says):
        resolve("anthropic")


def test_every_wire_is_retried_and_offline_is_not() -> None:
    assert isinstance(models().named("gpt-5.5"), Lightened)
    offline = models().named("offline")
    assert isinstance(offline, Matched)
    assert offline.card == Offline().card


def test_main_model_has_its_fallbacks() -> None:
    main = models(agent=Agent(model="gpt-5.5", fallbacks=("claude-x", "gpt-5.5"))).main()
    assert isinstance(main, Fallback)
    assert main.card.name == "gpt-5.5"


def test_shadowing_router_answers_with_the_agents_model() -> None:
    router = Router(simple="ollama/llama3.2", complex="claude-x", shadow=True)
    main = models(agent=Agent(model="claude-y"), router=router).main()
    assert main.card.name == "claude-y"


def test_router_routes() -> None:
    router = Router(simple="ollama/llama3.2", complex="claude-x")
    main = models(router=router).main()
    assert isinstance(main, Routed)
    assert main.card.name == "claude-x"


@pytest.mark.parametrize("simple", ["", "gpt-5.5"])
def test_local_rule_needs_a_local_model(simple: str) -> None:
    router = Router(simple=simple, rules=(Rule(class_="local", pattern="x"),))
    with pytest.raises(ConfigError, match=r"router\.simple"):
        models(agent=Agent(model="claude-x"), router=router).main()


@pytest.mark.parametrize(
    ("name", "doubted"),
    [
        ("typo", True),
        ("work/typo", True),
        ("mine", False),
        ("openai/gpt-5.5", False),
        ("ollama/anything", False),
    ],
)
def test_a_name_that_a_provider_takes_may_still_be_wrong(name: str, doubted: bool) -> None:
    given = models(providers={"work": PROVIDERS["work"]}, models={"mine": ModelEntry(id="x")})
    assert bool(given.doubt(name)) == doubted


def test_found_local_model_is_routed_to_and_can_keep_what_is_private() -> None:
    found = Found("openai/gpt-5.5", Provider(type="openai"), "key", simple="ollama/llama3.2")
    router = Router(rules=(Rule(class_="local", pattern="x"),))
    made = models(found, router=router)
    assert isinstance(made.main(), Routed)
    assert (made.simple, made.kept().card.name) == ("ollama/llama3.2", "ollama/llama3.2")
    assert made.kept("claude-x").card.name == "ollama/llama3.2"


def test_found_model_is_used_when_none_is_configured() -> None:
    found = Found("ollama/llama3.2", Provider(type="ollama", base_url="http://h:1"), "it answers")
    assert models(found).main().card.id == "llama3.2"
    assert models().main().card.name == "offline"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, ""),
        ({"agent": Agent(model="x")}, "x"),
        ({"models": {"a": ModelEntry(), "b": ModelEntry()}}, "a"),
        ({"models": {"a": ModelEntry(), "b": ModelEntry()}, "router": Router(simple="a")}, "b"),
        ({"providers": {"w": Provider(type="openai", api_key=KEY)}}, "w/gpt-5.5"),
        ({"providers": {"w": Provider(type="openai_responses", api_key=KEY)}}, "w/gpt-5.5"),
        ({"providers": {"w": Provider(type="openai", base_url="http://x/v1")}}, ""),
    ],
)
def test_configuration_says_the_main_model(given: dict[str, Any], name: str) -> None:
    assert configured_model(Config(**given)) == name


@pytest.mark.anyio
async def test_wire_that_cannot_be_built_is_a_models_error() -> None:
    model = Models(
        Config(providers={"x": Provider(base_url="nonsense")}),
        session=lambda: None,  # type: ignore[arg-type,return-value]
        clock=Clock(),
        environment={},
    ).named("x/y")
    asked = Request(system="", messages=(Message("user", (Text("hi", Origin.OWNER),)),))
    with pytest.raises(ModelRejected, match=r"providers\.x\.base_url"):
        [chunk async for chunk in model.stream(asked)]


@pytest.mark.anyio
async def test_offline_answers_without_anything_configured() -> None:
    asked = Request(system="", messages=(Message("user", (Text("hi", Origin.OWNER),)),))
    chunks = [chunk async for chunk in models(environment={}).main().stream(asked)]
    assert isinstance(chunks[-1], Done)


def test_making_models_imports_no_http_client() -> None:
    code = (
        "import sys; from famulus.core.config import *; from famulus.core.clock import Clock\n"
        "from famulus.models.named import Models\n"
        "Models(Config(agent=Agent(model='gpt-5.5')), session=None, clock=Clock(),\n"
        "       environment={'OPENAI_API_KEY': 'k'}).main()\n"
        "print('aiohttp' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout == "False\n", done.stderr


BLIND = ModelEntry(provider="ollama", id="llama3.2", inputs=("text",))
SEEING = ModelEntry(provider="openai", id="gpt-5.5")
ENTRIES = {"blind": BLIND, "eyes": SEEING}


def inner(model: Model) -> Model:
    assert isinstance(model, Kept)
    return model._model


def picture_of(model: Model) -> str:
    """Which model a picture goes to, seen from the outside; empty when none is asked."""
    if not isinstance(model, Matched):
        return model.card.name
    return model.vision.card.name if model.vision else ""


def test_a_model_that_cannot_see_gets_the_one_for_pictures_at_its_side() -> None:
    agent = Agent(model="blind", vision="eyes")
    made = models(agent=agent, models=ENTRIES)
    assert picture_of(made.main()) == "eyes"
    assert picture_of(made.named("blind")) == "eyes"
    assert picture_of(made.named("eyes")) == "eyes"
    assert not picture_of(models(agent=Agent(model="blind"), models=ENTRIES).main())


def test_a_model_for_pictures_that_cannot_see_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r'agent.vision = "blind" cannot see'):
        models(agent=Agent(model="offline", vision="blind"), models=ENTRIES).main()


def test_a_rule_that_keeps_messages_here_keeps_pictures_here_too() -> None:
    router = Router(rules=(Rule(class_="local", pattern="secret"),))
    agent = Agent(model="blind", vision="eyes")
    far = models(agent=agent, models=ENTRIES, router=router)
    assert picture_of(far.main()) == "eyes"
    assert not picture_of(inner(far.kept()))
    near = {**ENTRIES, "eyes": ModelEntry(provider="ollama", id="llava", inputs=("text", "image"))}
    assert picture_of(inner(models(agent=agent, models=near, router=router).kept())) == "eyes"


@pytest.mark.parametrize(
    ("chosen", "main", "simple", "kept"),
    [
        ("", "gpt-5.5", "ollama/a", "ollama/a"),
        ("claude-x", "gpt-5.5", "ollama/a", "ollama/a"),
        ("ollama/b", "gpt-5.5", "ollama/a", "ollama/b"),
        ("claude-x", "ollama/c", "", "ollama/c"),
        ("", "ollama/c", "ollama/a", "ollama/a"),
        ("claude-x", "gpt-5.5", "", "claude-x"),
    ],
)
def test_what_stays_here_goes_to_the_local_model_that_is_nearest(
    chosen: str, main: str, simple: str, kept: str
) -> None:
    made = models(agent=Agent(model=main), router=Router(simple=simple))
    assert made.kept(chosen).card.name == kept


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:1", True),
        ("192.168.1.7", True),
        ("[::1]:99", True),
        ("box:1234", True),
        ("box.lan", True),
        ("https://ollama.com", False),
        ("8.8.8.8", False),
    ],
)
def test_an_ollama_on_the_internet_is_not_local(host: str, local: bool) -> None:
    card = models(environment={"OLLAMA_HOST": host}).resolve("ollama/llama3.2").card
    assert card.local is local


@pytest.mark.parametrize(
    ("provider", "id_", "takes"),
    [
        ("openai", "gpt-5.5", True),
        ("anthropic", "claude-sonnet-5-5", True),
        ("gemini", "gemini-2.5-flash", False),
    ],
)
def test_documents_go_where_our_wire_can_send_them(provider: str, id_: str, takes: bool) -> None:
    environment = {**KEYS, "GEMINI_API_KEY": "d"}
    card = models(environment=environment).resolve(f"{provider}/{id_}").card
    assert ("pdf" in card.inputs) == takes


def test_documents_for_a_wire_that_cannot_send_them_are_an_error() -> None:
    entry = ModelEntry(provider="ollama", id="llama3.2", inputs=("text", "pdf"))
    with pytest.raises(ConfigError, match="has pdf, which is not sent to a provider of the type"):
        models(models={"mine": entry}).resolve("mine")
