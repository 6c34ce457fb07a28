"""The operator's command and webhook, run for real."""

import asyncio
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reconciler.backoff import Backoff
from reconciler.report import webhook_sender
from reconciler.report.webhook import signer

VALUE = {"revision": "main@sha1:1", "result": "success", "message": "all; $(touch x)"}


def script(tmp_path, text):
    file = tmp_path / "told.py"
    file.write_text(text)
    return [sys.executable, str(file)]


async def test_a_command_gets_it_in_its_environment_and_on_its_input(tmp_path):
    await webhook_sender.run(script(tmp_path, f"""
import json, os, sys
found = {{k: v for k, v in os.environ.items() if k.startswith("RECONCILER_")}}
json.dump([found, json.load(sys.stdin)], open({str(tmp_path / 'out')!r}, "w"))
"""), VALUE, 30.0)
    environment, given = json.loads((tmp_path / "out").read_text())
    assert given == VALUE
    assert environment["RECONCILER_RESULT"] == "success"
    assert environment["RECONCILER_MESSAGE"] == VALUE["message"]


@pytest.mark.parametrize(("text", "says"), [
    ("import sys; sys.exit('out of luck')", "exited with status 1: out of luck"),
    ("import time; time.sleep(600)", "timed out after 0.5 s")])
async def test_a_command_that_fails_or_hangs_is_reported(tmp_path, text, says):
    begun = time.monotonic()
    with pytest.raises(webhook_sender.SendFailed, match=says):
        await webhook_sender.run(script(tmp_path, text), VALUE, 0.5 if "sleep" in text else 60.0)
    assert time.monotonic() - begun < 60


async def test_a_missing_command_is_reported():
    with pytest.raises(webhook_sender.SendFailed, match="/nowhere/x"):
        await webhook_sender.run(["/nowhere/x"], VALUE, 1.0)


class Forge(BaseHTTPRequestHandler):
    """Answers with the next of `answers`; notes what came."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def forge():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forge)
    server.came, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/status?token=x"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_webhook_is_json_and_signed(forge):
    await webhook_sender.send(forge.url, VALUE, b"s", 10.0)
    (path, headers, body), = forge.came
    assert path == "/status?token=x"
    assert json.loads(body) == VALUE
    assert signer(headers, body, b"s") == "github"
    await webhook_sender.send(forge.url, VALUE, b"", 10.0)
    assert "x-hub-signature-256" not in forge.came[1][1]


async def test_a_webhook_is_retried_a_limited_number_of_times(forge, monkeypatch):
    monkeypatch.setattr(webhook_sender, "RETRY", Backoff(0.01, 0.01))
    forge.answers += [500, 302]
    await webhook_sender.send(forge.url, VALUE, b"", 10.0)
    assert len(forge.came) == 3
    forge.answers += [403] * 3
    with pytest.raises(webhook_sender.SendFailed, match="HTTP status 403"):
        await webhook_sender.send(forge.url, VALUE, b"", 10.0)
    assert len(forge.came) == 6


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/passwd", "x", "https://",
                                 "http://127.0.0.1:1/"])
async def test_an_unreachable_address_is_reported(url, monkeypatch):
    monkeypatch.setattr(webhook_sender, "RETRY", Backoff(0.01, 0.01))
    with pytest.raises(webhook_sender.SendFailed):
        await asyncio.wait_for(webhook_sender.send(url, VALUE, b"", 5.0), 30)


@pytest.mark.parametrize("url", [
    "http://user:secret@127.0.0.1:1/secret?secret#secret", "http://127.0.0.1:1/a secret",
    "ftp://127.0.0.1:1/secret"])
async def test_an_address_is_reported_without_its_secret(url, monkeypatch):
    monkeypatch.setattr(webhook_sender, "RETRY", Backoff(0.0, 0.0))
    with pytest.raises(webhook_sender.SendFailed) as raised:
        await webhook_sender.send(url, VALUE, b"", 5.0)
    assert "secret" not in str(raised.value)
    assert "://127.0.0.1:1: " in str(raised.value)
