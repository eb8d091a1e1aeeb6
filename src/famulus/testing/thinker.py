"""A model for tests that kill the program: what it is asked twice, or out of order, it notices."""

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Call, Fault

MESSAGE = re.compile(r"\b[a-z]+-\d+\b")
"""The messages that the model understands: the chat and a number that grows, as in `a-17`."""

UNKNOWN = "outcome is unknown"


class Thinker(FakeOpenAI):
    """A model that answers by what it is shown: two rounds of two calls each, then a summary.

    In each round one call has an effect that can be counted in the workspace: `effects/<call id>`
    gets a line each time it is made. A turn is known by the first message in it, a model call by
    its turn and its round.

    `answered` are the calls it answered to the end and `repeats` counts those made again all the
    same; a call in `recorded` or `asked_in_this_life`, which the test keeps, must not be. `called`
    are the calls with an effect and `told` is what it heard of all calls. What is wrong stands in
    `complaints`; what a client was refused and sends later need not be
    `in_order`. `on_request` is called with the turn and the round before it answers.
    """

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.answered: set[tuple[str, int]] = set()
        self.recorded: set[tuple[str, int]] = set()
        self.asked_in_this_life: set[tuple[str, int]] = set()
        self.told: dict[str, str] = {}
        self.called: set[str] = set()
        self.requests = self.repeats = 0
        self.on_request: Callable[[str, int], None] = lambda turn, round_: None
        self.complaints: list[str] = []
        self.in_order = True
        self.fail(*(Fault(first_byte_seconds=chance.uniform(0, 0.02)) for _ in range(20_000)))

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        super().check(headers, body)
        if "tools" not in body:  # it is to condense what falls out of a window
            self.say(Answer(text=("They asked, and it was done.",)))
            return
        self.requests += 1
        messages = body["messages"]
        self._check_order(messages)
        turn, round_, said = _current(messages)
        if (turn, round_) in self.recorded | self.asked_in_this_life:
            self.complaints.append(f"model call {round_} of {turn} was made again")
        self.repeats += (turn, round_) in self.answered
        self.asked_in_this_life.add((turn, round_))
        self.on_request(turn, round_)
        self._listen(messages)
        tools = {tool["function"]["name"] for tool in body["tools"]}
        self.say(self._think(turn, round_, said, tools))

    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        yield from super().events(answer, body)
        if "tools" not in body:
            return
        turn, round_, _ = _current(body["messages"])
        self.answered.add((turn, round_))

    def _check_order(self, messages: list[Any]) -> None:
        shown = [found for each in messages if each["role"] == "user" for found in _named(each)]
        numbers = [int(each.rpartition("-")[2]) for each in shown]
        if len({each.partition("-")[0] for each in shown}) != 1:
            self.complaints.append(f"messages of several chats in one prompt: {shown}")
        if numbers != (sorted(set(numbers)) if self.in_order else list(dict.fromkeys(numbers))):
            self.complaints.append(f"messages out of order: {shown}")

    def _listen(self, messages: list[Any]) -> None:
        for each in messages:
            if each["role"] == "tool":
                call, result = each["tool_call_id"], each["content"]
                if self.told.setdefault(call, result) != result:
                    self.complaints.append(f"{call}: {self.told[call]!r}, then {result!r}")

    def _think(self, turn: str, round_: int, said: list[str], tools: set[str]) -> Answer:
        effect, look = f"{turn}_{round_}", f"{turn}_{round_}_look"
        path = f"effects/{effect}"
        match round_:
            case 0:
                act = ("write_file", {"path": path, "content": "done\n", "append": True})
                other = ("calculator", {"expression": "6*7"})
            case 1 if "shell" in tools:
                act = ("shell", {"command": f"mkdir -p effects; echo done >> {path}"})
                other = ("read_file", {"path": "TOOLS.md"})
            case 1:
                act = ("write_file", {"path": path, "content": "done\n", "append": True})
                other = ("read_file", {"path": "TOOLS.md"})
            case _:
                told = [self.told[f"{turn}_{each}"] for each in range(round_)]
                outcomes = ["unknown" if UNKNOWN in each else "done" for each in told]
                return Answer(text=("Answer to ", f"{', '.join(said)}: ", ", ".join(outcomes)))
        self.called.add(effect)
        return Answer(
            calls=(
                Call(act[0], json.dumps(act[1]), effect),
                Call(other[0], json.dumps(other[1]), look),
            )
        )


def _current(messages: list[Any]) -> tuple[str, int, list[str]]:
    """The turn a request belongs to, its round, and the messages it answers."""
    ends = [n for n, m in enumerate(messages) if m["role"] == "assistant" and "tool_calls" not in m]
    current = messages[ends[-1] + 1 if ends else 0 :]
    said = [found for each in current if each["role"] == "user" for found in _named(each)]
    return said[0], sum(each["role"] == "assistant" for each in current), said


def _named(message: Any) -> list[str]:
    return MESSAGE.findall(message["content"])
