"""What is measured. A group of figures is a function here; its name is what `--only` takes."""

import statistics
import time
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

import famulus as famulus_package
import search as searching
import wires as wiring
from famulus.testing.prompt_caches import AnthropicCache, OpenAICache
from model import MOST_BODIES, TIME_QUESTION
from process import (
    FAMULUS,
    HERE,
    PYTHON,
    Server,
    bare,
    bodies,
    famulus,
    home,
    load,
    log_in,
    model,
    run,
    seen,
)
from routing import decisions
from sockets import idle_socket_kib

HELLO = "Hello there, please tell me in a few words how you are doing today."
SMALL_WINDOW = 4096


class Figure(NamedTuple):
    """`goal` is the most that `measured` may be, or the least where `more` is better; None is for
    what is only told.

    `bare` is the same from the bare baseline, or None where nothing bare can be compared.
    """

    name: str
    unit: str
    goal: float | None
    measured: float
    bare: float | None = None
    more: bool = False

    @property
    def ok(self) -> bool | None:
        if self.goal is None:
            return None
        return self.measured >= self.goal if self.more else self.measured <= self.goal


class Scale(NamedTuple):
    """How often things are done."""

    starts: int = 7
    turns: int = 300
    long_chats: int = 7
    sessions: int = 50
    idle_seconds: float = 10.0
    sockets: int = 500
    messages: int = 100_000
    decisions: int = 5
    cached_turns: int = 50
    small_turns: int = 60
    requests: int = 500


QUICK = Scale(
    starts=1,
    turns=20,
    long_chats=1,
    sessions=10,
    idle_seconds=1.0,
    sockets=20,
    messages=2_000,
    decisions=1,
    cached_turns=5,
    small_turns=5,
    requests=20,
)

LATENCIES: dict[str, list[float]] = {}
"""Milliseconds of each turn of the long chats, for the plot."""


def size(scale: Scale) -> list[Figure]:
    """Files of the core and all it depends on, without Python itself and its bytecode."""
    return [Figure("installed size", "MiB", 40, _installed("famulus"), _installed("aiohttp"))]


def version(scale: Scale) -> list[Figure]:
    ours = [run([FAMULUS, "--version"]).cpu_ms for _ in range(scale.starts)]
    python = [run([PYTHON, "-c", "pass"]).cpu_ms for _ in range(scale.starts)]
    return [Figure("`--version`, CPU", "ms", 60, _median(ours), _median(python))]


def ask(scale: Scale) -> list[Figure]:
    with model() as url, home(url) as folder:
        command = [FAMULUS, "--home", str(folder), "ask", "hello"]
        run(command, folder=folder)  # makes the database
        ours = [run(command, folder=folder) for _ in range(scale.starts)]
        least = [run([PYTHON, str(HERE / "bare.py"), "once", url]) for _ in range(scale.starts)]
    return [
        Figure(
            '`ask "hello"`, CPU',
            "ms",
            430,
            _median(each.cpu_ms for each in ours),
            _median(each.cpu_ms for each in least),
        ),
        Figure(
            '`ask "hello"`, peak RSS',
            "MiB",
            50,
            _median(each.peak_mib for each in ours),
            _median(each.peak_mib for each in least),
        ),
    ]


def start(scale: Scale) -> list[Figure]:
    with model() as url:
        ready, bare_ready = [], []
        for _ in range(scale.starts):
            with famulus(url) as ours, bare(url) as least:
                ready.append(ours.cpu_ms())
                bare_ready.append(least.cpu_ms())
    return [Figure("gateway ready, CPU", "ms", 550, _median(ready), _median(bare_ready))]


def idle(scale: Scale) -> list[Figure]:
    """A gateway that has answered a few messages and then waits."""
    with model() as url, famulus(url) as ours, bare(url) as least:
        both = (ours, least)
        fresh = [each.memory_mib() for each in both]
        log_in(ours)
        logged_in = ours.memory_mib()
        for each in both:
            load(each, HELLO, turns=10)
        time.sleep(1)
        before = [each.cpu_ms() for each in both]
        time.sleep(scale.idle_seconds)
        spent = [
            (each.cpu_ms() - cpu) / scale.idle_seconds
            for each, cpu in zip(both, before, strict=True)
        ]
        socket_kib = idle_socket_kib(ours, scale.sockets)
    return [
        Figure("gateway idle, RSS", "MiB", 50, fresh[0][0], fresh[1][0]),
        Figure("gateway idle after a login, RSS", "MiB", 50, logged_in[0]),
        Figure("idle WebSocket, RSS", "KiB", 30, socket_kib),
        Figure("gateway idle, PSS", "MiB", 40, fresh[0][1], fresh[1][1]),
        Figure("gateway idle, CPU per second", "ms", 2, spent[0], spent[1]),
    ]


def hello(scale: Scale) -> list[Figure]:
    with model() as url, famulus(url) as ours:
        time_, cpu = _turns(ours, scale.turns, HELLO)
        first = seen(url)[0]
    with model() as url, bare(url) as least:
        bare_time, bare_cpu = _turns(least, scale.turns, HELLO)
        bare_first = seen(url)[0]
    return [
        Figure("hello turn, median time", "ms", 5, time_, bare_time),
        Figure("hello turn, CPU", "ms", 3.5, cpu, bare_cpu),
        Figure("first hello request", "bytes", 6000, first, bare_first),
    ]


def tool(scale: Scale) -> list[Figure]:
    with model() as url, famulus(url) as ours, bare(url) as least:
        time_, cpu = _turns(ours, scale.turns // 2, TIME_QUESTION)
        bare_time, bare_cpu = _turns(least, scale.turns // 2, TIME_QUESTION)
    return [
        Figure("tool turn, median time", "ms", 10, time_, bare_time),
        Figure("tool turn, CPU", "ms", 8, cpu, bare_cpu),
    ]


def sessions(scale: Scale) -> list[Figure]:
    """Many chats at once against a model that takes 200 ms; 50 of them could make 250 turns/s.

    The better of two runs, as whatever else the machine does makes it worse.
    """
    rates = []
    with model(delay_ms=200) as url, famulus(url) as ours, bare(url) as least:
        for each in (ours, least):
            load(each, HELLO, turns=2)
            many = scale.sessions
            runs = [load(each, HELLO, turns=10, chats=many, at_once=many)[0] for _ in range(2)]
            rates.append(scale.sessions * 10 / min(runs))
    name = f"{scale.sessions} sessions × 10 turns, model takes 200 ms"
    return [Figure(name, "turns/s", 180 * scale.sessions / 50, rates[0], rates[1], more=True)]


def long(scale: Scale) -> list[Figure]:
    """Turns 191 to 200 of a chat against its turns 1 to 10, each the quickest of several chats:
    what else the machine does only ever adds to a turn.
    """
    ratios = []
    turns = min(200, scale.turns)
    for name, server in (("Famulus", famulus), ("bare aiohttp", bare)):
        with model() as url, server(url) as each:
            load(each, HELLO, turns=10)
            _, chats = load(each, HELLO, turns=turns, chats=scale.long_chats)
        quickest = [min(at) for at in zip(*chats, strict=True)]
        LATENCIES[name] = quickest
        ratios.append(_median(quickest[-10:]) / _median(quickest[:10]))
    return [Figure(f"turn {turns} against turn 1", "×", 1.3, ratios[0], ratios[1])]


def search(scale: Scale) -> list[Figure]:
    ours, scan = searching.measure(scale.messages)
    name = f"search in {scale.messages:,} messages"
    return [Figure(name, "ms", 10, ours, scan)]


def route(scale: Scale) -> list[Figure]:
    """The router's decision, and how well it is founded."""
    routed = decisions(scale.decisions)
    return [
        Figure("routing decision, median", "µs", 100, routed.median),
        Figure("routing decision, 99th percentile", "µs", 100, routed.p99),
        Figure("hard messages taken for simple", "%", 1, routed.leaked),
        Figure("simple messages recognised", "%", None, routed.recognised, more=True),
    ]


def cache(scale: Scale) -> list[Figure]:
    """One chat, and what of all its requests the vendors would find in their caches."""
    figures = []
    for name, wire, of_vendor in (
        ("OpenAI", "openai", OpenAICache()),
        ("Anthropic", "anthropic", AnthropicCache()),
    ):
        with model() as url, famulus(url, wire=wire) as ours:
            load(ours, HELLO, turns=scale.cached_turns)
            requests = bodies(url)
        if not scale.cached_turns <= len(requests) < MOST_BODIES:
            raise RuntimeError(f"{name}: {len(requests)} requests were kept")
        for each in requests:
            of_vendor.read(each)
        title = f"cached share of {scale.cached_turns} turns, {name}"
        figures.append(Figure(title, "%", 90, 100 * of_vendor.share, more=True))
    return figures


def window(scale: Scale) -> list[Figure]:
    """A chat that is far longer than the window of its model, with every tool it comes with."""
    small = f'[models."mock/mock"]\ncontext_tokens = {SMALL_WINDOW}\n'
    with model() as url, famulus(url, more=small) as ours:
        load(ours, HELLO * 6, turns=scale.small_turns)
        sizes = seen(url)
    refused = sum(each // 3 > SMALL_WINDOW for each in sizes)
    title = f"{scale.small_turns} turns in a small window"
    return [
        Figure(f"{title}, largest request", "bytes", SMALL_WINDOW * 3, max(sizes)),
        Figure(f"{title}, refused", "requests", 0, refused),
    ]


def wires(scale: Scale) -> list[Figure]:
    """A request with nothing around it, in the format of each vendor."""
    figures = []
    for name in wiring.ADDRESSES:
        with model() as url:
            ours, least = wiring.measure(name, url, scale.requests)
        figures.append(Figure(f"`{name}` request, CPU", "ms", None, ours, least))
    return figures


GROUPS: dict[str, Callable[[Scale], list[Figure]]] = {
    each.__name__: each
    for each in (
        size,
        version,
        ask,
        start,
        idle,
        hello,
        tool,
        sessions,
        long,
        search,
        route,
        cache,
        window,
        wires,
    )
}


def _turns(server: Server, turns: int, text: str) -> tuple[float, float]:
    """The median milliseconds of a turn, and the CPU of one. Chats of ten turns, warm."""
    load(server, text, turns=10, chats=2)
    before = server.cpu_ms()
    _, chats = load(server, text, turns=10, chats=turns // 10)
    latencies = [each for chat in chats for each in chat]
    return _median(latencies), (server.cpu_ms() - before) / len(latencies)


def _installed(name: str) -> float:
    """The MiB of a distribution's files and of those of all it needs."""
    found: dict[str, Distribution] = {}
    wanted = [name]
    while wanted:
        one = distribution(wanted.pop())
        if one.name not in found:
            found[one.name] = one
            needs = map(Requirement, one.requires or ())
            wanted += [need.name for need in needs if _is_core(need)]
    files = {Path(str(one.locate_file(file))) for one in found.values() for file in one.files or ()}
    if name == "famulus":
        files |= set(Path(famulus_package.__file__).parent.rglob("*"))
    kept = [file for file in files if file.is_file() and file.suffix != ".pyc"]
    return sum(file.stat().st_size for file in kept) / 2**20


def _is_core(need: Requirement) -> bool:
    return not need.marker or need.marker.evaluate({"extra": ""})


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)
