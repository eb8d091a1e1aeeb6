"""Programs as they are: started, asked for their cost, ended. Reads Linux' /proc."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
PYTHON = sys.executable
FAMULUS = str(Path(PYTHON).with_name("famulus"))

PASSWORD = "open sesame"

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_READY_SECONDS = 30


class Server:
    """A running server: `url` and `token` as clients need them."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, token: str = "") -> None:
        self.pid = process.pid
        self.url = url
        self.token = token

    def cpu_ms(self) -> float:
        """CPU of the process and of its children that ended, in steps of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(map(int, fields[11:15])) * _TICK_MS

    def memory_mib(self) -> tuple[float, float]:
        """RSS and PSS."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
        return int(sizes["Rss"].split()[0]) / 1024, int(sizes["Pss"].split()[0]) / 1024


def log_in(server: Server) -> None:
    """As a browser does, with the password."""
    body = json.dumps({"password": PASSWORD}).encode()
    with urlopen(Request(f"{server.url}/api/login", data=body), timeout=_READY_SECONDS) as answer:
        answer.read()


class Cost(NamedTuple):
    cpu_ms: float
    peak_mib: float
    output: str


def run(command: Sequence[str], *, folder: Path = HERE) -> Cost:
    """Run a program to its end. Raises `RuntimeError` with its words when it fails."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=clean_environment(), cwd=folder
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        told = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{told}")
    return Cost((usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss / 1024, told)


@contextlib.contextmanager
def model(delay_ms: int = 0) -> Iterator[str]:
    """The base URL of a model server."""
    with _started([PYTHON, str(HERE / "model.py")]) as process:
        path = f"delay/{delay_ms}/v1" if delay_ms else "v1"
        yield f"http://127.0.0.1:{_line(process).strip()}/{path}"


def seen(base_url: str) -> list[int]:
    """The bytes of each request that a model server got."""
    sizes: list[int] = _told(base_url, "/seen")
    return sizes


def bodies(base_url: str) -> list[bytes]:
    """The first requests that a model server got."""
    return [each.encode() for each in _told(base_url, "/bodies")]


def _told(base_url: str, path: str) -> Any:
    with urlopen(base_url[: base_url.index("/", 7)] + path, timeout=5) as response:
        return json.load(response)


@contextlib.contextmanager
def bare(base_url: str) -> Iterator[Server]:
    with _started([PYTHON, str(HERE / "bare.py"), "serve", base_url]) as process:
        yield Server(process, f"http://127.0.0.1:{_line(process).strip()}")


@contextlib.contextmanager
def home(base_url: str, *, wire: str = "openai", more: str = "") -> Iterator[Path]:
    """A fresh home folder whose model is the one at `base_url`; all else but `more` is as it
    comes.
    """
    with tempfile.TemporaryDirectory(prefix="famulus-bench-") as folder:
        Path(folder, "famulus.toml").write_text(
            f'[server]\nport = 0\npassword = "{PASSWORD}"\n'
            f'[providers.mock]\ntype = "{wire}"\napi_key = "none"\nbase_url = "{base_url}"\n'
            f'[agent]\nmodel = "mock/mock"\n{more}'
        )
        yield Path(folder)


@contextlib.contextmanager
def famulus(base_url: str, *, wire: str = "openai", more: str = "") -> Iterator[Server]:
    """`famulus serve` in a fresh home, ready."""
    with home(base_url, wire=wire, more=more) as folder, Path(folder, "log").open("w") as log:
        command = [FAMULUS, "--home", str(folder), "serve"]
        with _started(command, cwd=folder, stderr=log) as process:
            while "ready" not in (line := _line(process)):
                if not line:
                    raise RuntimeError(f"famulus did not start:\n{Path(folder, 'log').read_text()}")
            gateway = json.loads((folder / "gateway.json").read_text())
            yield Server(process, gateway["url"], gateway["token"])


@contextlib.contextmanager
def _started(command: Sequence[str], **options: object) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(  # type: ignore[call-overload]
        command, stdout=subprocess.PIPE, text=True, env=clean_environment(), **options
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=_READY_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def clean_environment() -> dict[str, str]:
    """Nothing but what a program needs: no keys and no settings of whoever measures."""
    kept = ("PATH", "HOME", "TMPDIR", "PYTHONPATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def load(
    server: Server, text: str, *, turns: int, chats: int = 1, at_once: int = 1
) -> tuple[float, list[list[float]]]:
    """Seconds for all, and the milliseconds of each turn by chat."""
    numbers = map(str, (chats, at_once, turns))
    told = json.loads(
        run([PYTHON, str(HERE / "load.py"), server.url, server.token, *numbers, text]).output
    )
    return told["seconds"], [[each * 1000 for each in chat] for chat in told["latencies"]]
