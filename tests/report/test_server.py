"""HTTP over the command socket, on a real reconciler in this process."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
from contextlib import asynccontextmanager

import pytest

from reconciler.errors import HostError, UsageError
from reconciler.report import server as server_module
from reconciler.report.authorization import Authorization
from reconciler.report.requests import Request
from reconciler.report.server import LONGEST_BODY, Server
from reconciler.report.webhook import signature
from tests.engine.making import Place, running, settled, until

LIMIT = 5.0


async def raw(path, data: bytes, *, end: bool = False) -> bytes:
    """Everything that comes back; nothing when it was hung up on."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(LIMIT):
            writer.write(data)
            if end:
                writer.write_eof()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def ask(path, method: str, target: str, body: bytes = b"") -> tuple[int, object]:
    head = f"{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    answer = await raw(path, head.encode() + body)
    status, _, rest = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(rest)


def hung_up(client: socket.socket) -> None:
    """Wait, without reading anything, until the server closes the connection."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    assert poll.poll(LIMIT * 1000), "the connection is still open"


class Handler:
    """Records the calls, and answers with their query; `do` chooses another outcome."""

    def __init__(self):
        self.asked = []
        self.faults = []
        self.entered = asyncio.Event()

    async def handle(self, call):
        self.asked.append((call.request, dict(call.arguments), dict(call.query)))
        self.entered.set()
        match call.query.get("do"):
            case "conflict":
                raise UsageError("no", hint="do that")
            case "missing":
                raise UsageError("none", reason="NotFound")
            case "host":
                raise HostError("broken")
            case "fault":
                raise ZeroDivisionError("ours")
            case "slow":
                await asyncio.sleep(3600)
            case "large":
                return "x" * (16 << 20)
        return {"query": dict(call.query)}


@asynccontextmanager
async def serving(tmp_path):
    handler = Handler()
    server = Server(tmp_path / "api.sock", handler, handler.faults.append)
    await server.start()
    try:
        yield tmp_path / "api.sock", handler, server
    finally:
        await server.stop()


async def test_a_request_becomes_a_call_and_its_value_json(tmp_path):
    async with serving(tmp_path) as (path, handler, _):
        assert await ask(path, "POST", "/api/v1//domains/a%2Bb/hold/?a=1&b=%20c&a=2") == (
            200, {"query": {"a": "2", "b": " c"}})
        assert handler.asked == [(Request.HOLD, {"name": "a+b"}, {"a": "2", "b": " c"})]


@pytest.mark.parametrize(("method", "target", "code", "allow"), [
    ("GET", "/", 404, None), ("GET", "/api/v1/statuses", 404, None),
    ("POST", "/api/v1/domains/a/b/hold", 404, None),
    ("DELETE", "/api/v1/status", 405, "GET"), ("PUT", "/api/v1/domains/a/hold", 405, "POST"),
    ("GET", "/hooks/git", 405, "POST")])
async def test_a_request_that_does_not_exist_is_404_and_another_method_405(
        tmp_path, method, target, code, allow):
    async with serving(tmp_path) as (path, handler, _):
        head, _, body = (await raw(
            path, f"{method} {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())).partition(
                b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert int(lines[0].split()[1]) == code
        assert [line for line in lines if line.startswith("allow:")] == (
            [f"allow: {allow}"] if allow else [])
        assert json.loads(body)["reason"] == ("MethodNotAllowed" if allow else "NotFound")
        assert handler.asked == []


async def test_an_internal_error_is_answered_and_reported(tmp_path):
    async with serving(tmp_path) as (path, handler, _):
        status, value = await ask(path, "GET", "/api/v1/plan?do=fault")
        assert (status, value["reason"]) == (500, "InternalError")
        assert [type(fault) for fault in handler.faults] == [ZeroDivisionError]


async def test_errors_become_statuses_with_reason_and_hint(tmp_path):
    async with serving(tmp_path) as (path, _, _):
        assert await ask(path, "GET", "/api/v1/plan?do=conflict") == (
            409, {"error": "no", "reason": "Usage", "hint": "do that"})
        assert (await ask(path, "GET", "/api/v1/plan?do=missing"))[0] == 404
        assert (await ask(path, "GET", "/api/v1/plan?do=host"))[0] == 503


@pytest.mark.parametrize("junk", [
    b"hello\r\n\r\n", b"\x00\xff" * 100, b"GET\r\n\r\n", b"GET / SPDY/1\r\n\r\n", b"",
    b"GET / HTTP/1.1\r\n\r\n",  # without a host
    b"GET //[ HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
    b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000])
async def test_junk_is_disconnected_and_other_clients_are_served(tmp_path, junk):
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: failures.append(what))
    async with serving(tmp_path) as (path, handler, _):
        assert await raw(path, junk, end=True) == b""
        assert handler.asked == []
        assert (await ask(path, "GET", "/livez"))[0] == 200
    assert failures == []


async def test_a_body_is_read_and_ignored_up_to_a_limit(tmp_path):
    async with serving(tmp_path) as (path, handler, _):
        assert (await ask(path, "POST", "/api/v1/sync", b"x" * LONGEST_BODY))[0] == 200
        big = LONGEST_BODY + 1
        head = f"POST /api/v1/hold HTTP/1.1\r\nhost: x\r\ncontent-length: {big}\r\n\r\n".encode()
        assert await raw(path, head + b"x" * big) == b""
        assert [request for request, _, _ in handler.asked] == [Request.SYNC]


async def test_a_slow_answer_delays_no_other_client_and_ends_with_the_server(tmp_path):
    async with serving(tmp_path) as (path, handler, server):
        slow = asyncio.create_task(
            raw(path, b"GET /api/v1/plan?do=slow HTTP/1.1\r\nhost: x\r\n\r\n"))
        await handler.entered.wait()
        assert (await ask(path, "GET", "/livez"))[0] == 200
        await server.stop()
        assert await slow == b""
        assert not path.exists()


async def test_the_socket_is_private_and_replaces_that_of_a_killed_reconciler(tmp_path):
    (tmp_path / "api.sock").touch()
    before = os.umask(0)
    os.umask(before)
    async with serving(tmp_path) as (path, _, _):
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await ask(path, "GET", "/livez"))[0] == 200
        now = os.umask(before)
        assert now == before


# The requests of a real one

@asynccontextmanager
async def real(tmp_path):
    place = Place(tmp_path)
    place.drop("web1")
    async with running(place) as daemon:
        await until(daemon, settled(daemon, 1))
        yield daemon.environment.settings.api_socket


async def test_what_a_reconciler_answers(tmp_path):
    async with real(tmp_path) as path:
        assert await ask(path, "GET", "/livez") == (200, {"live": True})
        assert await ask(path, "GET", "/readyz") == (200, {"ready": True})
        code, value = await ask(path, "GET", "/api/v1/status")
        assert (code, value["domains"][0]["name"]) == (200, "web1")
        code, value = await ask(path, "GET", "/api/v1/plan?name=web1")
        assert (code, value["plans"][0]["changesAnything"]) == (200, False)
        code, value = await ask(path, "GET", "/api/v1/domains/web1/explain")
        assert (code, value["definition"]["name"]) == (200, "web1")
        code, value = await ask(path, "POST", "/api/v1/sync?wait=5")
        assert (code, value["waitingFor"]) == (200, [])


@pytest.mark.parametrize(("method", "target", "code", "said"), [
    ("GET", "/", 404, "no such request: GET /"),
    ("DELETE", "/api/v1/status", 405, "method not allowed: DELETE /api/v1/status"),
    ("GET", "/api/v1/domains/web2/explain", 404, "no domain 'web2'; did you mean 'web1'?"),
    ("POST", "/api/v1/domains/web1/restart",
     409, "'web1' is stopped by its file (state='stopped')"),
    ("POST", "/api/v1/domains/web1/hold?for=soon", 409, "'soon' is not a duration"),
    ("POST", "/api/v1/approvals", 409, "nothing waits"),
    ("POST", "/api/v1/approvals/p-1", 409, "nothing waits for approval under 'p-1'"),
    ("POST", "/api/v1/sync?wait=soon", 409, "wait='soon'; accepted: seconds"),
    ("POST", "/api/v1/sync?wait=nan", 409, "wait='nan'; accepted: seconds"),
    ("POST", "/api/v1/sync?wait=-1", 409, "wait='-1'; accepted: seconds")])
async def test_what_a_reconciler_refuses(tmp_path, method, target, code, said):
    async with real(tmp_path) as path:
        found, value = await ask(path, method, target)
        assert (found, value["error"].startswith(said)) == (code, True), value
        assert (await ask(path, "GET", "/livez"))[0] == 200


async def test_a_status_can_be_waited_for(tmp_path):
    async with real(tmp_path) as path:
        _, before = await ask(path, "GET", "/api/v1/status")
        waiting = asyncio.create_task(
            ask(path, "GET", f"/api/v1/status?wait={before['sequence']}"))
        await asyncio.sleep(0)
        await ask(path, "POST", "/api/v1/domains/web1/hold?reason=why&by=me")
        _, after = await waiting
        assert after["sequence"] > before["sequence"]


# Over TCP


async def over_tcp(port, method, target, body=b"", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (f"{method} {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{lines}"
            f"content-length: {len(body)}\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(LIMIT):
            writer.write(head.encode() + body)
            answer = await reader.read()
    except ConnectionError:
        return 0, None
    finally:
        writer.close()
    status, _, rest = answer.partition(b"\r\n\r\n")
    return (int(status.split()[1]), json.loads(rest)) if status else (0, None)


@pytest.fixture
def handler():
    return Handler()


@asynccontextmanager
async def listening(tmp_path, handler, gate):
    server = Server(tmp_path / "s", handler, handler.faults.append)
    await server.start()
    await server.listen("127.0.0.1", 0, lambda: gate)
    try:
        yield server.port
    finally:
        await server.stop()


async def test_over_tcp_authorization_comes_first(tmp_path, handler):
    async with listening(tmp_path, handler, Authorization(loopback=True, token=b"t")) as port:
        status, value = await over_tcp(port, "POST", "/api/v1/sync")
        assert (status, handler.asked) == (401, [])
        assert "Bearer" in value["hint"]
        assert (await over_tcp(port, "POST", "/api/v1/sync",
                               authorization="Bearer t"))[0] == 200
        assert (await over_tcp(port, "GET", "/api/v1/plan"))[0] == 200
        assert [request for request, _, _ in handler.asked] == [Request.SYNC, Request.PLAN]


async def test_over_tcp_unknown_requests_need_the_same_rights(tmp_path, handler):
    async with listening(tmp_path, handler, Authorization(loopback=True, token=b"t")) as port:
        assert (await over_tcp(port, "GET", "/nothing"))[0] == 404
        assert (await over_tcp(port, "POST", "/nothing"))[0] == 401
        assert (await over_tcp(port, "POST", "/livez"))[0] == 401
        assert (await over_tcp(port, "DELETE", "/api/v1/status"))[0] == 401
        assert (await over_tcp(port, "GET", "/hooks/git"))[0] == 405


async def test_only_a_webhook_may_have_a_large_body(tmp_path, handler):
    body = b"x" * (2 * LONGEST_BODY)
    signed = signature(body, b"s")
    allowed = Authorization(loopback=True, token=b"t", secret=b"s")
    async with listening(tmp_path, handler, allowed) as port:
        assert (await over_tcp(port, "POST", "/hooks/git", body,
                               x_hub_signature_256=signed))[0] == 200
        assert (await over_tcp(port, "POST", "/hooks/git", body + b"y",
                               x_hub_signature_256=signed))[0] == 401
        assert (await over_tcp(port, "POST", "/api/v1/sync", body,
                               authorization="Bearer t"))[0] == 0
        assert len(handler.asked) == 1


async def test_a_webhook_triggers_a_read_of_the_source(tmp_path):
    place = Place(tmp_path, "http: {listen: '127.0.0.1:0'}\n"
                            "source: {webhook_secret_file: secret}\n")
    (tmp_path / "secret").write_text("s\n")
    async with running(place) as daemon:
        port, before = daemon.server.port, daemon.source.state.handled
        assert (await over_tcp(port, "POST", "/hooks/git", b"{}", x_gitlab_token="no"))[0] == 401
        assert daemon.source.state.handled == before
        assert (await over_tcp(port, "POST", "/hooks/git", b"{}", x_gitlab_token="s"))[0] == 200
        await until(daemon, lambda: daemon.source.state.handled > before)
        assert place.reported("hook.received")
        assert (await over_tcp(port, "GET", "/livez"))[0] == 200
        assert (await over_tcp(port, "GET", "/api/v1/status"))[0] == 200
        (tmp_path / "secret").write_text("another\n")  # changed without a restart
        assert (await over_tcp(port, "POST", "/hooks/git", b"{}", x_gitlab_token="s"))[0] == 401


@pytest.mark.parametrize(("text", "mode", "said"), [
    (None, 0, "No such file"), ("s\n", 0o644, "every user of this host can read this secret"),
    (" \n", 0o600, "is empty"), ("s\n", 0o600, None)])
async def test_an_unusable_secret_is_reported_at_the_start(tmp_path, text, mode, said):
    place = Place(tmp_path, "http: {listen: '127.0.0.1:0'}\n"
                            "source: {webhook_secret_file: secret}\n")
    if text is not None:
        (tmp_path / "secret").write_text(text)
        (tmp_path / "secret").chmod(mode)
    async with running(place):
        found = place.reported("http.remarked")
    assert [said in event["message"] for event in found] == ([True] if said else [])


async def test_a_port_in_use_is_reported_and_the_reconciler_goes_on(tmp_path, handler):
    async with listening(tmp_path, handler, Authorization(loopback=True)) as port:
        (tmp_path / "place").mkdir()
        place = Place(tmp_path / "place", f"http: {{listen: '127.0.0.1:{port}'}}\n")
        async with running(place) as daemon:
            assert daemon.server.port is None
            assert place.reported("http.failed")


async def test_another_method_does_nothing(tmp_path):
    place = Place(tmp_path)
    async with running(place) as daemon:
        status, _ = await ask(daemon.environment.settings.api_socket, "PUT", "/api/v1/hold")
        assert (status, daemon.environment.store.hold) == (405, None)


async def test_a_client_that_does_not_read_is_disconnected(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)
    async with serving(tmp_path) as (path, _, _):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /api/v1/plan?do=large HTTP/1.1\r\nhost: x\r\n\r\n")
            closed = select.poll()
            closed.register(client, 0)  # only that the other end is closed
            assert await asyncio.to_thread(closed.poll, LIMIT * 1000)
        monkeypatch.undo()  # a slow machine takes longer to read the answer
        status, value = await ask(path, "GET", "/api/v1/plan?do=large")
        assert (status, len(value)) == (200, 16 << 20)


async def test_a_client_that_waits_when_the_server_stops_is_not_an_error(tmp_path):
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    handler = Handler()
    server = Server(tmp_path / "s", handler, handler.faults.append)
    await server.start()
    _, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(b"GET /api/v1/plan?do=slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        await handler.entered.wait()
    await server.stop()
    await asyncio.sleep(0)
    writer.close()
    assert faults == []
