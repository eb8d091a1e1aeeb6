"""A server that speaks Ollama's own API, and refuses what Ollama would pass over in silence."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiohttp import web

from famulus.testing.fake_vendor import Answer, FakeVendor, Wrong, known, need

_FIELDS = "model messages tools format options keep_alive think stream truncate shift logprobs"
_OPTIONS = (
    "num_ctx num_predict temperature top_p top_k min_p seed stop num_keep num_gpu num_batch "
    "num_thread repeat_penalty repeat_last_n presence_penalty frequency_penalty typical_p"
)


class FakeOllama(FakeVendor):
    """`say` and `fail` script it, `journal` tells what it received, `asked` which models were
    looked up with `/api/show`. `capabilities` None is an old server, which does not tell them.
    `ids` says whether calls have ids, as newer servers give them.

    It has the models of `models` only, and counts `letters_of_a_token` for each token of a prompt.
    """

    path = "/api/chat"
    media_type = "application/x-ndjson"
    streams = True

    def __init__(
        self,
        *,
        capabilities: tuple[str, ...] | None = ("completion", "tools", "vision", "thinking"),
        context_tokens: int = 131_072,
        models: tuple[str, ...] = ("llama3.2", "m"),
        ids: bool = True,
        letters_of_a_token: float = 4.0,
    ) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._capabilities = capabilities
        self._context_tokens = context_tokens
        self._models = models
        self._ids = ids
        self._letters_of_a_token = letters_of_a_token

    def beside(self, request: web.Request, raw: bytes) -> web.Response | None:
        if request.path == "/api/tags":
            return web.json_response({"models": [{"name": name} for name in self._models]})
        if request.path != "/api/show":
            return None
        model = json.loads(raw)["model"]
        self.asked.append(model)
        if model not in self._models:
            return web.json_response({"error": f"model '{model}' not found"}, status=404)
        shown: dict[str, Any] = {
            "model_info": {
                "general.architecture": "llama",
                "llama.context_length": self._context_tokens,
                "llama.vision.context_length": 7,
            },
            "details": {"family": "llama"},
        }
        if self._capabilities is not None:
            shown["capabilities"] = list(self._capabilities)
        return web.json_response(shown)

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        # Ollama itself has no key; what stands before it on a network does.
        if headers.get("authorization", f"Bearer {self.key}") != f"Bearer {self.key}":
            raise Wrong("unauthorized", status=401)
        known(body, _FIELDS, "")
        known(body.get("options", {}), _OPTIONS, "options")
        model = body.get("model")
        if model not in self._models:
            raise Wrong(f"model '{model}' not found", status=404)
        need(
            not body.get("tools") or self._can("tools"),
            f"registry.ollama.ai/library/{model} does not support tools",
        )
        need(not body.get("think") or self._can("thinking"), f'"{model}" does not support thinking')
        need(re.fullmatch(r"-?\d+[smh]", body.get("keep_alive", "5m")), "bad keep_alive")
        for number, tool in enumerate(body.get("tools") or ()):
            _check_tool(tool, f"tools[{number}]")
        letters = len(json.dumps([body.get("messages"), body.get("tools")]))
        if body.get("truncate") is False:
            needed = letters / self._letters_of_a_token
            fits = needed <= body.get("options", {}).get("num_ctx", 4096)
            need(fits, "the input length exceeds the context length")
        self._check_messages(body.get("messages"))

    def _can(self, what: str) -> bool:
        return self._capabilities is None or what in self._capabilities

    def _check_messages(self, messages: Any) -> None:
        need(isinstance(messages, list) and messages, "no messages")
        waiting = 0
        for number, message in enumerate(messages):
            where = f"messages[{number}]"
            known(message, "role content images thinking tool_calls tool_name tool_call_id", where)
            role = message["role"]
            need(role in ("system", "user", "assistant", "tool"), f"invalid role: {role}")
            need(isinstance(message.get("content", ""), str), f"{where}.content: not a string")
            need(role == "assistant" or "tool_calls" not in message, f"{where}: calls of {role}")
            if role == "tool":
                need(waiting and message.get("tool_name"), f"{where}: a result without a call")
                waiting -= 1
                continue
            need(not waiting, f"{where}: calls without their results")
            waiting = len(message.get("tool_calls") or ())
            for call in message.get("tool_calls") or ():
                known(call, "id function", where)
                known(call["function"], "index name arguments", where)
                need(call["function"]["name"], f"{where}: a call without a name")
                need(isinstance(call["function"]["arguments"], dict), f"{where}: not an object")
            images = message.get("images") or ()
            need(not images or self._can("vision"), "this model is missing data for image input")
            need(all(b64decode(image, validate=True) for image in images), "illegal base64 data")
        need(not waiting, "the last calls have no results")

    def refusal(self, status: int, kind: str, message: str, param: str) -> Any:
        return {"error": message}

    def error_event(self, kind: str, message: str) -> bytes:
        return _line({"error": message})

    def whole(self, answer: Answer, body: Any) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text)}
        if answer.reasoning:
            message["thinking"] = "".join(answer.reasoning)
        if answer.calls:
            message["tool_calls"] = list(self._calls(answer))
        return _envelope(body) | {"message": message} | _end(answer)

    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        def chunk(**fields: Any) -> bytes:
            message = {"role": "assistant", "content": ""} | fields
            return _line(_envelope(body) | {"message": message, "done": False})

        for thought in answer.reasoning:
            yield chunk(thinking=thought)
        for text in answer.text:
            yield chunk(content=text)
        for call in self._calls(answer):
            yield chunk(tool_calls=[call])
        empty = {"message": {"role": "assistant", "content": ""}}
        yield _line(_envelope(body) | empty | _end(answer))

    def _calls(self, answer: Answer) -> Iterator[dict[str, Any]]:
        for index, call in enumerate(answer.calls):
            arguments = json.loads(call.arguments)
            function = {"index": index, "name": call.name, "arguments": arguments}
            yield ({"id": call.id} if self._ids else {}) | {"function": function}


def _check_tool(tool: Any, where: str) -> None:
    known(tool, "type function", where)
    need(tool.get("type") == "function", f"{where}.type: not a function")
    known(tool["function"], "name description parameters", f"{where}.function")
    need(tool["function"].get("name"), f"{where}.function: no name")
    need(tool["function"]["parameters"].get("type") == "object", f"{where}: not an object")


def _envelope(body: Any) -> dict[str, Any]:
    return {"model": body["model"], "created_at": "2025-01-01T00:00:00.000000Z"}


def _end(answer: Answer) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": answer.stop or "stop",
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": answer.input_tokens,
        "prompt_eval_duration": 1_000_000,
        "eval_count": answer.output_tokens,
        "eval_duration": 3_000_000,
    }


def _line(data: Any) -> bytes:
    return json.dumps(data).encode() + b"\n"
