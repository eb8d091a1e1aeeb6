"""A server that speaks OpenAI's Chat Completions API as strictly as the vendor does."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from famulus.testing.fake_vendor import Answer, FakeVendor, Wrong, event, known, need

_FIELDS = (
    "model messages stream stream_options tools tool_choice parallel_tool_calls temperature top_p "
    "max_tokens max_completion_tokens n stop seed user response_format reasoning_effort metadata "
    "prompt_cache_key prompt_cache_retention service_tier store presence_penalty "
    "frequency_penalty verbosity"
)
_OPENROUTER_FIELDS = " usage provider models transforms plugins reasoning"


class FakeOpenAI(FakeVendor):
    """`say` and `fail` script it, `journal` tells what it received. `url` is its base URL.

    `openrouter` makes it take and give what OpenRouter has beside OpenAI's format.
    """

    path = "/v1/chat/completions"

    def __init__(self, *, openrouter: bool = False) -> None:
        super().__init__()
        self._openrouter = openrouter

    async def __aenter__(self) -> "FakeOpenAI":
        await super().__aenter__()
        self.url += "/v1"
        return self

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        if headers.get("authorization") != f"Bearer {self.key}":
            message = "Incorrect API key provided."
            raise Wrong(message, status=401, kind="invalid_api_key")
        known(body, _FIELDS + (_OPENROUTER_FIELDS if self._openrouter else ""), "")
        need(isinstance(body.get("model"), str), "you must provide a model parameter", "model")
        need(
            "max_tokens" not in body or "max_completion_tokens" not in body,
            "Setting 'max_tokens' and 'max_completion_tokens' at once is not supported.",
        )
        if (temperature := body.get("temperature")) is not None:
            need(0 <= temperature <= 2, "temperature: must be between 0 and 2", "temperature")
        need(
            "stream_options" not in body or body.get("stream"), "only with stream", "stream_options"
        )
        for number, tool in enumerate(body.get("tools", [])):
            _check_tool(tool, f"tools[{number}]")
        _check_messages(body.get("messages"))

    def refusal(self, status: int, kind: str, message: str, param: str) -> Any:
        if self._openrouter:
            return {"error": {"code": status, "message": message}}
        error = {
            "message": message,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "param": param or None,
            "code": kind or None,
        }
        return {"error": error}

    def error_event(self, kind: str, message: str) -> bytes:
        error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": kind}
        return event({"error": error})

    def whole(self, answer: Answer, body: Any) -> Any:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(answer.text) or None,
            "refusal": None,
        }
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": _stop(answer), "logprobs": None}
        answered = _envelope("chat.completion", body) | {"choices": [choice]}
        return answered | {"usage": self._usage(answer)}

    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        def chunk(delta: Mapping[str, Any], stop: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": stop}
            return event(_envelope("chat.completion.chunk", body) | {"choices": [choice]} | more)

        usage = bool(body.get("stream_options", {}).get("include_usage"))
        more: dict[str, Any] = {"usage": None} if usage else {}
        if self._openrouter:
            yield b": OPENROUTER PROCESSING\n\n"
        yield chunk({"role": "assistant", "content": ""})
        for thought in answer.reasoning:
            yield chunk({"reasoning" if self._openrouter else "reasoning_content": thought})
        for text in answer.text:
            yield chunk({"content": text})
        for index, call in enumerate(answer.calls):
            function = {"name": call.name, "arguments": ""}
            start = {"index": index, "id": call.id, "type": "function", "function": function}
            yield chunk({"tool_calls": [start]})
            half = len(call.arguments) // 2
            for piece in (call.arguments[:half], call.arguments[half:]):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, _stop(answer))
        if usage:
            last = _envelope("chat.completion.chunk", body) | {"choices": []}
            yield event(last | {"usage": self._usage(answer)})
        yield event("[DONE]")

    def _usage(self, answer: Answer) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": len(answer.reasoning)},
        }
        return usage | ({"cost": 0.00125} if self._openrouter else {})


def _check_tool(tool: Any, where: str) -> None:
    known(tool, "type function", where)
    need(tool.get("type") == "function", f"Invalid type for {where}.type", f"{where}.type")
    function = tool["function"]
    known(function, "name description parameters strict", f"{where}.function")
    need(
        re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function.get("name", "")),
        f"Invalid '{where}.function.name': string does not match pattern",
        f"{where}.function.name",
    )
    need(function.get("parameters", {"type": "object"}).get("type") == "object", "not an object")


def _check_messages(messages: Any) -> None:
    need(isinstance(messages, list) and messages, "empty array: 'messages'", "messages")
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = message.get("role")
        if role == "tool":
            known(message, "role tool_call_id content", where)
            need(
                message["tool_call_id"] in waiting,
                "messages with role 'tool' must be a response to a preceding message with "
                "'tool_calls'",
                f"{where}.role",
            )
            need(isinstance(message["content"], str), f"{where}.content: must be a string")
            waiting.remove(message["tool_call_id"])
            continue
        need(
            not waiting,
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'",
            where,
        )
        match role:
            case "system" | "developer":
                known(message, "role content", where)
                need(isinstance(message["content"], str), f"{where}.content: must be a string")
            case "user":
                known(message, "role content name", where)
                _check_content(message["content"], f"{where}.content")
            case "assistant":
                waiting = _check_assistant(message, where)
            case _:
                raise Wrong(f"Invalid value: {role!r}", param=f"{where}.role")
    need(not waiting, "the last 'tool_calls' have no tool messages", "messages")


def _check_content(content: Any, where: str) -> None:
    if isinstance(content, str):
        return
    need(isinstance(content, list) and content, f"{where}: must be a string or an array", where)
    for part in content:
        if part.get("type") == "text":
            known(part, "type text", where)
            continue
        if part.get("type") == "file":
            known(part["file"], "file_id filename file_data", f"{where}.file")
            need(part["file"]["filename"], "Missing required parameter: 'filename'", where)
            match = re.fullmatch(r"data:application/pdf;base64,(.+)", part["file"]["file_data"])
            need(match and b64decode(match[1], validate=True), "Invalid file data.", where)
            continue
        need(part.get("type") == "image_url", f"{where}: unknown type", where)
        known(part["image_url"], "url detail", where)
        match = re.fullmatch(
            r"data:image/(?:png|jpeg|gif|webp);base64,(.+)", part["image_url"]["url"]
        )
        need(match and b64decode(match[1], validate=True), "Invalid base64 image_url.", where)


def _check_assistant(message: Any, where: str) -> set[str]:
    known(message, "role content tool_calls refusal name reasoning_details", where)
    calls = message.get("tool_calls")
    need(
        isinstance(message.get("content"), str) or calls,
        f"Invalid value for '{where}.content': expected a string, got null.",
        where,
    )
    need(calls is None or calls, f"empty array: '{where}.tool_calls'", where)
    ids = set()
    for call in calls or ():
        known(call, "id type function", where)
        known(call["function"], "name arguments", where)
        need(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["function"]["name"]), "bad name", where)
        # OpenAI takes any text here, but servers that speak its format fail on what is not JSON.
        need(isinstance(json.loads(call["function"]["arguments"]), dict), "bad arguments", where)
        need(0 < len(call["id"]) <= 40 and call["id"] not in ids, "bad or repeated id", where)
        ids.add(call["id"])
    return ids


def _envelope(kind: str, body: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": body["model"]}


def _stop(answer: Answer) -> str:
    return answer.stop or ("tool_calls" if answer.calls else "stop")
