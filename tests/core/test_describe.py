import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from famulus.core.config import Config, ModelEntry, Provider, Rule, Storage
from famulus.core.describe import (
    EXAMPLE_FILE,
    REFERENCE_FILE,
    effective,
    example,
    json_schema,
    reference,
    tables,
)
from famulus.core.loading import load
from famulus.core.settings import Secret, shape, wanted
from famulus.core.toml import document

ROOT = Path(__file__).parents[2]
REMEDY = "is stale: run `python -m famulus.core.describe` at the root of the repository"


def loaded(text: str, folder: Path) -> Config:
    path = folder / "famulus.toml"
    path.write_text(text, "utf-8")
    return load(home=folder, config=path, environment={}).config


@pytest.mark.parametrize(("file", "made"), [(EXAMPLE_FILE, example), (REFERENCE_FILE, reference)])
def test_the_generated_files_are_up_to_date(file: Path, made: object) -> None:
    assert callable(made)
    assert (ROOT / file).read_text("utf-8") == made(), f"{file} {REMEDY}"


def test_every_section_and_every_field_has_a_line_of_documentation() -> None:
    missing = [table.header for table in tables() if not table.doc]
    for table in tables():
        fields = table.fields()
        missing += [f"{table.header} {f.encode_name}" for f in fields if not shape(f.type).doc]
    assert missing == []


def test_every_field_and_what_it_takes_stands_in_the_example_and_in_the_reference() -> None:
    unwrapped, page = re.sub(r"\n# ", " ", example()), reference()
    for table in tables():
        for field in table.fields():
            form = shape(field.type)
            assert f"{form.doc} ({wanted(field.type)})" in unwrapped
            assert f"\n| `{field.encode_name}` | {wanted(field.type)} |" in page


def test_the_example_loads_and_changes_nothing(tmp_path: Path) -> None:
    config = loaded(example(), tmp_path)
    assert msgspec.structs.replace(config, channels={}, tools={}) == Config()
    for kind in ("channels", "tools"):
        for settings in getattr(config, kind).values():
            assert settings == type(settings)()


def test_the_examples_of_what_has_no_default_load_too(tmp_path: Path) -> None:
    config = loaded(re.sub(r"(?m)^#(?=[\[\w])", "", example()), tmp_path)
    assert config.providers == {"NAME": Provider()}
    entry = config.models["NAME"]
    assert msgspec.structs.replace(entry, price=None) == ModelEntry(
        max_tokens=8192,
        temperature=0.7,
        top_p=0.9,
        inputs=("text", "image"),
        context_tokens=128_000,
        local=True,
    )
    assert entry.price is not None
    assert (entry.price.input, entry.price.over_input) == (3.0, 6.0)
    assert config.router.rules == (Rule(class_="simple", pattern="^(hi|hello)$"),)


def test_the_schema_knows_every_field_and_forbids_others() -> None:
    schema = json.loads(msgspec.json.encode(json_schema()))
    for table in tables():
        node = schema
        for part in table.path:
            node = node["properties"].get(part) if part != "NAME" else node["additionalProperties"]
        node = node["items"] if table.listed else node
        assert node["additionalProperties"] is False
        assert node["properties"].keys() >= {field.encode_name for field in table.fields()}


def test_the_schema_says_types_bounds_and_choices() -> None:
    sections = json_schema()["properties"]
    server = sections["server"]["properties"]
    assert server["port"] == {
        "description": "TCP port; 0 takes a free one.",
        "type": "integer",
        "minimum": 0,
        "maximum": 65535,
        "default": 19876,
    }
    assert server["password"]["type"] == "string"
    assert server["session_lifetime"]["type"] == ["string", "number"]
    assert sections["limits"]["properties"]["upload"]["type"] == ["string", "integer"]
    assert sections["agent"]["properties"]["name"]["minLength"] == 1
    assert sections["agent"]["properties"]["while_busy"]["enum"] == ["join", "steer", "queue"]
    assert sections["router"]["properties"]["rules"]["items"]["required"] == ["class", "pattern"]


@pytest.mark.usefixtures("gadget")
def test_the_settings_of_an_installed_plugin_are_described_like_ours() -> None:
    assert "[channels.gadget]\n" in example()
    assert "| `FAMULUS_CHANNELS__GADGET__TOKEN` |" in reference()
    channels = json_schema()["properties"]["channels"]
    assert channels["properties"]["gadget"]["properties"]["token"]["type"] == "string"
    assert channels["additionalProperties"] is False


def test_values_in_force_read_back_the_same_and_hide_secrets() -> None:
    config = Config(
        storage=Storage(url="postgresql://me:pa@ss/word@db:5432/x"),
        providers={"x": Provider(api_key=Secret("sk-1"), headers={"h": Secret("sk-2")})},
        models={"m": ModelEntry(id="m", parameters={"seed": 7})},
        router=Config().router,
    )
    shown = effective(config)
    assert shown["storage"]["url"] == "postgresql://me:***@db:5432/x"
    assert shown["providers"]["x"]["api_key"] == "***"
    assert shown["providers"]["x"]["headers"] == {"h": "***"}
    assert shown["server"]["password"] == ""
    assert shown["agent"]["turn_timeout"] == "10m"
    assert "temperature" not in shown["models"]["m"]
    assert tomllib.loads(document(shown)) == shown
    assert "sk-" not in document(shown)
