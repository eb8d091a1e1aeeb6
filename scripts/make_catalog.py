"""Write `src/famulus/models/catalog.json` from two maintained packages, without any download.

    uv run --isolated --no-project --with litellm --with genai-prices scripts/make_catalog.py

Only facts are taken: sizes, abilities and prices. litellm knows the abilities, genai-prices knows
what OpenRouter sells. A fact that neither states is left out, never made up. The date is that of
the day on which the file is made; the versions of both packages stand beside it.

Both packages drop models that their vendors retire, long before the last configuration that names
one. So what the file holds already stays in it.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import distribution, version
from pathlib import Path
from statistics import mode
from typing import Any

from genai_prices.data import providers as price_lists  # type: ignore[import-not-found]

TARGET = Path(__file__).parent.parent / "src/famulus/models/catalog.json"
TODAY = datetime.now(UTC).date()
Record = dict[str, Any]

# Ours, then litellm's. Ids begin with `name/` except where the vendor's own ids have no prefix.
VENDORS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "groq": "groq",
    "gemini": "gemini",
    "deepseek": "deepseek",
    "mistral": "mistral",
    "zhipu": "zai",
}
# These sell open models; what they agree on tells the abilities of a model sold elsewhere.
HOSTS = ("deepinfra", "novita", "nebius", "together_ai", "vercel_ai_gateway", "fireworks_ai")
NEMOTRON = re.compile(r"/nvidia/(llama|nemotron)-[\w.-]+$", re.IGNORECASE)
INPUTS = {"image": "supports_vision", "pdf": "supports_pdf_input", "audio": "supports_audio_input"}
MODES = {"chat", "responses", "embedding", "audio_transcription", "audio_speech", "realtime"}
PER_MILLION = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "audio_input": "input_cost_per_audio_token",
}
# What vendors state themselves of models that are widely named and in neither package any more:
# https://open.bigmodel.cn/pricing, https://docs.x.ai/docs/models and
# https://docs.claude.com/en/docs/about-claude/models (the window without a beta header).
STATED: dict[str, dict[str, Record]] = {
    "anthropic": {
        "claude-sonnet-4-20250514": {
            "context_tokens": 200_000,
            "max_output_tokens": 64_000,
            "inputs": ["text", "image", "pdf"],
            "tools": True,
            "reasoning": True,
            "price": {"input": 3, "output": 15, "cached": 0.3, "cache_write": 3.75},
        }
    },
    "zhipu": {
        "glm-4-flash": {
            "context_tokens": 128_000,
            "inputs": ["text"],
            "tools": True,
            "reasoning": False,
            "price": {"input": 0, "output": 0},
        }
    },
    "openrouter": {
        "x-ai/grok-4.1-fast": {
            "context_tokens": 2_000_000,
            "max_output_tokens": 30_000,
            "inputs": ["text", "image"],
            "tools": True,
            "reasoning": True,
            "price": {
                "input": 0.2,
                "output": 0.5,
                "cached": 0.05,
                "over_tokens": 128_000,
                "over_input": 0.4,
                "over_output": 1,
            },
        }
    },
}


def main() -> None:
    known = _litellm()
    models = {ours: _of_vendor(known, theirs) for ours, theirs in VENDORS.items()}
    twins = _twins(known)
    for name, sold in (("openrouter", _openrouter()), ("groq", _priced("groq"))):
        for id_, record in sold.items():
            if id_ not in models.setdefault(name, {}):
                models[name][id_] = {**twins.get(_bare(id_), {}), **record}
    models["nvidia"] = _of_nvidia(known, twins)
    for earlier in (STATED, json.loads(TARGET.read_text("utf-8"))["models"]):
        for name, records in earlier.items():
            models[name] = records | models.get(name, {})
    catalog = {
        "date": TODAY.isoformat(),
        "sources": [f"{name} {version(name)}" for name in ("litellm", "genai-prices")],
        "models": {name: dict(sorted(models[name].items())) for name in sorted(models)},
    }
    TARGET.write_text(json.dumps(catalog, separators=(",", ":")) + "\n", "utf-8")
    counts = {name: len(records) for name, records in models.items()}
    sys.stdout.write(f"{TARGET.name}: {TARGET.stat().st_size} bytes, {counts}\n")


# ---------------------------------------------------------------- litellm: sizes and abilities


def _litellm() -> dict[str, Record]:
    # Found without importing the package, which takes seconds.
    name = "litellm/model_prices_and_context_window_backup.json"
    path = Path(str(distribution("litellm").locate_file(name)))
    found: dict[str, Record] = json.loads(path.read_text("utf-8"))
    return found


def _of_vendor(known: Mapping[str, Record], vendor: str) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for key, record in known.items():
        if record.get("litellm_provider") != vendor or record.get("mode") not in MODES:
            continue
        id_ = key.removeprefix(f"{vendor}/")
        if not id_.startswith("ft:"):
            found.setdefault(id_, _facts(record))
    return found


def _facts(record: Record) -> Record:
    facts: Record = {}
    if context := record.get("max_input_tokens") or record.get("max_tokens"):
        facts["context_tokens"] = int(context)
    if longest := record.get("max_output_tokens"):
        facts["max_output_tokens"] = int(longest)
    also = {kind for kind, field in INPUTS.items() if record.get(field)}
    also |= set(INPUTS) & set(record.get("supported_modalities") or ())
    facts["inputs"] = ["text", *sorted(also)]
    facts["tools"] = bool(record.get("supports_function_calling"))
    facts["reasoning"] = bool(record.get("supports_reasoning"))
    if price := _price(record):
        facts["price"] = price
    return facts


def _price(record: Record) -> Record:
    price = _per_million(record, "")
    for field in record:
        if match := re.fullmatch(r"input_cost_per_token(_above_(\d+)k_tokens)", field):
            above = _per_million(record, match[1])
            if above.keys() >= {"input", "output"}:
                price["over_tokens"] = int(match[2]) * 1000
                price |= {f"over_{name}": each for name, each in above.items()}
            break
    if seconds := record.get("input_cost_per_second"):
        price["minute"] = _short(seconds * 60)
    if not any(price.values()) or (
        record["mode"] == "chat" and not {"input", "output"} <= {*price}
    ):
        return {}  # nothing, or not all of it, is no price
    return {"input": 0, "output": 0} | price


def _per_million(record: Record, suffix: str) -> Record:
    prices = {name: record.get(field + suffix) for name, field in PER_MILLION.items()}
    # A free cache write is how litellm says that a vendor has no price for it.
    return {
        name: _short(price * 1_000_000)
        for name, price in prices.items()
        if price or (price == 0 and name in ("input", "output"))
    }


def _twins(known: Mapping[str, Record]) -> dict[str, Record]:
    """What is known of a model by its bare name: its vendor's facts, or what its hosts agree on."""
    hosted: dict[str, list[Record]] = {}
    for key, record in known.items():
        if record.get("litellm_provider") in HOSTS and record.get("mode") == "chat":
            hosted.setdefault(_bare(key), []).append(_facts(record))
    found = {bare: _agreed(facts) for bare, facts in hosted.items()}
    for vendor in VENDORS.values():
        for id_, facts in _of_vendor(known, vendor).items():
            found[_bare(id_)] = {name: fact for name, fact in facts.items() if name != "price"}
    return found


def _agreed(hosts: Sequence[Record]) -> Record:
    """The abilities that all hosts grant. A host may cut the window, so the usual one counts."""
    agreed: Record = {
        "inputs": [kind for kind in ("text", *INPUTS) if all(kind in h["inputs"] for h in hosts)],
        "tools": all(host["tools"] for host in hosts),
        "reasoning": all(host["reasoning"] for host in hosts),
    }
    if sizes := [host["context_tokens"] for host in hosts if "context_tokens" in host]:
        agreed["context_tokens"] = mode(sizes)
    return agreed


def _of_nvidia(known: Mapping[str, Record], twins: Mapping[str, Record]) -> dict[str, Record]:
    """NVIDIA's own models. Neither package lists what it serves itself, and it states no price."""
    ids = {key[match.start() + 1 :].lower() for key in known if (match := NEMOTRON.search(key))}
    return {id_: twins[_bare(id_)] for id_ in ids if _bare(id_) in twins}


def _bare(id_: str) -> str:
    """`anthropic/claude-sonnet-4.5:free` and `claude-sonnet-4-5` are one model."""
    return id_.rpartition("/")[2].partition(":")[0].lower().replace(".", "-")


# ---------------------------------------------------------------- genai-prices: what others sell


def _openrouter() -> dict[str, Record]:
    sold = _priced("openrouter")
    # Its ids have a vendor; a batch is another product.
    return {id_: each for id_, each in sold.items() if "/" in id_ and not id_.endswith(":batch")}


def _priced(provider: str) -> dict[str, Record]:
    (found,) = (each for each in price_lists if each.id == provider)
    records: dict[str, Record] = {}
    for model in found.models:
        record: Record = {"context_tokens": model.context_window} if model.context_window else {}
        price = dict(_listed(_current(model.prices)))
        if model.id.endswith(":free"):
            price = {"input": 0, "output": 0}
        if price:
            records[model.id] = record | {"price": price}
    return records


def _current(prices: Any) -> Any:
    """The last price that already holds today."""
    if not isinstance(prices, list):
        return prices
    begun = [each for each in prices if _begin(each) <= TODAY]
    return max(begun, key=_begin).prices


def _begin(price: Any) -> date:
    begin: date = getattr(price.constraint, "start_date", date.min)
    return begin


def _listed(price: Any) -> Iterator[tuple[str, Any]]:
    names = {
        "input": "input_mtok",
        "output": "output_mtok",
        "cached": "cache_read_mtok",
        "cache_write": "cache_write_mtok",
    }
    found = {name: getattr(price, field) for name, field in names.items()}
    if found["input"] is None or found["output"] is None:
        return
    over: Record = {}
    limits = []
    for name, each in found.items():
        if each is None:
            continue
        if tiers := getattr(each, "tiers", None):
            limits.append(tiers[0].start)
            over[f"over_{name}"] = _short(tiers[0].price)
        yield name, _short(getattr(each, "base", each))
    if limits:
        yield "over_tokens", min(limits)
        yield from over.items()


def _short(price: float | Decimal) -> float | int:
    rounded = round(float(price), 6)
    return int(rounded) if rounded.is_integer() else rounded


if __name__ == "__main__":
    main()
