"""How well the rules sort messages whose class is known."""

import statistics
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from famulus.models.classify import Class, Rules, classify

CLASSES: tuple[Class, ...] = ("simple", "complex", "tool")


class Labelled(msgspec.Struct, frozen=True, rename={"class_": "class"}):
    """A message and the class that a person gave it. `lang` only groups the figures."""

    text: str
    class_: Class
    lang: str = "all"


class Measured(msgspec.Struct, frozen=True):
    """`counts` holds, for a language, a label and a decision, how many messages had them.
    `microseconds` is the median time of a decision.
    """

    counts: Counter[tuple[str, str, str]]
    microseconds: float

    def languages(self) -> list[str]:
        """The languages, the one with the most messages first."""
        sizes: Counter[str] = Counter()
        for (language, _, _), number in self.counts.items():
            sizes[language] += number
        return [language for language, _ in sizes.most_common()]

    def count(self, label: str, decision: str, language: str = "") -> int:
        """Messages of `label` that were decided as `decision`, in one language or in all."""
        return sum(
            number
            for (spoken, *pair), number in self.counts.items()
            if pair == [label, decision] and language in ("", spoken)
        )

    def leaked(self, language: str = "") -> tuple[int, int]:
        """How many messages were wrongly taken for simple, and out of how many."""
        hard = [label for label in CLASSES if label != "simple"]
        return (
            sum(self.count(label, "simple", language) for label in hard),
            sum(self.count(label, each, language) for label in hard for each in CLASSES),
        )

    def recognised(self, language: str = "") -> tuple[int, int]:
        """How many simple messages were taken for simple, and out of how many."""
        return (
            self.count("simple", "simple", language),
            sum(self.count("simple", each, language) for each in CLASSES),
        )

    def right(self) -> tuple[int, int]:
        """How many messages were decided as they are labelled, and out of how many."""
        return sum(self.count(each, each) for each in CLASSES), self.counts.total()


def measure(messages: Sequence[Labelled], rules: Rules) -> Measured:
    """Classify each message once."""
    counts: Counter[tuple[str, str, str]] = Counter()
    times: list[float] = []
    for message in messages:
        start = time.perf_counter()
        decision = classify(message.text, rules)
        times.append(time.perf_counter() - start)
        counts[message.lang, message.class_, decision.class_] += 1
    return Measured(counts, statistics.median(times) * 1e6 if times else 0.0)


def table(measured: Measured) -> str:
    """The figures as lines of a Markdown table; three numbers are simple, complex and tool."""
    lines = [
        "| language | simple decided as | complex decided as | tool decided as "
        "| wrongly simple | simple recognised |",
        "|---|---|---|---|---|---|",
    ]
    for language in [*measured.languages(), ""]:
        cells = [
            " · ".join(str(measured.count(label, each, language)) for each in CLASSES)
            for label in CLASSES
        ]
        cells += [share(*measured.leaked(language)), share(*measured.recognised(language))]
        lines.append(f"| {language or 'together'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")
