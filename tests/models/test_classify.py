import timeit
from pathlib import Path

import msgspec
import pytest

from famulus.core.config import Rule
from famulus.core.errors import ConfigError
from famulus.models.classify import classify, compiled
from famulus.models.measured import Labelled, measure

RULES = compiled()


def labelled(name: str) -> list[Labelled]:
    file = Path(__file__).parent / "data" / f"{name}.jsonl"
    return [msgspec.json.decode(line, type=Labelled) for line in file.read_bytes().splitlines()]


TUNED, HELD_OUT = labelled("tuned"), labelled("heldout")


def class_of(text: str) -> str:
    return classify(text, RULES).class_


@pytest.mark.parametrize("messages", [TUNED, HELD_OUT], ids=["tuned", "heldout"])
@pytest.mark.parametrize("language", ["", "en", "zh"])
def test_under_one_percent_of_hard_messages_go_to_the_simple_model(
    messages: list[Labelled], language: str
) -> None:
    leaked, hard = measure(messages, RULES).leaked(language)
    assert hard >= 190
    assert leaked / hard < 0.01


def test_bold_rules_keep_a_few_words_that_nothing_speaks_against() -> None:
    bold = compiled(bold=True)
    for text in ("yes", "what's AXI burst length?", "好的"):
        assert (class_of(text), classify(text, bold).class_) == ("complex", "simple")
    for text in (
        "why?",
        "list my files",
        "one two three four five six",
        "请把会议改到周三下午三点",
    ):
        assert classify(text, bold).class_ != "simple"


def test_what_bold_rules_cost_is_what_the_documentation_says() -> None:
    bold = measure(HELD_OUT, compiled(bold=True))
    assert bold.leaked() == (192, 604)
    assert bold.right() == (571, 838)
    assert measure(HELD_OUT, RULES).right() == (706, 838)


@pytest.mark.parametrize("language", ["en", "zh", "de", "fr", "es", "ja"])
def test_most_simple_messages_are_recognised_among_those_held_out(language: str) -> None:
    recognised, simple = measure(HELD_OUT, RULES).recognised(language)
    assert simple >= 13
    assert recognised / simple >= 0.8


def test_every_message_is_in_one_of_the_two_sets_once() -> None:
    texts = [row.text for row in TUNED + HELD_OUT]
    assert len(texts) == len(set(texts)) >= 1200
    for language in ("en", "zh"):
        assert sum(row.lang == language for row in TUNED + HELD_OUT) >= 400


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
        "it works?",
        "great, it broke",
        "who wrote the report",
        "what is success",
        "continue in english",
        "german for beginners",
        "how big is the risk",
        "the date",
        "2024-11-21",
        "24/7",
        "thanks, help me",
        "😭",
        "?",
        "ok so",
        "什么时候",
        "这句用日语怎么说",
        "项目有多大",
        "好的",
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
    "text",
    [
        "Heyyy!!",
        "great, thank you, you're the best",
        "it works!",
        "hahahaha 😂",
        "could you please tell me what time it is in Tokyo",
        "I need you to flip a coin",
        "谢谢,你真棒",
        "ありがとう、助かりました",
    ],
)
def test_what_is_made_of_known_words_is_simple(text: str) -> None:
    assert class_of(text) == "simple"


@pytest.mark.parametrize(
    ("class_", "pattern"),
    [
        ("tool", "(a+)+$"),
        ("tool", "(a|aa)+$"),
        ("tool", r"(\w*\s?)*:"),
        ("tool", "a.*b.*c"),
        ("tool", "a?" * 30),
        ("tool", "(x{0,9}){0,9}"),
        ("local", "#private.*"),
        ("local", r"\s+$"),
    ],
)
def test_rule_that_could_take_long_is_refused(class_: str, pattern: str) -> None:
    rule = msgspec.convert({"class": class_, "pattern": pattern}, Rule)
    with pytest.raises(ConfigError, match=r"router\.rules\[0\]\.pattern .* could take seconds"):
        compiled([rule])


@pytest.mark.parametrize(
    ("class_", "pattern", "unit"),
    [
        ("tool", r"turn .{0,40}lights", "turn "),
        ("tool", r"\w+\s{0,40}:", "a"),
        ("tool", r"(?:\d{1,3}\.){3}\d{1,3}", "1."),
        ("tool", r"[(+*]+x", "("),
        ("local", r"my\s{1,9}(?:will|salary|diagnosis)\b", "my "),
        ("local", r"(?P<mark>#private|#secret)\b", "#"),
        ("local", r"\s{0,250}$", " "),
    ],
)
def test_rule_that_is_taken_stays_quick_on_the_worst_text(
    class_: str, pattern: str, unit: str
) -> None:
    rules = compiled([msgspec.convert({"class": class_, "pattern": pattern}, Rule)])
    text = (unit * 65_536)[:65_536] + "\u0000"
    assert timeit.timeit(lambda: classify(text, rules), number=1) < 2


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
