"""The program as processes in a home of its own, with a model that does what a test tells it."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys

import pytest

from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Fault

SECONDS = 30


class Home:
    """`model` is the vendor. `start` runs `famulus ARGUMENTS`, `famulus` waits for its end too."""

    def __init__(self, path, model):
        self.path = path
        self.model = model
        self._processes = []

    def configure(self, **sections):
        tables = {
            "server": {"port": 0},
            "providers.fake": {
                "type": "openai", "base_url": self.model.url, "api_key": self.model.key,
            },
            "agent": {"model": "fake/thinker"},
            "logging": {"level": "info"},
        }  # fmt: skip
        for name, values in sections.items():
            tables.setdefault(name, {}).update(values)
        (self.path / "famulus.toml").write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
                for name, values in tables.items()
            )
        )

    def hang(self):
        """The next answer begins, and then stops in the middle."""
        self.model.say(Answer(text=("I am ", "thinking ", "about it.")))
        self.model.fail(Fault(after_events=3, hang=True))

    async def start(self, *arguments, env=None, **options):
        pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "famulus", *arguments),
            **{"stdin": asyncio.subprocess.DEVNULL, **pipes, **options},
            cwd=self.path,
            start_new_session=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.path),
                "FAMULUS_HOME": str(self.path),
                "PYTHONUNBUFFERED": "1",
                **(env or {}),
            },
        )
        self._processes.append(process)
        return process

    async def famulus(self, *arguments, text=None, **options):
        """Exit code, standard output and standard error of a run."""
        if text is not None:
            options["stdin"] = asyncio.subprocess.PIPE
        process = await self.start(*arguments, **options)
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate(text.encode() if isinstance(text, str) else text)
        return process.returncode, (out or b"").decode(), (err or b"").decode()

    async def serve(self):
        """A gateway that is ready."""
        process = await self.start("serve", stderr=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(SECONDS):
            while not (line := await process.stdout.readline()).startswith(b"Famulus is ready"):
                assert line, "it did not start"
        return process

    async def asked(self, count=1):
        """Wait until the model was asked so often in all; the last request."""
        async with asyncio.timeout(SECONDS):
            # A request is in the journal before its body is read.
            while len(self.model.journal) < count or self.model.journal[-1].body is None:
                await asyncio.sleep(0.01)
        return self.model.journal[-1]

    async def end(self):
        for process in self._processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


@pytest.fixture(autouse=True)
def logs_as_before():
    """A command that runs in here sets up the logs of the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
async def house(tmp_path):
    async with FakeOpenAI() as model:
        home = Home(tmp_path, model)
        home.configure()
        try:
            yield home
        finally:
            await home.end()
