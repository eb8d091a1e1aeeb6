"""`famulus login` beside a running `famulus serve`."""

import http.client
import json
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

SECONDS = 30


@pytest.fixture
def environment(tmp_path):
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"FAMULUS_HOME": str(tmp_path), "FAMULUS_SERVER__PORT": "0"}


@pytest.fixture
def gateway(environment, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "famulus", "serve"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            first = process.stdout.readline()
            assert "http://127.0.0.1:" in first, first
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(SECONDS) == 0
    assert not (tmp_path / "gateway.json").exists()


@pytest.mark.usefixtures("gateway")
def test_the_link_logs_a_browser_in_once(environment, tmp_path):
    printed = subprocess.run(
        [sys.executable, "-m", "famulus", "login"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    ).stdout.strip()
    address, _, token = printed.partition("/#login=")
    for expected in (200, 401):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=SECONDS)
        connection.request("POST", "/api/login", json.dumps({"token": token}))
        assert connection.getresponse().status == expected
        connection.close()
