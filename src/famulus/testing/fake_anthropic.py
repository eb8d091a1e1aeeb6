"""A server that speaks Anthropic's Messages API as strictly as the vendor does."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from famulus.testing.fake_vendor import Answer, FakeVendor, Wrong, event, known, need

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_FIELDS = (
    "model max_tokens messages system tools tool_choice stream stop_sequences metadata thinking "
    "service_tier output_config"
)
_NEWEST = "2026-10-21"  # took the sampling parameters away, among things we do not send
_VERSIONS = ("2023-06-01", _NEWEST)
_SAMPLING = " temperature top_p top_k"
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"


class FakeAnthropic(FakeVendor):
    """`say` and `fail` script it, `journal` tells what it received. `url` is its base URL."""

    path = "/v1/messages"

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        # The vendor documents the first; its own Python SDK sends the second since version 2.
        keys = (headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer "))
        if self.key not in keys:
            raise Wrong("invalid x-api-key", status=401)
        version = headers.get("anthropic-version")
        need(version in _VERSIONS, f"anthropic-version: {version!r} is not a valid version")
        known(body, _FIELDS + ("" if version == _NEWEST else _SAMPLING), "")
        need(isinstance(body.get("model"), str) and body["model"], "model: Field required")
        limit = body.get("max_tokens")
        need(isinstance(limit, int) and limit > 0, "max_tokens: Field required")
        if (temperature := body.get("temperature")) is not None:
            need(0 <= temperature <= 1, "temperature: range: 0..1")
        _check_system(body.get("system"))
        for number, tool in enumerate(body.get("tools", ())):
            _check_tool(tool, f"tools.{number}")
        _check_messages(body.get("messages"))
        marks = json.dumps(body).count('"cache_control"')
        need(marks <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {marks}")

    def refusal(self, status: int, kind: str, message: str, param: str) -> Any:
        kind = kind or _KINDS.get(status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_1",
        }

    def error_event(self, kind: str, message: str) -> bytes:
        return event({"type": "error", "error": {"type": kind, "message": message}}, "error")

    def whole(self, answer: Answer, body: Any) -> Any:
        message = _message(answer, body)
        return message | {"content": _blocks(answer), "stop_reason": _stop(answer)}

    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        message = _message(answer, body)
        message["usage"]["output_tokens"] = 1
        yield event({"type": "message_start", "message": message}, "message_start")
        yield event({"type": "ping"}, "ping")
        for index, block in enumerate(_blocks(answer)):
            for name, fields in _pieces(block, answer):
                yield event({"type": name, "index": index, **fields}, name)
        delta = {"stop_reason": _stop(answer), "stop_sequence": None}
        usage = {"output_tokens": answer.output_tokens}
        yield event({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")
        yield event({"type": "message_stop"}, "message_stop")


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    for number, block in enumerate(system):
        known(block, "type text cache_control", f"system.{number}")
        need(block.get("text", "").strip(), "system: text content blocks must be non-empty")


def _check_tool(tool: Any, where: str) -> None:
    known(tool, "name description input_schema cache_control type strict", where)
    need(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool.get("name", "")), f"{where}.name: bad pattern")
    need(tool.get("input_schema", {}).get("type") == "object", f"{where}.input_schema.type: object")


def _check_messages(messages: Any) -> None:
    need(isinstance(messages, list) and messages, "messages: at least one message is required")
    need(messages[0].get("role") == "user", 'messages: first message must use the "user" role')
    need(messages[-1]["role"] == "user", "The conversation must end with a user message.")
    waiting: list[str] = []
    seen: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        known(message, "role content", where)
        need(message["role"] in ("user", "assistant"), f"{where}.role: unexpected role")
        blocks = message["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        need(blocks, f"{where}: all messages must have non-empty content")
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        need(
            sorted(answered) == sorted(waiting),
            f"{where}: `tool_use` ids and `tool_result` blocks immediately after do not match",
        )
        need(
            all(block["type"] == "tool_result" for block in blocks[: len(answered)]),
            f"{where}: tool_result blocks must come first",
        )
        for index, block in enumerate(blocks):
            _check_block(block, message["role"], f"{where}.content.{index}")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        need(not seen.intersection(waiting), f"{where}: `tool_use` ids must be unique")
        need(len(set(waiting)) == len(waiting), f"{where}: `tool_use` ids must be unique")
        seen.update(waiting)
        need(
            message["role"] == "user" or "thinking" not in blocks[-1]["type"],
            f"{where}: The final block in an assistant message cannot be `thinking`",
        )


def _check_block(block: Any, role: str, where: str) -> None:
    match block.get("type"):
        case "text":
            known(block, "type text cache_control", where)
            need(block["text"].strip(), "messages: text content blocks must be non-empty")
        case "image" if role == "user":
            known(block, "type source cache_control", where)
            known(block["source"], "type media_type data", f"{where}.source")
            need(block["source"]["media_type"] in _IMAGES, f"{where}.source.media_type: unexpected")
            need(b64decode(block["source"]["data"], validate=True), f"{where}.source: empty image")
        case "document" if role == "user":
            known(block, "type source title context citations cache_control", where)
            known(block["source"], "type media_type data", f"{where}.source")
            need(block["source"]["media_type"] == "application/pdf", f"{where}.source: unexpected")
            need(b64decode(block["source"]["data"], validate=True), f"{where}.source: empty PDF")
            need(1 <= len(block.get("title", "x")) <= 500, f"{where}.title: bad length")
        case "tool_use" if role == "assistant":
            known(block, "type id name input cache_control", where)
            need(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]), f"{where}.id: bad pattern")
            need(re.fullmatch(r"[a-zA-Z0-9_-]{1,200}", block["name"]), f"{where}.name: bad pattern")
            need(isinstance(block["input"], dict), f"{where}.input: Input should be an object")
        case "tool_result" if role == "user":
            known(block, "type tool_use_id content is_error cache_control", where)
            need(isinstance(block.get("is_error", False), bool), f"{where}.is_error: a boolean")
            if not isinstance(block.get("content", ""), str):
                for index, inner in enumerate(block["content"]):
                    need(inner["type"] in ("text", "image"), f"{where}.content.{index}: bad type")
                    _check_block(inner, "user", f"{where}.content.{index}")
        case "thinking" if role == "assistant":
            known(block, "type thinking signature", where)
            need(block["signature"] == _SIGNATURE, f"{where}: Invalid `signature` in `thinking`")
        case "redacted_thinking" if role == "assistant":
            known(block, "type data", where)
            need(block["data"], f"{where}.data: Field required")
        case other:
            raise Wrong(f"{where}: Input tag {other!r} is not expected in a message of {role}")


def _message(answer: Answer, body: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.input_tokens - answer.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": answer.cached_tokens,
            "output_tokens": answer.output_tokens,
        },
    }


def _stop(answer: Answer) -> str:
    return answer.stop or ("tool_use" if answer.calls else "end_turn")


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        thought = "".join(answer.reasoning)
        blocks.append({"type": "thinking", "thinking": thought, "signature": _SIGNATURE})
    if answer.text:
        blocks.append({"type": "text", "text": "".join(answer.text)})
    for call in answer.calls:
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            arguments = {}
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks


def _pieces(block: dict[str, Any], answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    """A block as the vendor streams it: an empty start, deltas, a stop."""
    match block["type"]:
        case "thinking":
            start = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": text} for text in answer.reasoning]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "text":
            start = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": text} for text in answer.text]
        case _:
            start = {**block, "input": {}}
            text = next(call.arguments for call in answer.calls if call.id == block["id"])
            half = len(text) // 2
            deltas = [
                {"type": "input_json_delta", "partial_json": piece}
                for piece in ("", text[:half], text[half:])
            ]
    yield "content_block_start", {"content_block": start}
    for delta in deltas:
        yield "content_block_delta", {"delta": delta}
    yield "content_block_stop", {}
