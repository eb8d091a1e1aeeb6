"""`famulus serve` as a process."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

SECONDS = 20


@pytest.fixture
def serve(tmp_path):
    """Starts it with more in its environment; gives a function that sends a message over HTTP."""
    started = []

    def start(**environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "famulus", "serve"],
            env={
                "PATH": os.environ["PATH"],
                "FAMULUS_HOME": str(tmp_path),
                "FAMULUS_AGENT__MODEL": "offline",
                "FAMULUS_SERVER__PORT": "0",
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        end = threading.Timer(SECONDS, process.kill)
        end.start()
        started.append((process, end))
        assert process.stdout.readline().startswith("Famulus is ready")
        gateway = json.loads((tmp_path / "gateway.json").read_text("utf-8"))

        def send(text):
            request = urllib.request.Request(
                f"{gateway['url']}/api/chat",
                data=json.dumps({"message": text}).encode(),
                headers={"Authorization": f"Bearer {gateway['token']}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                    return answer.status, answer.headers
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers

        return send

    yield start
    for process, end in started:
        end.cancel()
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_the_owner_is_held_to_a_limit_only_where_one_is_set(serve):
    send = serve(
        FAMULUS_LIMITS__OWNER_MESSAGES_PER_MINUTE="2", FAMULUS_LIMITS__MESSAGES_PER_MINUTE="1"
    )
    assert [send("hello")[0] for _ in range(2)] == [200, 200]
    status, headers = send("hello")
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 60


def test_the_limit_for_others_does_not_hold_for_the_owner(serve):
    send = serve(FAMULUS_LIMITS__MESSAGES_PER_MINUTE="1")
    assert [send("hello")[0] for _ in range(3)] == [200, 200, 200]


def test_a_section_of_the_web_chat_takes_nothing_away(serve, tmp_path):
    (tmp_path / "famulus.toml").write_text("[channels.web]\n[channels.console]\n")
    assert serve()("hello")[0] == 200
