import hashlib
import json
import timeit
from pathlib import Path

import pytest

from famulus.core.config import Rule
from famulus.core.errors import ConfigError
from famulus.models.classify import classify, compiled

RULES = compiled()
MESSAGES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "tuned.jsonl").read_text("utf-8").splitlines()
]


def held_out(text: str) -> bool:
    """Messages that the rules were not tuned on, by a split that never moves."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


def class_of(text: str) -> str:
    return classify(text, RULES).class_


def test_less_than_one_percent_of_hard_messages_go_to_the_simple_model() -> None:
    hard = [row for row in MESSAGES if row["class"] != "simple"]
    wrong = [row["text"] for row in hard if class_of(row["text"]) == "simple"]
    assert len(hard) >= 200
    assert len(wrong) / len(hard) < 0.01, wrong


@pytest.mark.parametrize("language", ["en", "zh"])
def test_most_simple_messages_are_recognised_among_those_never_tuned_on(language: str) -> None:
    simple = [
        row["text"]
        for row in MESSAGES
        if row["class"] == "simple" and row["lang"] == language and held_out(row["text"])
    ]
    recognised = [text for text in simple if class_of(text) == "simple"]
    assert len(simple) >= 20
    assert len(recognised) / len(simple) >= 0.7, set(simple) - set(recognised)


def test_every_message_of_the_labelled_set_is_there_once() -> None:
    texts = [row["text"] for row in MESSAGES]
    assert len(texts) == len(set(texts))
    assert {row["class"] for row in MESSAGES} == {"simple", "complex", "tool"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "yes",
        "do it",
        "zorblax the frumious",
        "hi\nthere",
        "```\nhello\n```",
        "hello! hello! " * 30,
        "what is 2+2? and what is 3+3?",
    ],
)
def test_what_is_in_doubt_is_complex(text: str) -> None:
    assert class_of(text) == "complex"


def test_greeting_before_a_request_proves_nothing() -> None:
    assert class_of("hello") == "simple"
    assert class_of("hello, write me a sonnet about Lisbon") == "complex"
    assert class_of("hello, list my files") == "tool"


def test_reasons_name_the_evidence_and_its_weight() -> None:
    decision = classify("Explain TCP", RULES)
    assert decision == ("complex", 6.0, ['word "explain" → complex 6'], False)


def test_own_rule_adds_its_weight() -> None:
    rules = compiled([Rule(class_="tool", pattern=r"\bpalantír\b", weight=9)])
    decision = classify("Ask the PALANTÍR", rules)
    assert decision.class_ == "tool"
    assert decision.score == 9
    assert any("palantír" in reason for reason in decision.reasons)


def test_local_rule_keeps_a_text_here_whatever_its_class() -> None:
    rules = compiled([Rule(class_="local", pattern="#private")])
    assert classify("Explain my will #PRIVATE", rules)[0::3] == ("complex", True)
    assert not classify("Explain my will", rules).keep_local


def test_local_mark_is_seen_in_the_middle_of_a_long_text() -> None:
    rules = compiled([Rule(class_="local", pattern="#private")])
    assert classify("x" * 30_000 + " #private " + "y" * 30_000, rules).keep_local


def test_wrong_pattern_of_the_user_is_named() -> None:
    with pytest.raises(ConfigError, match=r"router\.rules\[1\]\.pattern '\(' is not a regular"):
        compiled([Rule(class_="tool", pattern="a"), Rule(class_="tool", pattern="(")])


@pytest.mark.parametrize(
    "unit",
    [
        *("a ", "1", "(1", "what is ", "hi ", "how many a ", "'", "1+", "is a ", "km ", "`"),
        *("?a", "a@", ".", "please ", "的", "什么", "是谁写的", "一", "加减"),
    ],
)
def test_no_input_makes_a_decision_slow(unit: str) -> None:
    # The longest texts that rules see whole, and the longest message there is.
    for size in (29, 119, 799, 65_536):
        text = (unit * size)[:size] + "\u0000"
        seconds = timeit.timeit(lambda text=text: classify(text, RULES), number=1)
        # A hundred times the usual cost still tells a catastrophe from a busy machine.
        assert seconds < 0.1, (unit, size)
