from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.dotenv import parse_dotenv, read_dotenv
from famulus.core.errors import ConfigError


def test_every_way_to_write_a_line_is_understood() -> None:
    text = """\
# a comment
PLAIN=value
export EXPORTED=yes
  SPACED = out   # a comment
HASH=a#b
URL=https://x.test/?a=b&c=d
SINGLE='as it is: \\n $HOME # "x"'
DOUBLE="tab\\there, \\"quoted\\", \\$5"  # a comment
EMPTY=
ALSO_EMPTY=""
COMMENTED= # nothing
LINES="one
two"
LAST=1"""
    assert parse_dotenv(text, ".env") == {
        "PLAIN": "value",
        "EXPORTED": "yes",
        "SPACED": "out",
        "HASH": "a#b",
        "URL": "https://x.test/?a=b&c=d",
        "SINGLE": 'as it is: \\n $HOME # "x"',
        "DOUBLE": 'tab\there, "quoted", $5',
        "EMPTY": "",
        "ALSO_EMPTY": "",
        "COMMENTED": "",
        "LINES": "one\ntwo",
        "LAST": "1",
    }


@pytest.mark.parametrize(
    "line", ["no equals sign", "2X=1", 'A="sk-open', "A='sk-open", 'A="x" sk-after', "= sk-none"]
)
def test_a_malformed_line_is_named_without_its_value(line: str) -> None:
    with pytest.raises(ConfigError, match=r"^dir/\.env:3: ") as caught:
        parse_dotenv(f"A=1\n\n{line}\nB=2\n", "dir/.env")
    assert "sk-" not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="'\r")))
def test_single_quotes_keep_any_text(value: str) -> None:
    assert parse_dotenv(f"A='{value}'\nB=1\n", ".env") == {"A": value, "B": "1"}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_double_quotes_keep_any_text_that_is_escaped(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    assert parse_dotenv(f'A="{escaped}"\n', ".env") == {"A": value}


def test_no_file_is_no_variables_and_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert read_dotenv(path) == {}
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert read_dotenv(path) == {"A": "1", "B": "2"}


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_dotenv(path)
