import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.store.terms import query_terms, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("snake_case x-ray", "snake case x ray"),
        ("ＦＵＬＬ Ⅳ ﬁne", "full iv fine"),
        ("Straße CAFÉ", "strasse cafe"),
        ("会议", "会议 议"),
        ("猫", "猫"),
        ("iPhone手机2台", "iphone 手机 机 2 台"),
        ("ガ・ギ", "ガ ギ"),
        ("x" * 99, "x" * 64),
        ("…", ""),
    ],
)
def test_text_is_cut_into_terms(text: str, expected: str) -> None:
    assert terms(text) == expected


def test_query_has_each_term_once_and_single_characters_by_prefix() -> None:
    assert query_terms("Cat cat 会议室 猫") == ["cat", "会议", "议室", "猫*"]


@given(st.text(alphabet=st.sampled_from("ab会议室猫カé ,_1"), max_size=40))
def test_each_term_of_a_text_as_query_is_in_its_index(text: str) -> None:
    index = terms(text).split()
    for term in query_terms(text):
        assert any(
            one.startswith(term[:-1]) if term.endswith("*") else one == term for one in index
        )


@given(st.text())
def test_terms_hold_nothing_that_a_query_language_could_read(text: str) -> None:
    written = terms(text) + " ".join(term.removesuffix("*") for term in query_terms(text))
    assert all(char.isalnum() or char == " " for char in written if char.isascii())
