"""Is a message simple, complex or in need of tools? Decided by rules, before any model is called.

A message is `simple` only on positive evidence that outweighs all other evidence; in doubt it is
`complex`, because a good model wasted on a greeting costs less than a bad answer.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from msgspec import Struct

from famulus.core.config import Rule
from famulus.core.errors import ConfigError
from famulus.models import facts, rules_chinese
from famulus.models import rules as builtin
from famulus.models.bounded import attempts
from famulus.models.phrases import is_small_talk, without_faces

Class = Literal["simple", "complex", "tool"]

_HEAD, _TAIL = 600, 200
_NAMED_REASONS, _REASON_CHARACTERS = 3, 160
_ATTEMPTS, _LOCAL_ATTEMPTS = 35_000, 300  # a rule sees 800 characters, a local one 64 KiB
_SIMPLE_CHARACTERS = 120
_SIMPLE_WORDS = 16
_SIMPLE_HAN = 30
_BOLD_WORDS = 5
_FEW_WORDS = 0.5
_SMALL_TALK = 20.0  # every word of it is known, so no other evidence outweighs it
_WORD = re.compile(r"[^\W\d_]+")
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_COURTESY = re.compile(
    r"\A(?:(?:ok|okay|so|well|um+|uh+|and|please|pls|plz|quick question|famulus|btw|just curious|"
    r"hey|hi|hello|do you know|(?:can|could|would|will) you(?: please)?|tell me|give me|show me|"
    r"let me know|go ahead and|i(?:'d| would)? (?:just )?(?:need|want|like|wanna)(?: you)?"
    r"(?: to(?: know| get| hear| ask)?)?|i wonder|help me|"
    r"hallo|bitte|sag mir|sag mal|kannst du mir sagen|weißt du|"
    r"hola|por favor|dime|bonjour|salut|dis[- ]moi|s'il te plaît|"
    r"你好|您好|请问|请|麻烦|帮我|告诉我|你知道|我想知道|能告诉我|那|对了|すみません|教えて)"
    r"(?:[\s,:;!.，：！。、-]+|(?<=[\u3040-\u9fff])))+(?=\S)",
)
_FAREWELL = re.compile(
    r"[\s,，]+(?:please|pls|plz|thanks|thank you|famulus|for me|real quick|bitte|danke|por favor|"
    r"s'il (?:te|vous) plaît|merci|谢谢|吧|呢)$"
)
_EDGES = ' \t\r\n.!?,;:…~-"“”„«»()¡¿。？！，、～☺\ufe0f\u200d'


class Decision(NamedTuple):
    """`score` is the evidence for `class_`. `keep_local`: the text must not leave this machine."""

    class_: Class
    score: float
    reasons: list[str]
    keep_local: bool

    def __str__(self) -> str:
        """In a few words, such as `simple: small talk (score 20)`."""
        mark = f" → {self.class_}"
        found = [reason.partition(mark)[0] for reason in self.reasons if mark in reason]
        said = ", ".join(found[:_NAMED_REASONS]) or "nothing else fits"
        return f"{self.class_}: {said[:_REASON_CHARACTERS]} (score {self.score:g})"


class _Compiled(NamedTuple):
    class_: str
    weight: float
    reason: str
    found: Callable[[str], re.Match[str] | None]


class Rules(Struct, frozen=True):
    """The built-in rules and a user's, compiled."""

    words: dict[str, tuple[str, float]]
    simple: tuple[_Compiled, ...]
    chinese_simple: tuple[_Compiled, ...]
    chinese: tuple[_Compiled, ...]
    shapes: tuple[_Compiled, ...]
    own: tuple[_Compiled, ...]
    local: tuple[_Compiled, ...]
    bold: bool = False


def compiled(own: Iterable[Rule] = (), *, bold: bool = False) -> Rules:
    """The built-in rules and `own`. With `bold`, a few words of which nothing is known are simple.

    Raises `ConfigError` for a wrong or a too slow pattern.
    """
    mine = [_own(number, rule) for number, rule in enumerate(own)]
    words: dict[str, tuple[str, float]] = {}
    for entry in builtin.WORDS:
        for word in entry.words.split():
            if entry.weight > words.get(word, ("", 0.0))[1]:
                words[word] = (entry.class_, entry.weight)
    return Rules(
        words=words,
        simple=_patterns(facts.SIMPLE_PATTERNS, whole=True),
        chinese_simple=_patterns(rules_chinese.SIMPLE_PATTERNS, whole=True),
        chinese=_patterns(rules_chinese.PATTERNS),
        shapes=_patterns(builtin.SHAPES),
        own=tuple(rule for rule in mine if rule.class_ != "local"),
        local=tuple(rule for rule in mine if rule.class_ == "local"),
        bold=bold,
    )


def keeps_local(own: Iterable[Rule]) -> Callable[[str], bool] | None:
    """Whether a `local` rule matches anywhere in a text, however long it is; None without one.

    Letters count in the form in which they are written, and in their plain form: an ä may come as
    an a with two dots behind it, a # as the wide one of Chinese and Japanese keyboards.
    """
    local = [_own(number, rule).found for number, rule in enumerate(own) if rule.class_ == "local"]
    if not local:
        return None

    def keeps(text: str) -> bool:
        forms = (text,) if text.isascii() else (text, unicodedata.normalize("NFKC", text))
        return any(found(form) for form in forms for found in local)

    return keeps


def classify(text: str, rules: Rules) -> Decision:
    """The class of a user's message with the reasons for it, in well under 0.1 ms."""
    seen = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    plain = seen.strip().lower().replace("’", "'")
    evidence = [
        (*entry, f'word "{word}"')
        for word in dict.fromkeys(_WORD.findall(plain))
        if (entry := rules.words.get(word)) is not None
    ]
    patterns = rules.shapes + rules.own
    if not plain.isascii():
        patterns += rules.chinese
    evidence.extend((r.class_, r.weight, r.reason) for r in patterns if r.found(plain))
    evidence.extend(_simple(plain, rules) if _short(plain) else [(builtin.COMPLEX, 4, "long")])
    if rules.bold and not evidence and _few_words(plain):
        evidence.append((builtin.SIMPLE, _FEW_WORDS, "a few words that nothing speaks against"))
    return _decided(evidence, local=[r.reason for r in rules.local if r.found(text)])


def _decided(evidence: list[tuple[str, float, str]], *, local: list[str]) -> Decision:
    totals = {"simple": 0.0, "complex": 0.0, "tool": 0.0}
    for kind, weight, _ in evidence:
        totals[kind] += weight
    reasons = [f"{reason} → {kind} {weight:g}" for kind, weight, reason in evidence]
    if local:
        reasons.extend(f"{reason} → stays on this machine" for reason in local)
    class_: Class = "complex"
    if totals["simple"] > totals["complex"] + totals["tool"]:
        class_ = "simple"
    elif totals["tool"] > totals["complex"]:
        class_ = "tool"
    elif totals["complex"] == 0:
        reasons.append("nothing says that it is simple → complex")
    return Decision(class_, round(totals[class_], 2), reasons, bool(local))


def _short(plain: str) -> bool:
    if len(plain) > _SIMPLE_CHARACTERS or plain.count(" ") >= _SIMPLE_WORDS:
        return False
    return plain.isascii() or len(_HAN.findall(plain)) <= _SIMPLE_HAN


def _few_words(plain: str) -> bool:
    """Up to five words; a word of Chinese or Japanese has two signs."""
    han = len(_HAN.findall(plain))
    return len(_HAN.sub(" ", plain).split()) + han / 2 <= _BOLD_WORDS


def _simple(plain: str, rules: Rules) -> list[tuple[str, float, str]]:
    """Evidence for `simple`: small talk, or the first pattern that is the whole message."""
    if is_small_talk(plain):
        return [(builtin.SIMPLE, _SMALL_TALK, "small talk")]
    bare = without_faces(plain).strip(_EDGES)
    core = _FAREWELL.sub("", _COURTESY.sub("", bare, count=1)).strip(_EDGES)
    candidates = (bare, core) if core and core != bare else (bare,)
    patterns = rules.simple if not _HAN.search(bare) else rules.chinese_simple
    for candidate in candidates:
        for rule in patterns:
            if rule.found(candidate):
                return [(rule.class_, rule.weight, rule.reason)]
    return []


def _patterns(entries: Iterable[builtin.Pattern], *, whole: bool = False) -> tuple[_Compiled, ...]:
    return tuple(
        _Compiled(e.class_, e.weight, e.reason, pattern.fullmatch if whole else pattern.search)
        for e in entries
        for pattern in (re.compile(e.pattern),)
    )


def _own(number: int, rule: Rule) -> _Compiled:
    place = f"router.rules[{number}].pattern {rule.pattern!r}"
    try:
        pattern = re.compile(rule.pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"{place} is not a regular expression: {error}.") from None
    local = rule.class_ == "local"
    if attempts(rule.pattern, math.inf if local else _HEAD + _TAIL) > (
        _LOCAL_ATTEMPTS if local else _ATTEMPTS
    ):
        raise ConfigError(
            f"{place} could take seconds on some messages. Do not repeat a group that has a "
            "repeat or a | in it, and write a bound such as {0,40} instead of * or +."
        )
    return _Compiled(rule.class_, rule.weight, f"rule {rule.pattern!r}", pattern.search)
