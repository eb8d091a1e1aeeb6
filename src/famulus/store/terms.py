"""Text cut into search terms, the same way for every driver's index and query.

Chinese, Japanese and Korean have no spaces between all words, so a run of their characters becomes
overlapping pairs. The last character stands alone too: thus each character begins a term, and a
query of one character is a query by prefix.
"""

import re
import unicodedata

_MOST_CHARACTERS = 50_000
_MOST_QUERY_TERMS = 40
_LONGEST_WORD = 64

# Han, kana and Hangul, without the dots and signs between them.
_PAIRED = (
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9\U00020000-\U000323af"
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\uac00-\ud7a3"
)
_RUNS = re.compile(rf"([{_PAIRED}]+)|[^\W_{_PAIRED}]+")
_ACCENTS = re.compile("[\u0300-\u036f]")


def terms(text: str) -> str:
    """The form that is stored for the index: terms with spaces between them."""
    found: list[str] = []
    for run in _RUNS.finditer(_folded(text)):
        word = run[0]
        if run[1]:
            found += [word[i : i + 2] for i in range(len(word))]
        else:
            found.append(word[:_LONGEST_WORD])
    return " ".join(found)


def query_terms(text: str) -> list[str]:
    """Each term of a query once; one that ends in `*` is the beginning of a term."""
    found: dict[str, None] = {}
    for run in _RUNS.finditer(_folded(text)):
        word = run[0]
        if not run[1]:
            found[word[:_LONGEST_WORD]] = None
        elif len(word) == 1:
            found[word + "*"] = None
        else:
            found |= dict.fromkeys(word[i : i + 2] for i in range(len(word) - 1))
    return list(found)[:_MOST_QUERY_TERMS]


def _folded(text: str) -> str:
    text = text[:_MOST_CHARACTERS]
    if text.isascii():
        return text.lower()
    # Taking accents off here gives both drivers the same idea of them.
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFKC", bare)
