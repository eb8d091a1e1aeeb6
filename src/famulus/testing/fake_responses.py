"""A server that speaks OpenAI's Responses API as strictly as the vendor does."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from famulus.testing.fake_vendor import Answer, FakeVendor, Wrong, event, known, need

_FIELDS = (
    "model input instructions stream stream_options tools tool_choice parallel_tool_calls include "
    "store previous_response_id reasoning max_output_tokens max_tool_calls temperature top_p "
    "top_logprobs text truncation metadata user safety_identifier service_tier prompt_cache_key "
    "prompt_cache_retention background conversation prompt"
)
_ENCRYPTED = "encrypted-by-the-fake"
_INCLUDE = "reasoning.encrypted_content"


class FakeResponses(FakeVendor):
    """`say` and `fail` script it, `journal` tells what it received. `url` is its base URL.

    A `stop` of an answer is the reason why it is incomplete, or `refusal`.
    """

    path = "/v1/responses"

    async def __aenter__(self) -> "FakeResponses":
        await super().__aenter__()
        self.url += "/v1"
        return self

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        if headers.get("authorization") != f"Bearer {self.key}":
            message = "Incorrect API key provided."
            raise Wrong(message, status=401, kind="invalid_api_key")
        known(body, _FIELDS, "")
        need(isinstance(body.get("model"), str), "you must provide a model parameter", "model")
        limit = body.get("max_output_tokens")
        need(limit is None or limit >= 16, "below the minimum of 16", "max_output_tokens")
        thinks = not re.match("gpt-4|chatgpt", body["model"])
        include = body.get("include", [])
        need(set(include) <= {_INCLUDE}, "Invalid value", "include")
        need(
            thinks or not include, "Encrypted content is not supported with this model.", "include"
        )
        need(thinks or "reasoning" not in body, "Unsupported parameter", "reasoning")
        need(isinstance(body.get("instructions", ""), str), "must be a string", "instructions")
        for number, tool in enumerate(body.get("tools", [])):
            _check_tool(tool, f"tools[{number}]")
        if not isinstance(body.get("input"), str):
            _check_input(body.get("input"))

    def refusal(self, status: int, kind: str, message: str, param: str) -> Any:
        error = {
            "message": message,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "param": param or None,
            "code": kind or None,
        }
        return {"error": error}

    def error_event(self, kind: str, message: str) -> bytes:
        data = {"type": "error", "code": kind, "message": message, "param": None}
        return event(data | {"sequence_number": 99}, "error")

    def whole(self, answer: Answer, body: Any) -> Any:
        return _ended(answer, body)

    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        for number, data in enumerate(_events(answer, body)):
            yield event(data | {"sequence_number": number}, data["type"])


def _events(answer: Answer, body: Any) -> Iterator[dict[str, Any]]:
    started = _response(answer, body, "in_progress")
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for index, item in enumerate(_items(answer, body)):
        at: dict[str, Any] = {"output_index": index}
        empty = item | {"status": "in_progress"}
        match item["type"]:
            case "reasoning":
                empty |= {"summary": []}
            case "message":
                empty |= {"content": []}
            case "function_call":
                empty |= {"arguments": ""}
        yield {"type": "response.output_item.added", "item": empty} | at
        for data in _pieces(item, answer):
            yield data | at | {"item_id": item["id"]}
        yield {"type": "response.output_item.done", "item": item} | at
    ended = _ended(answer, body)
    yield {"type": f"response.{ended['status']}", "response": ended}


def _pieces(item: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    """What is streamed of an item between its start and its end."""
    match item["type"]:
        case "reasoning":
            for index, summary in enumerate(item["summary"]):
                at: dict[str, Any] = {"summary_index": index}
                kind, empty = "response.reasoning_summary", {"type": "summary_text", "text": ""}
                yield {"type": f"{kind}_part.added", "part": empty} | at
                yield {"type": f"{kind}_text.delta", "delta": summary["text"]} | at
                yield {"type": f"{kind}_text.done", "text": summary["text"]} | at
                yield {"type": f"{kind}_part.done", "part": summary} | at
        case "message":
            part = item["content"][0]
            at = {"content_index": 0}
            refused = part["type"] == "refusal"
            name = "refusal" if refused else "text"
            kind = "response.refusal" if refused else "response.output_text"
            empty = part | {name: ""}
            more: dict[str, Any] = {} if refused else {"logprobs": []}
            yield {"type": "response.content_part.added", "part": empty} | at
            for text in answer.text:
                yield {"type": f"{kind}.delta", "delta": text} | more | at
            yield {"type": f"{kind}.done", name: part[name]} | more | at
            yield {"type": "response.content_part.done", "part": part} | at
        case "function_call":
            kind, arguments = "response.function_call_arguments", item["arguments"]
            half = len(arguments) // 2
            for piece in (arguments[:half], arguments[half:]):
                yield {"type": f"{kind}.delta", "delta": piece}
            yield {"type": f"{kind}.done", "arguments": arguments, "name": item["name"]}


def _items(answer: Answer, body: Any) -> Iterator[dict[str, Any]]:
    if answer.reasoning:
        thoughts = [{"type": "summary_text", "text": text} for text in answer.reasoning]
        item: dict[str, Any] = {"id": "rs_1", "type": "reasoning", "summary": thoughts}
        if _INCLUDE in body.get("include", ()):
            item["encrypted_content"] = _ENCRYPTED
        yield item
    if answer.text:
        text = "".join(answer.text)
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        if answer.stop == "refusal":
            part = {"type": "refusal", "refusal": text}
        else:
            part["logprobs"] = []
        yield {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    for number, call in enumerate(answer.calls):
        yield {
            "id": f"fc_{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }


def _ended(answer: Answer, body: Any) -> dict[str, Any]:
    cut = answer.stop not in ("", "refusal")
    ended = _response(answer, body, "incomplete" if cut else "completed")
    ended["output"] = list(_items(answer, body))
    ended["incomplete_details"] = {"reason": answer.stop} if cut else None
    ended["usage"] = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 3},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": len(answer.reasoning)},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    return ended


def _response(answer: Answer, body: Any, status: str) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "model": body["model"],
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": None,
    }


# ---------------------------------------------------------------- what is refused


def _check_tool(tool: Any, where: str) -> None:
    known(tool, "type name description parameters strict", where)
    need(tool.get("type") == "function", f"Invalid type for {where}.type", f"{where}.type")
    need(
        re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.get("name", "")),
        f"Invalid '{where}.name': string does not match pattern",
        f"{where}.name",
    )
    need(tool.get("parameters", {}).get("type") == "object", "not an object", where)
    need(isinstance(tool.get("strict"), bool), f"Missing required parameter: {where}.strict", where)
    if tool["strict"]:
        _check_strict(tool["parameters"], f"{where}.parameters")


def _check_strict(schema: Any, where: str) -> None:
    message = f"Invalid schema for function: In context={where}"
    need("default" not in schema, f"{message}, 'default' is not permitted", where)
    if schema.get("type") == "object":
        need(schema.get("additionalProperties") is False, f"{message}, 'additionalProperties'")
        properties = schema.get("properties", {})
        need(sorted(schema.get("required", [])) == sorted(properties), f"{message}, 'required'")
        for name, inner in properties.items():
            _check_strict(inner, f"{where}.{name}")
    for inner in schema.get("anyOf", []):
        _check_strict(inner, where)
    if "items" in schema:
        _check_strict(schema["items"], where)


def _check_input(items: Any) -> None:
    need(isinstance(items, list) and items, "empty array: 'input'", "input")
    waiting: set[str] = set()
    used: set[str] = set()
    thought = ""
    for number, item in enumerate(items):
        where = f"input[{number}]"
        kind = item.get("type", "message")
        need(
            kind in ("message", "function_call", "reasoning") or not thought,
            f"Item '{thought}' of type 'reasoning' was provided without its required following "
            "item.",
            "input",
        )
        match kind:
            case "message":
                _check_message(item, where)
                need(not thought or item["role"] == "assistant", "a thought without its item")
            case "function_call":
                known(item, "type id call_id name arguments status", where)
                need(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", item["name"]), "bad name", where)
                need(0 < len(item["call_id"]) <= 64, "bad call_id", f"{where}.call_id")
                need(item["call_id"] not in used, "a repeated call_id", f"{where}.call_id")
                need(isinstance(json.loads(item["arguments"]), dict), "bad arguments", where)
                waiting.add(item["call_id"])
                used.add(item["call_id"])
            case "function_call_output":
                known(item, "type id call_id output status", where)
                message = f"No tool call found for function call output with call_id {item!r}"
                need(item["call_id"] in waiting, message, "input")
                waiting.remove(item["call_id"])
                _check_content(item["output"], f"{where}.output")
            case "reasoning":
                known(item, "type id summary content encrypted_content status", where)
                need(item.get("encrypted_content") == _ENCRYPTED, "invalid_encrypted_content")
            case other:
                raise Wrong(f"Invalid value: '{other}'", param=f"{where}.type")
        thought = item["id"] if kind == "reasoning" else ""
    need(not thought, f"Item '{thought}' was provided without its required following item.")
    need(not waiting, f"No tool output found for function call {waiting}.", "input")


def _check_message(item: Any, where: str) -> None:
    known(item, "type id role content status phase", where)
    need(item.get("role") in ("user", "assistant", "system", "developer"), "bad role", where)
    if item["role"] == "assistant" and not isinstance(item["content"], str):
        for part in item["content"]:
            need(part["type"] in ("output_text", "refusal"), f"{where}: bad content type", where)
        return
    _check_content(item["content"], f"{where}.content")


def _check_content(content: Any, where: str) -> None:
    if isinstance(content, str):
        return
    need(isinstance(content, list) and content, f"{where}: must be a string or an array", where)
    for part in content:
        if part.get("type") == "input_text":
            known(part, "type text", where)
            continue
        if part.get("type") == "input_file":
            known(part, "type filename file_data file_id file_url", where)
            need(part["filename"], "Missing required parameter: 'filename'", where)
            match = re.fullmatch(r"data:application/pdf;base64,(.+)", part["file_data"])
            need(match and b64decode(match[1], validate=True), "Invalid file data.", where)
            continue
        need(part.get("type") == "input_image", f"{where}: unknown type", where)
        known(part, "type image_url file_id detail", where)
        match = re.fullmatch(r"data:image/(?:png|jpeg|gif|webp);base64,(.+)", part["image_url"])
        need(match and b64decode(match[1], validate=True), "Invalid image data.", where)
