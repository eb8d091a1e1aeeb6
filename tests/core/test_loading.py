import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.config import Config
from famulus.core.errors import ConfigError
from famulus.core.loading import Loaded, home_folder, load
from famulus.core.settings import Secret, Section


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder beside an empty home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def loaded(text: str | None = None, config: Path | None = None, **environment: str) -> Loaded:
    if text is not None:
        Path("famulus.toml").write_text(text, "utf-8")
    return load(home=Path("../home"), config=config, environment=environment)


def error(text: str | None = None, config: Path | None = None, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text, config, **environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- which file


def test_no_file_at_all_gives_the_defaults() -> None:
    found = loaded()
    expected = Loaded(config=Config(), path=None, environment={}, written=found.written)
    assert found == expected


def test_the_file_asked_for_wins_over_the_one_here_and_that_over_the_one_at_home() -> None:
    Path("../home/famulus.toml").write_text("server.port = 1")
    assert loaded().config.server.port == 1
    Path("famulus.toml").write_text("server.port = 2")
    assert loaded().config.server.port == 2
    Path("mine.toml").write_text("server.port = 3")
    assert loaded(config=Path("mine.toml")).config.server.port == 3
    assert loaded(config=Path("mine.toml")).path == Path("mine.toml")


def test_a_file_asked_for_that_is_missing_is_an_error() -> None:
    assert error(config=Path("no.toml")).startswith("no.toml: there is no such file.")


def test_a_folder_in_place_of_the_file_is_an_error() -> None:
    assert error(config=Path("../home")) == "../home cannot be read: Is a directory."


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    Path("famulus.toml").write_bytes(b"\xef\xbb\xbf[server]\r\nport = 5\r\n")
    assert loaded().config.server.port == 5


# ---------------------------------------------------------------- what is wrong where


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[agent]\n\nmax_tool_round = 5",
            "famulus.toml:3: agent.max_tool_round is not a setting. Did you mean max_tool_rounds?",
        ),
        ("[agnet]\nname = 'x'", "famulus.toml:1: agnet is not a setting. Did you mean agent?"),
        (
            "[storage]\nq = 1",
            "famulus.toml:2: storage.q is not a setting."
            " Known here: keep_ids, keep_turns, keep_uploads, timeout, url.",
        ),
        (
            "[server]\nport = 'x'",
            "famulus.toml:2: server.port must be a whole number, 0 to 65535, not text.",
        ),
        (
            "server.port = 70000",
            "famulus.toml:1: server.port must be a whole number, 0 to 65535.",
        ),
        (
            "[agent]\nmax_tool_rounds = true",
            "famulus.toml:2: agent.max_tool_rounds must be a whole number, 1 or more, "
            "not true or false.",
        ),
        (
            "[agent]\nwhile_busy = 'wait'",
            'famulus.toml:2: agent.while_busy must be "join", "steer" or "queue".',
        ),
        (
            "[agent]\nturn_timeout = 'soon'",
            "famulus.toml:2: agent.turn_timeout must be a duration like 30, "
            '"30s", "10m" or "1h30m", more than 0.',
        ),
        (
            "[agent]\nfallbacks = [\n  'a',\n  3,\n]",
            "famulus.toml:4: agent.fallbacks[1] must be text, not a number.",
        ),
        ("agent = 3", "famulus.toml:1: agent must be a section."),
        ("channels = 3", "famulus.toml:1: channels must be a section."),
        (
            '[providers."my vendor"]\ntimeout = []',
            'famulus.toml:2: providers."my vendor".timeout must be a duration like 30, '
            '"30s", "10m" or "1h30m", more than 0, not a list.',
        ),
        (
            "[[router.rules]]\nclass = 'simple'\npattern = 'x'\n[[router.rules]]\nclass = 'tool'",
            "famulus.toml:4: router.rules[1] needs pattern, which is missing.",
        ),
        (
            "[server]\nport = 1\nport = 2",
            "famulus.toml:3: not valid TOML: Cannot overwrite a value.",
        ),
        ("[server]\nhost = 'x", 'famulus.toml:2: not valid TOML: Expected "\'".'),
        (
            f"a = {'[' * 100_000}",
            "famulus.toml: a number is too long or a list nested too deeply.",
        ),
    ],
)
def test_a_fault_is_one_line_with_its_place_and_what_to_write(text: str, message: str) -> None:
    assert error(text) == message


def test_bytes_that_are_not_text_are_an_error_with_their_line() -> None:
    Path("famulus.toml").write_bytes(b"[agent]\nname = '\xff'\n")
    assert error() == "famulus.toml:2: not UTF-8 text. Save the file as UTF-8."


@pytest.mark.parametrize(
    "text",
    [
        "[providers.x]\napi_key = 'sk-1'\nbase_url = ['sk-1']",
        "[providers.x]\napi_key = ['sk-1']",
        "[providers.x]\napi_key = sk-1",
        "[providers.x]\napi_key = 'sk-1",
        "[providers.x.headers]\nauthorization = { a = 'sk-1' }",
        "[providers.x]\ntimeout = '${KEY}'",
        "[logging]\nlevel = '${KEY}'",
        "[server]\nport = '${KEY}'",
        "[channels.'${KEY}']",
    ],
)
def test_no_error_shows_a_secret(text: str) -> None:
    assert "sk-1" not in error(text, KEY="sk-1")
    assert "sk-1" not in error("", FAMULUS_SERVER__PORT="sk-1")


def test_sections_become_what_they_are_declared_as() -> None:
    config = loaded(
        "[agent]\nturn_timeout = '1h30m'\nfallbacks = ['a', 'b']\n"
        "[limits]\nupload = '1KiB'\n"
        "[providers.x]\napi_key = 'k'\nheaders = { h = 'v' }\n"
        "[models.m]\ntemperature = 1\n"
        "[[router.rules]]\nclass = 'local'\npattern = 'p'"
    ).config
    assert (config.agent.turn_timeout, config.agent.fallbacks) == (5400, ("a", "b"))
    assert config.limits.upload == 1024
    assert config.providers["x"].api_key == Secret("k")
    assert config.providers["x"].headers == {"h": Secret("v")}
    assert config.models["m"].temperature == 1.0
    assert config.models["m"].max_tokens is None
    assert config.router.rules[0].class_ == "local"


# ---------------------------------------------------------------- variables in the file


def test_a_variable_is_replaced_anywhere_in_a_text_and_can_be_escaped() -> None:
    text = "[agent]\nname = 'a${A}b${A}'\nfallbacks = ['${B_2}', '$${A}', '$A $']"
    agent = loaded(text, A="1", B_2="${A}").config.agent
    assert agent.name == "a1b1"
    assert agent.fallbacks == ("${A}", "${A}", "$A $")


def test_a_missing_variable_is_an_error_that_names_the_key_the_line_and_the_variable() -> None:
    assert error("[providers.x]\n\napi_key = '${VENDOR_KEY}'") == (
        "famulus.toml:3: providers.x.api_key refers to ${VENDOR_KEY}, which is not set. "
        "Set it in the environment or in .env."
    )


@pytest.mark.parametrize("text", ["${}", "${A-b}", "${A", "x ${1}"])
def test_a_reference_that_is_not_a_name_is_an_error(text: str) -> None:
    message = error(f"agent.name = '{text}'", A="1")
    assert message.startswith("famulus.toml:1: agent.name has a ${ without NAME} after it.")


@given(st.lists(st.sampled_from(["$", "{", "}", "A", "x"]) | st.text(max_size=3)), st.text())
def test_an_escaped_text_comes_out_as_it_was_whatever_stands_beside_it(
    parts: list[str], value: str
) -> None:
    plain = "".join(parts).replace("$${", "")
    escaped = msgspec.json.encode(plain.replace("${", "$${") + " ${A}").decode()
    environment = {"A": value, "FAMULUS_AGENT__NAME": "x"}
    Path("famulus.toml").write_text(f"agent.prompts = {escaped}".replace("\x7f", "\\u007f"))
    config = load(home=Path("../home"), config=None, environment=environment).config
    assert config.agent.prompts == f"{plain} {value}"


def test_dotenv_files_here_and_at_home_are_read_and_the_real_environment_wins() -> None:
    Path("../home/.env").write_text("A=home\nB=home\nC=home\n")
    Path(".env").write_text("A=here\nB=here\n")
    environment = loaded(A="real").environment
    assert environment == {"A": "real", "B": "here", "C": "home"}


def test_the_dotenv_beside_the_file_is_read_and_not_the_one_here() -> None:
    Path("../other").mkdir()
    Path("../other/mine.toml").write_text("agent.name = '${A}'")
    Path("../other/.env").write_text("A=beside\n")
    Path(".env").write_text("A=here\nB=here\n")
    result = loaded(config=Path("../other/mine.toml"))
    assert result.config.agent.name == "beside"
    assert result.environment == {"A": "beside"}


# ---------------------------------------------------------------- overrides


def test_a_variable_overrides_the_file_and_is_read_as_its_field_wants() -> None:
    config = loaded(
        "[agent]\nname = '${NOT_SET}'\n[providers.My-Vendor]\ntype = 'openai'",
        FAMULUS_AGENT__NAME="5",
        FAMULUS_AGENT__MAX_TOOL_ROUNDS="5",
        FAMULUS_AGENT__TURN_TIMEOUT="5m",
        FAMULUS_AGENT__TOOL_TIMEOUT="7",
        FAMULUS_AGENT__FALLBACKS='["a", "b"]',
        FAMULUS_AGENT__WHILE_BUSY="queue",
        FAMULUS_SERVER__PASSWORD="1234 ${X}",
        FAMULUS_PROVIDERS__MY_VENDOR__API_KEY="k",
        FAMULUS_PROVIDERS__MY_VENDOR__HEADERS__X="v",
        FAMULUS_MODELS__M__PARAMETERS__SEED="7",
        FAMULUS_ROUTER__RULES='[{class = "tool", pattern = "p"}]',
        FAMULUS_HOME="ignored",
    ).config
    assert config.agent.name == "5"
    assert config.agent.max_tool_rounds == 5
    assert (config.agent.turn_timeout, config.agent.tool_timeout) == (300, 7)
    assert config.agent.fallbacks == ("a", "b")
    assert config.agent.while_busy == "queue"
    assert config.server.password == Secret("1234 ${X}")
    assert config.providers["My-Vendor"].api_key == Secret("k")
    assert config.providers["My-Vendor"].headers == {"x": Secret("v")}
    assert config.models["m"].parameters == {"seed": 7}
    assert config.router.rules[0].class_ == "tool"


def test_an_override_can_stand_in_dotenv() -> None:
    Path(".env").write_text("FAMULUS_SERVER__PORT=7\n")
    assert loaded().config.server.port == 7


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "FAMULUS_AGENT__MAX_TOOL_ROUND",
            "5",
            "FAMULUS_AGENT__MAX_TOOL_ROUND: agent.max_tool_round is not a setting. "
            "Did you mean FAMULUS_AGENT__MAX_TOOL_ROUNDS?",
        ),
        (
            "FAMULUS_SERVER__PORT",
            "1\nhost = 2",
            "FAMULUS_SERVER__PORT: server.port must be a whole number, 0 to 65535, not text.",
        ),
        (
            "FAMULUS_AGENT__MAX_REPEATS",
            "0",
            "FAMULUS_AGENT__MAX_REPEATS: agent.max_repeats must be a whole number, 1 or more.",
        ),
        (
            "FAMULUS_AGENT__NAME__FIRST",
            "x",
            "FAMULUS_AGENT__NAME__FIRST: agent.name is a value already, not a section.",
        ),
    ],
)
def test_a_wrong_override_is_an_error_that_names_the_variable(
    variable: str, value: str, message: str
) -> None:
    assert error("[agent]\nname = 'x'", **{variable: value}) == message


# ---------------------------------------------------------------- plugins


def test_a_plugin_with_a_section_is_checked_against_its_own_settings(gadget: str) -> None:
    text = "[channels.gadget]\nenabled = true\ntoken = '${T}'"
    config = loaded(text, T="t", FAMULUS_CHANNELS__GADGET__ALLOW='["1"]').config
    settings: Any = config.channels[gadget]
    assert (settings.enabled, settings.token, settings.allow) == (True, Secret("t"), ("1",))
    assert config.plugin_settings("channels", gadget, type(settings)) is settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[channels.gadget]\nenabeld = true",
            "famulus.toml:2: channels.gadget.enabeld is not a setting. Did you mean enabled?",
        ),
        (
            "[channels.gadget]\nenabled = 1",
            "famulus.toml:2: channels.gadget.enabled must be true or false, not a number.",
        ),
        ("\n[channels.gadgt]", "famulus.toml:2: channels.gadgt is not a channel. "),
    ],
)
@pytest.mark.usefixtures("gadget")
def test_a_fault_in_a_plugin_section_is_named_like_any_other(text: str, message: str) -> None:
    assert error(text).startswith(message)


def test_an_unknown_plugin_is_answered_with_the_nearest_one(gadget: str) -> None:
    assert error("[channels.gadgt]").endswith(f"Did you mean {gadget}?")


def test_a_plugin_whose_package_is_missing_is_an_error_that_says_so(
    gadget: str, folder: Path
) -> None:
    (folder / "installed/gadget_channel.py").write_text("import no_such_sdk")
    assert error(f"[channels.{gadget}]") == (
        "famulus.toml:1: channels.gadget cannot be loaded: No module named 'no_such_sdk'."
    )


def test_settings_of_a_plugin_are_its_defaults_or_a_table_checked_on_the_way() -> None:
    class Settings(Section, frozen=True):
        size: int = 1

    assert Config().plugin_settings("tools", "x", Settings) == Settings()
    config = Config(tools={"x": {"size": 2}, "y": {"siez": 2}})
    assert config.plugin_settings("tools", "x", Settings) == Settings(size=2)
    with pytest.raises(ConfigError, match=r"^tools\.y\.siez is not a setting\. .* size\?$"):
        config.plugin_settings("tools", "y", Settings)


# ---------------------------------------------------------------- the home folder


def test_the_home_folder_is_made_for_its_owner_alone_and_kept(folder: Path) -> None:
    environment = {"FAMULUS_HOME": str(folder / "new" / "home")}
    home = home_folder(environment)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (home / "kept").touch()
    assert (home_folder(environment) / "kept").exists()


def test_the_home_folder_is_in_the_users_home_unless_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HOME", str(folder))
    assert home_folder({}) == folder / ".famulus"


def test_a_home_folder_that_cannot_be_made_is_an_error(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(ConfigError, match=r"^The home folder .*/file/x cannot be made: Not a dir"):
        home_folder({"FAMULUS_HOME": str(folder / "file" / "x")})


def test_a_value_that_is_one_variable_is_of_the_type_of_its_setting() -> None:
    text = (
        "[server]\nport = '${PORT}'\npassword = '${WORD}'\n"
        "[agent]\nfallbacks = '${MODELS}'\nturn_timeout = '${LONG}'\ncompaction = '${YES}'\n"
        "[providers.x]\nrouting = { n = '${PORT}' }\n[limits]\nframe = '${SIZE}'"
    )
    found = loaded(
        text, PORT="8080", WORD="123", MODELS='["a", "b"]', LONG="2m", YES="false", SIZE="2MiB"
    ).config
    assert (found.server.port, found.server.password) == (8080, Secret("123"))
    assert found.agent.fallbacks == ("a", "b")
    assert (found.agent.turn_timeout, found.agent.compaction) == (120, False)
    assert found.limits.frame == 2 * 2**20
    assert found.providers["x"].routing == {"n": "8080"}
    assert msgspec.json.encode(found.providers["x"].routing) == b'{"n":"8080"}'


def test_a_variable_of_the_wrong_type_is_one_line_about_the_setting() -> None:
    said = error("[server]\nport = '${PORT}'", PORT="http")
    assert said == "famulus.toml:2: server.port must be a whole number, 0 to 65535, not text."


def test_a_variable_within_a_text_stays_text() -> None:
    assert error("server.port = '1${A}'", A="2").endswith("0 to 65535, not text.")
    assert loaded("server.host = '127.0.0.${A}'", A="2").config.server.host == "127.0.0.2"
