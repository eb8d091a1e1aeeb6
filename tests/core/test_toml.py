import tomllib

from hypothesis import given
from hypothesis import strategies as st

from famulus.core.toml import KeyPath, document, dotted, key_lines

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
TREES = st.dictionaries(TEXT, VALUES, max_size=5)


def paths(value: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every path of a parsed document."""
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    found = {(*path, name) for name, _ in items}
    return found.union(*(paths(item, (*path, name)) for name, item in items))


@given(TREES)
def test_a_written_document_reads_back_the_same(tree: dict) -> None:
    assert tomllib.loads(document(tree)) == tree


@given(TREES)
def test_every_path_has_a_line_and_no_other_path_has_one(tree: dict) -> None:
    assert set(key_lines(document(tree))) == paths(tree)


@given(st.lists(st.sampled_from(["", "# [no.section]", '# key = """', "\t"]), max_size=5), TEXT)
def test_a_key_is_found_below_any_number_of_other_lines(above: list[str], name: str) -> None:
    tree = {name: {"port": 1}}
    text = "".join(f"{line}\n" for line in above) + document(tree)
    assert key_lines(text) == {(name,): len(above) + 1, (name, "port"): len(above) + 2}


def test_lines_are_right_in_a_document_that_uses_every_notation() -> None:
    text = '''\
title = "a [not.a.section] # nor a comment"
[server]  # a comment = with = marks
host.name = 'x'
"quoted.key" = """
fake = 1
\\""" [still.text] """
\'single \' = \'\'\'
[also] "text"\'\'\'\'
date = 1979-05-27 07:32:00.5
ports = [
  1, # one
  [2,
   3],
]
point = { x = 1, y.z = { w = [
  4] } }
[[rules]]
class = "a"
[rules.deep]
x = 1
[[rules]]

class = "b"
[[rules.inner]]
y = 2
'''
    assert paths(tomllib.loads(text)) == set(key_lines(text))
    lines = {dotted(path): line for path, line in key_lines(text).items()}
    assert lines == {
        "title": 1,
        "server": 2,
        "server.host": 3,
        "server.host.name": 3,
        'server."quoted.key"': 4,
        'server."single "': 7,
        "server.date": 9,
        "server.ports": 10,
        "server.ports[0]": 11,
        "server.ports[1]": 12,
        "server.ports[1][0]": 12,
        "server.ports[1][1]": 13,
        "server.point": 15,
        "server.point.x": 15,
        "server.point.y": 15,
        "server.point.y.z": 15,
        "server.point.y.z.w": 15,
        "server.point.y.z.w[0]": 16,
        "rules": 17,
        "rules[0]": 17,
        "rules[0].class": 18,
        "rules[0].deep": 19,
        "rules[0].deep.x": 20,
        "rules[1]": 21,
        "rules[1].class": 23,
        "rules[1].inner": 24,
        "rules[1].inner[0]": 24,
        "rules[1].inner[0].y": 25,
    }


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}
