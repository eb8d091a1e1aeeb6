"""The real program on a file that is damaged, and on one that goes away under it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

SECONDS = 30


class Program:
    def __init__(self, home):
        self.home = home
        self.process = None

    def spawn(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "famulus", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "FAMULUS_HOME": str(self.home),
                "FAMULUS_AGENT__MODEL": "offline",
                "FAMULUS_SERVER__PORT": "0",
            },
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @contextmanager
    def serving(self, *, kill=False):
        with self.spawn("serve") as process:
            try:
                assert process.stdout.readline().startswith("Famulus is ready")
                self.gateway = json.loads((self.home / "gateway.json").read_text())
                yield
            finally:
                process.kill() if kill else process.terminate()
                process.wait(SECONDS)

    def call(self, path, body=None):
        """Status and answer of a request."""
        request = urllib.request.Request(
            self.gateway["url"] + path,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {self.gateway['token']}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def say(self, text):
        return self.call("/api/chat", {"message": text})

    def until(self, wanted, ask):
        """Ask until the status is `wanted`; the answer to that."""
        end = time.monotonic() + SECONDS
        while True:
            status, answer = ask()
            if status == wanted:
                return answer
            assert time.monotonic() < end, (status, answer)


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


def test_damage_is_found_after_a_kill_and_said_where_people_look(program):
    with program.serving():
        for n in range(30):
            assert program.say(f"a canary {n} {'x' * 3000}")[0] == 200
    with program.serving(kill=True):
        assert program.call("/ready") == (200, {"status": "ready"})
    file = program.home / "famulus.db"
    data = bytearray(file.read_bytes())
    page = data.index(b"a canary 20") // 4096 * 4096
    data[page : page + 200] = bytes(200)
    file.write_bytes(data)
    with program.serving():
        answer = program.until(503, lambda: program.call("/ready"))
        assert answer["status"] == "damaged"
        assert "famulus restore FILE" in answer["problem"]
        with program.spawn("status", "--json") as status:
            told = json.loads(status.communicate(timeout=SECONDS)[0])
        assert "is damaged" in told["gateway"]["state"]
        refused = program.say("do not keep this where it may be lost")
        assert refused[0] == 503
        assert "Your message was not stored: The database" in refused[1]["error"]


def test_a_database_that_is_moved_away_takes_no_message_until_it_is_back(program):
    file, away = program.home / "famulus.db", program.home / "away"
    with program.serving():
        assert program.say("hello")[0] == 200
        file.rename(away)
        refused = program.until(503, lambda: program.say("is anybody there?"))
        assert "famulus.db was moved" in refused["error"]
        away.rename(file)
        program.until(200, lambda: program.say("and now?"))
