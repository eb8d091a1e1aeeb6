"""Conversations of every shape, also of those that only a crash or another vendor leaves behind."""

from hypothesis import strategies as st

from famulus.core.messages import (
    File,
    Image,
    Message,
    Note,
    Origin,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from famulus.core.protocols import Request, ToolSpec

BLOB = "4c4b6a3be1314ab86138bef4314dde02"
MEDIA = {BLOB: b"\x89PNG\r\n\x1a\n"}
TOOL = ToolSpec(
    "read_file",
    "Read a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)

_IDS = st.sampled_from(["a", "b", "functions.search:0", "ü", "", "x" * 70])
_NAMES = st.sampled_from(["read_file", "web search", "", "n" * 300])
_ARGUMENTS = st.sampled_from(["{}", '{"a": [1, 2.50]}', "", "{", "[]", "null", '{"a": "\ud800"}'])
_WORDS = st.text(st.characters(categories=("L", "Zs", "Cc", "Cs", "So")), max_size=8)


def owner(text: str) -> Text:
    """What the owner says."""
    return Text(text, Origin.OWNER)


def said(text: str) -> Text:
    """What the assistant says."""
    return Text(text, Origin.ASSISTANT)


def conversations() -> st.SearchStrategy[Request]:
    """Requests whose messages came about in any way at all."""
    texts: st.SearchStrategy[Part] = st.builds(Text, _WORDS, st.sampled_from(Origin))
    images: st.SearchStrategy[Part] = st.builds(
        Image,
        st.sampled_from([BLOB, "gone"]),
        st.sampled_from(["image/png", "image/jpg", "image/tiff", ""]),
        st.just(Origin.OWNER),
        _WORDS,
    )
    others: st.SearchStrategy[Part] = st.one_of(
        st.builds(Note, _WORDS),
        st.builds(
            File,
            st.sampled_from([BLOB, "gone"]),
            st.sampled_from(["application/pdf", "text/plain", ""]),
            st.just(Origin.OWNER),
            _WORDS,
            _WORDS,
        ),
    )
    calls: st.SearchStrategy[Part] = st.builds(ToolCall, _IDS, _NAMES, _ARGUMENTS)
    thoughts: st.SearchStrategy[Part] = st.one_of(
        st.builds(Reasoning, _WORDS, st.sampled_from(["anthropic", "openai"])),
        st.just(Reasoning("", "anthropic", '{"type":"redacted_thinking","data":"xyz"}')),
    )
    shown = st.lists(st.one_of(texts, images), max_size=3).map(tuple)
    results: st.SearchStrategy[Part] = st.builds(ToolResult, _IDS, _NAMES, shown, st.booleans())
    messages = st.one_of(
        _messages("user", texts, images, others),
        _messages("assistant", texts, images, others, calls, calls, thoughts),
        _messages("tool", results),
    )
    return st.builds(
        lambda system, messages: Request(system=system, messages=tuple(messages), media=MEDIA),
        _WORDS,
        st.lists(messages, max_size=6),
    )


def _messages(role: str, *parts: st.SearchStrategy[Part]) -> st.SearchStrategy[Message]:
    return st.builds(Message, st.just(role), st.lists(st.one_of(*parts), max_size=4).map(tuple))
