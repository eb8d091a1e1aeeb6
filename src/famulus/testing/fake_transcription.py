"""A server that speaks OpenAI's transcription API as strictly as the vendor does."""

import re
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Any

from famulus.testing.fake_vendor import Answer, FakeVendor, Wrong, known, need

_FIELDS = (
    "file model language prompt response_format temperature timestamp_granularities[] stream "
    "include[] chunking_strategy"
)
_ENDINGS = ["flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"]
_LARGEST_BYTES = 25 * 1024 * 1024


class Upload(dict[str, Any]):
    """The file of a form: `name`, `media_type` and `data`."""


class FakeTranscription(FakeVendor):
    """`say` and `fail` script it, `journal` tells what it received. `url` is its base URL.

    The text of an answer is what it hears. `seconds` is how long each recording is.
    """

    path = "/v1/audio/transcriptions"
    seconds = 4.5

    async def __aenter__(self) -> "FakeTranscription":
        await super().__aenter__()
        self.url += "/v1"
        return self

    def decoded(self, raw: bytes, headers: Mapping[str, str]) -> Any:
        content_type = Message()
        content_type["content-type"] = headers.get("content-type", "")
        boundary = content_type.get_param("boundary")
        if content_type.get_content_type() != "multipart/form-data" or not boundary:
            raise Wrong("the content type must be multipart/form-data", status=415)
        body: dict[str, Any] = {}
        for piece in raw.split(f"--{boundary}".encode())[1:-1]:
            head, _, data = piece[2:-2].partition(b"\r\n\r\n")
            field = Message()
            for line in head.decode().split("\r\n"):
                name, _, value = line.partition(":")
                field[name] = value.strip()
            name = str(field.get_param("name", header="content-disposition"))
            file = field.get_filename()
            if file is None:
                body[name] = data.decode()
            else:
                body[name] = Upload(name=file, media_type=field.get_content_type(), data=data)
        return body

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        if headers.get("authorization") != f"Bearer {self.key}":
            raise Wrong("Incorrect API key provided.", status=401, kind="invalid_api_key")
        known(body, _FIELDS, "")
        need(body.get("model"), "you must provide a model parameter", "model")
        file = body.get("file")
        need(isinstance(file, Upload), "field required", "file")
        ending = file["name"].rpartition(".")[2].lower()
        need(ending in _ENDINGS, f"Invalid file format. Supported formats: {_ENDINGS}", "file")
        need(file["data"], "Audio file is too short.", "file")
        if len(file["data"]) > _LARGEST_BYTES:
            raise Wrong("Maximum content size limit exceeded", status=413)
        whisper = "whisper" in body["model"]
        formats = ("json", "text", "verbose_json") if whisper else ("json", "text")
        format_ = body.get("response_format", "json")
        need(format_ in formats, f"response_format '{format_}' is not compatible", "format")
        language = body.get("language", "en")
        need(re.fullmatch("[a-z]{2,3}", language), "Invalid language", "language")
        need(0 <= float(body.get("temperature", 0)) <= 1, "must be from 0 to 1", "temperature")

    def refusal(self, status: int, kind: str, message: str, param: str) -> Any:
        error = {
            "message": message,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "param": param or None,
            "code": kind or None,
        }
        return {"error": error}

    def whole(self, answer: Answer, body: Any) -> Any:
        said: dict[str, Any] = {"text": "".join(answer.text)}
        if "whisper" in body["model"]:
            said["usage"] = {"type": "duration", "seconds": round(self.seconds)}
        else:
            said["usage"] = {
                "type": "tokens",
                "input_tokens": answer.input_tokens,
                "input_token_details": {"text_tokens": 2, "audio_tokens": answer.input_tokens - 2},
                "output_tokens": answer.output_tokens,
                "total_tokens": answer.input_tokens + answer.output_tokens,
            }
        if body.get("response_format") == "verbose_json":
            said |= {"task": "transcribe", "language": "english", "duration": self.seconds}
            said |= {"segments": [], "words": []}
        return said

    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        raise Wrong("this fake does not stream")

    def error_event(self, kind: str, message: str) -> bytes:
        raise Wrong("this fake does not stream")
