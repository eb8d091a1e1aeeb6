import subprocess
import sys
from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.clock import Clock
from famulus.core.config import Config, ModelEntry, Provider
from famulus.core.messages import Usage
from famulus.core.prices import Price
from famulus.core.protocols import ModelCard
from famulus.core.settings import Secret
from famulus.models import catalog
from famulus.models.catalog import Known, catalog_date, catalog_sources, lookup
from famulus.models.named import Models
from famulus.models.vendors import VENDORS

PRICED = ("anthropic", "openai", "openrouter", "groq", "gemini", "deepseek", "mistral", "zhipu")


def card(name: str, provider: str = "anthropic", **entry: object) -> ModelCard:
    return (
        Models(
            Config(
                providers={provider: Provider(api_key=Secret("k"))},
                models={"mine": ModelEntry(provider=provider, id=name, **entry)},
            ),
            session=lambda: pytest.fail("a session is opened"),
            clock=Clock(),
            environment={},
        )
        .resolve("mine")
        .card
    )


def test_the_facts_have_a_date_and_a_source() -> None:
    assert date(2026, 1, 1) <= date.fromisoformat(catalog_date())
    assert [source.partition(" ")[0] for source in catalog_sources()] == ["litellm", "genai-prices"]


@pytest.mark.parametrize("provider", PRICED)
def test_prices_of_a_vendor_are_known_and_plausible(provider: str) -> None:
    models = catalog._catalog().models[provider]
    priced = [known for known in models.values() if known.price]
    assert len(priced) >= 8
    for known in priced:
        assert known.price is not None
        assert known.price.input <= 1000
        assert known.price.output <= 2000
        # OpenRouter lists a router or two whose cache costs what input does.
        assert known.price.cached is None or known.price.cached <= max(known.price.input, 1)
        assert known.context_tokens == 0 or known.context_tokens >= 100


def test_every_provider_of_the_catalogue_is_a_well_known_one() -> None:
    assert set(catalog._catalog().models) <= set(VENDORS)


@pytest.mark.parametrize("vendor", [name for name, each in VENDORS.items() if each.model])
def test_the_model_that_a_bare_key_gets_is_in_the_catalogue(vendor: str) -> None:
    if vendor != "openrouter":  # its `auto` costs what it chooses
        known = lookup(vendor, VENDORS[vendor].model)
        assert known is not None
        assert known.price is not None or vendor == "nvidia"  # which states none
        assert known.tools


@pytest.mark.parametrize(
    ("provider", "id_", "same"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-5-20991231", "claude-sonnet-4-5"),
        ("anthropic", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("openai_responses", "gpt-5.5", "gpt-5.5"),
        ("openai", "gpt-5.5-2099-01-31", "gpt-5.5"),
    ],
)
def test_a_prefix_or_a_date_does_not_hide_a_model(provider: str, id_: str, same: str) -> None:
    assert lookup(provider, id_) == lookup(provider, same)
    assert lookup(provider, same) is not None


@pytest.mark.parametrize(
    ("provider", "id_"),
    [
        ("anthropic", "claude-sonnet-4-5-mine"),
        ("anthropic", "claude"),
        ("anthropic", "gpt-5.5"),
        ("openai", "gpt-5.5-turbo-99"),
        ("openai", "20250929"),
        ("nobody", "gpt-5.5"),
        ("ollama", "llama3.2"),
        ("openai", ""),
    ],
)
def test_what_is_only_similar_is_not_known(provider: str, id_: str) -> None:
    assert lookup(provider, id_) is None


@pytest.mark.parametrize(
    ("provider", "id_", "window", "price"),
    [
        ("anthropic", "claude-sonnet-4-20250514", 200_000, (3.0, 15.0)),
        ("anthropic", "claude-3-5-sonnet-20241022", 200_000, (3.0, 15.0)),
        ("openrouter", "x-ai/grok-4.1-fast", 2_000_000, (0.2, 0.5)),
        ("gemini", "gemini-2.0-flash", 1_048_576, (0.1, 0.4)),
        ("zhipu", "glm-4-flash", 128_000, (0.0, 0.0)),
        ("openai", "gpt-4-0314", 8192, (30.0, 60.0)),
    ],
)
def test_a_model_that_its_vendor_retired_is_still_known(
    provider: str, id_: str, window: int, price: tuple[float, float]
) -> None:
    known = lookup(provider, id_)
    assert known is not None
    assert known.price is not None
    assert (known.context_tokens, (known.price.input, known.price.output)) == (window, price)


@given(st.sampled_from(sorted(VENDORS)), st.text(max_size=30))
def test_any_text_may_be_looked_up(provider: str, id_: str) -> None:
    assert isinstance(lookup(provider, id_), Known | None)


def test_the_card_says_what_the_catalogue_knows() -> None:
    known = lookup("anthropic", "claude-sonnet-4-5")
    given_ = card("claude-sonnet-4-5")
    assert known is not None
    assert known.price is not None
    assert (given_.context_tokens, given_.inputs) == (known.context_tokens, known.inputs)
    assert (given_.max_output_tokens, given_.price) == (known.max_output_tokens, known.price)
    assert {"text", "image"} <= set(given_.inputs)


def test_what_is_written_counts_for_more_than_the_catalogue() -> None:
    mine = Price(input=1.0, output=2.0)
    given_ = card("claude-sonnet-4-5", inputs=("text",), context_tokens=2000, price=mine)
    assert (given_.inputs, given_.context_tokens, given_.price) == (("text",), 2000, mine)


def test_an_unknown_model_has_defaults_and_no_price() -> None:
    given_ = card("claude-of-tomorrow")
    assert (given_.context_tokens, given_.inputs) == (128_000, ("text", "image"))
    assert given_.price is None


def test_cached_and_written_input_have_their_own_prices() -> None:
    price = Price(input=3.0, output=15.0, cached=0.3, cache_write=3.75)
    usage = Usage(input_tokens=1_000_000, cached_tokens=600_000, output_tokens=100_000)
    assert price.usd(usage) == pytest.approx(0.4 * 3 + 0.6 * 0.3 + 0.1 * 15)
    assert price.usd(usage, written_tokens=400_000) == pytest.approx(0.4 * 3.75 + 0.18 + 1.5)


def test_a_long_request_costs_its_higher_price_in_all() -> None:
    price = Price(
        input=3.0, output=15.0, cached=0.3, over_tokens=200_000, over_input=6.0, over_output=22.5
    )
    short = Usage(input_tokens=200_000, output_tokens=1000)
    long = Usage(input_tokens=200_001, output_tokens=1000)
    assert price.usd(short) == pytest.approx(0.6 + 0.015)
    assert price.usd(long) == pytest.approx(0.200001 * 6 + 0.0225)


@given(
    st.builds(Price, input=st.floats(0, 100), output=st.floats(0, 100), cached=st.floats(0, 10)),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_nothing_costs_less_than_nothing(
    price: Price, input_tokens: int, cached_tokens: int, output_tokens: int
) -> None:
    usage = Usage(
        input_tokens=input_tokens, cached_tokens=cached_tokens, output_tokens=output_tokens
    )
    assert price.usd(usage) >= 0


def test_the_facts_are_read_only_when_they_are_asked_for() -> None:
    code = (
        "from famulus.models import named, catalog\n"
        "print(catalog._catalog.cache_info().currsize)\n"
        "catalog.lookup('openai', 'gpt-5.5')\n"
        "print(catalog._catalog.cache_info().currsize)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["0", "1"], done.stderr


def test_the_file_holds_no_more_than_is_read() -> None:
    """A fact whose name the code does not know would be lost without a word."""

    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        context_tokens: int = 0
        max_output_tokens: int | None = None
        inputs: tuple[str, ...] = ()
        tools: bool = True
        reasoning: bool = False
        price: Price | None = None

    assert Strict.__struct_fields__ == Known.__struct_fields__
    data = (catalog.Path(catalog.__file__).with_name("catalog.json")).read_bytes()
    found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    msgspec.json.decode(found["models"], type=dict[str, dict[str, Strict]])
    assert len(data) < 200_000
