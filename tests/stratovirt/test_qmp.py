"""The QMP client, against small servers on a real socket with scripted answers.

What StratoVirt does is in docs/explanation: one command a write, CR LF in a read of its own, ids as
text, 100 commands a second.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from reconciler.errors import QmpClosed, QmpError, QmpRefused, QmpThrottled, QmpTimedOut
from reconciler.stratovirt.qmp import LONGEST_MESSAGE, THROTTLE_PAUSE, Qmp

GREETING = b'{"QMP": {"version": {"qemu": {"major": 5}}, "capabilities": []}}\r\n'
LIMIT = 5.0


class Peer:
    """The other end of one connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.negotiated = False

    def say(self, *values):
        for value in values:
            self.writer.write(value if isinstance(value, bytes)
                              else json.dumps(value).encode() + b"\r\n")

    async def say_apart(self, *parts):
        """Each in a read of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            for _ in range(5):
                await asyncio.sleep(0)

    async def command(self):
        """The next command, once capabilities are negotiated."""
        command = await self.any_command()
        if not self.negotiated:
            assert command["execute"] == "qmp_capabilities"
            self.answer(command)
            self.negotiated = True
            command = await self.any_command()
        return command

    async def any_command(self):
        """All of one line, and nothing after it (one command a write)."""
        data = await self.reader.read(65536)
        assert data.endswith(b"\r\n")
        assert data.count(b"\n") == 1, data
        return json.loads(data)

    def answer(self, command, value=None):
        self.say({"return": {} if value is None else value, "id": command["id"]})


@asynccontextmanager
async def talking(tmp_path, script, greeting=GREETING):
    """A client that is connected to a server with this script; the script must end well."""
    path = tmp_path / "qmp.sock"
    over = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        try:
            writer.write(greeting)
            await script(Peer(reader, writer))
            over.set_result(None)
        except Exception as error:
            over.set_exception(error)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    events, closes = [], []
    async with server:
        qmp = await Qmp.connect(path, lambda name, data: events.append((name, data)),
                                lambda: closes.append(1), LIMIT)
        qmp.events, qmp.closes = events, closes
        try:
            yield qmp
            await over
        finally:
            qmp.close()


async def until_closed(qmp):
    async with asyncio.timeout(LIMIT):
        while not qmp.closes:
            await asyncio.sleep(0)


async def test_a_command_and_its_answer(tmp_path):
    async def script(peer):
        command = await peer.command()
        assert command == {"execute": "device_add", "arguments": {"id": "x"}, "id": "2"}
        peer.answer(command, {"running": True})
        command = await peer.command()
        assert command == {"execute": "stop", "id": "3"}  # no arguments where there are none
        peer.answer(command)

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("device_add", LIMIT, id="x") == {"running": True}
        assert await qmp.execute("stop", LIMIT) == {}


async def test_pain_19_capabilities_are_negotiated_once_before_the_first_command(tmp_path):
    async def script(peer):
        command = await peer.any_command()
        assert command == {"execute": "qmp_capabilities", "id": "1"}
        peer.answer(command)
        for name in ("query-status", "stop"):
            command = await peer.any_command()
            assert command["execute"] == name
            peer.answer(command, name)

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("query-status", LIMIT) == "query-status"
        assert await qmp.execute("stop", LIMIT) == "stop"


@pytest.mark.simulated_time
async def test_throttled_capabilities_are_negotiated_again(tmp_path):
    async def script(peer):
        command = await peer.any_command()
        peer.say({**THROTTLED, "id": command["id"]})
        peer.answer(await peer.command(), "done")

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("stop", 1e6) == "done"


async def test_a_server_without_qmp_capabilities_is_accepted(tmp_path):
    async def script(peer):
        command = await peer.any_command()
        peer.say({"error": {"class": "CommandNotFound", "desc": "no"}, "id": command["id"]})
        peer.answer(await peer.any_command(), "it runs")
        peer.answer(await peer.any_command(), "paused")

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("query-status", LIMIT) == "it runs"
        assert await qmp.execute("stop", LIMIT) == "paused"


async def test_cr_lf_and_halves_of_messages_may_come_in_reads_of_their_own(tmp_path):
    async def script(peer):
        command = await peer.command()
        text = json.dumps({"return": {"a": "ä\n"}, "id": command["id"]},
                          ensure_ascii=False).encode()
        await peer.say_apart(text[:9], text[9:21], text[21:], b"\r", b"\n")
        peer.answer(await peer.command(), 2)

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("one", LIMIT) == {"a": "ä\n"}
        assert await qmp.execute("two", LIMIT) == 2


async def test_pain_19_events_come_between_a_command_and_its_answer(tmp_path):
    async def script(peer):
        command = await peer.command()
        peer.say({"event": "STOP", "data": {"a": 1}, "timestamp": {}}, {"event": "RESUME"})
        peer.answer(command, "the answer")
        peer.say({"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}})

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("stop", LIMIT) == "the answer"
        await until_closed(qmp)
        assert qmp.events == [("STOP", {"a": 1}), ("RESUME", {}),
                              ("SHUTDOWN", {"reason": "guest-shutdown"})]


async def test_an_error_answer_is_raised_and_the_connection_stays_open(tmp_path):
    async def script(peer):
        command = await peer.command()
        peer.say({"error": {"class": "GenericError", "desc": "Device id hp0 existed"},
                  "id": command["id"]})
        await peer.command()
        peer.say({"error": {"class": "GenericError", "desc": "trailing characters"}})  # no id
        peer.answer(await peer.command())

    async with talking(tmp_path, script) as qmp:
        with pytest.raises(QmpRefused, match="device_add: Device id hp0 existed"):
            await qmp.execute("device_add", LIMIT)
        with pytest.raises(QmpRefused, match="trailing characters"):
            await qmp.execute("x", LIMIT)
        assert await qmp.execute("query-status", LIMIT) == {}


THROTTLED = {"error": {"class": "OperationThrottled", "desc": "More than 100 requests"}}


@pytest.mark.simulated_time
async def test_a_throttled_command_was_not_run_and_is_repeated(tmp_path):
    loop = asyncio.get_running_loop()
    times = []

    async def script(peer):
        for _ in range(3):
            command = await peer.command()
            assert command["execute"] == "stop"
            times.append(loop.time())
            if len(times) < 3:
                peer.say({**THROTTLED, "id": command["id"]})
            else:
                peer.answer(command, "done")

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("stop", 1e6) == "done"
        assert times[1] - times[0] >= THROTTLE_PAUSE
        assert times[2] - times[1] >= THROTTLE_PAUSE


async def test_throttled_for_too_long_is_a_time_out_and_not_the_connections_fault(tmp_path):
    async def script(peer):
        command = await peer.command()
        peer.say({**THROTTLED, "id": command["id"]})
        peer.answer(await peer.command())

    async with talking(tmp_path, script) as qmp:
        with pytest.raises(QmpTimedOut):
            await qmp.execute("stop", 0.05)
        assert not qmp.closed  # nothing is under way on it
        assert await qmp.execute("cont", LIMIT) == {}
    assert issubclass(QmpThrottled, QmpRefused)


@pytest.mark.parametrize("garbage", [
    b"hello\r\n", b"\xff\xfe\r\n", b"[]\r\n", b"1\r\n", b'"x"\r\n', b"null\r\n",
    b'{"event": "STOP", "data": 1}\r\n{"return": {}, "id": "2"\r\n',
    b"[" * 100_000 + b"\r\n", b"x" * (LONGEST_MESSAGE + 1)],
    ids=["words", "bytes", "list", "number", "text", "null", "half", "deep", "long"])
async def test_garbage_closes_the_connection_and_fails_pending_commands(tmp_path, garbage):
    async def script(peer):
        await peer.command()
        peer.say(garbage)

    async with talking(tmp_path, script) as qmp:
        with pytest.raises(QmpError):
            await qmp.execute("stop", LIMIT)
        await until_closed(qmp)
        with pytest.raises(QmpClosed):
            await qmp.execute("stop", LIMIT)


@pytest.mark.parametrize("error", [1, "no", [], {"class": 1}], ids=str)
async def test_an_error_in_another_format_is_still_an_error(tmp_path, error):
    async def script(peer):
        command = await peer.command()
        peer.say({"error": error, "id": command["id"]})

    async with talking(tmp_path, script) as qmp:
        with pytest.raises(QmpRefused):
            await qmp.execute("stop", LIMIT)


async def test_a_close_fails_each_pending_command_once(tmp_path):
    async def script(peer):
        await peer.command()

    async with talking(tmp_path, script) as qmp:
        with pytest.raises(QmpClosed, match="closed"):
            await qmp.execute("quit", LIMIT)
        await until_closed(qmp)
        qmp.close()
        await asyncio.sleep(0)
        assert qmp.closes == [1]


async def test_pain_19_no_answer_in_time_closes_the_connection(tmp_path):
    """A late answer must never be taken for the next command's."""
    async def script(peer):
        command = await peer.command()
        assert await peer.reader.read() == b""  # the client goes away by itself
        peer.answer(command, "late")

    async with talking(tmp_path, script) as qmp:
        with pytest.raises(QmpTimedOut, match=r"stop: no answer within 0.05 s"):
            await qmp.execute("stop", 0.05)
        assert qmp.closed
        with pytest.raises(QmpClosed):
            await qmp.execute("query-status", LIMIT)
        await until_closed(qmp)


async def test_pain_19_an_answer_with_another_id_is_ignored(tmp_path):
    async def script(peer):
        command = await peer.command()
        peer.say({"return": "of a former client", "id": "77"})
        peer.answer(command, "mine")

    async with talking(tmp_path, script) as qmp:
        assert await qmp.execute("query-status", LIMIT) == "mine"


async def test_pain_19_one_command_is_under_way_when_many_ask(tmp_path):
    async def script(peer):
        for _ in range(20):
            command = await peer.command()  # asserts that nothing came behind it
            for _ in range(3):
                await asyncio.sleep(0)
            peer.answer(command, command["execute"])

    async with talking(tmp_path, script) as qmp:
        asked = [f"query-{n}" for n in range(20)]
        assert await asyncio.gather(*(qmp.execute(c, LIMIT) for c in asked)) == asked


async def test_a_command_that_times_out_in_the_queue_does_not_affect_others(tmp_path):
    async def script(peer):
        first = await peer.command()
        await turn.wait()
        peer.answer(first, "first")
        second = await peer.command()
        assert second["execute"] == "third"
        peer.answer(second, "third")

    turn = asyncio.Event()
    async with talking(tmp_path, script) as qmp:
        first = asyncio.create_task(qmp.execute("first", LIMIT))
        await asyncio.sleep(0)
        with pytest.raises(QmpTimedOut):
            await qmp.execute("second", 0.02)
        turn.set()
        assert await first == "first"
        assert await qmp.execute("third", LIMIT) == "third"


async def test_without_a_greeting_there_is_no_connection(tmp_path):
    """The second client of a StratoVirt socket is accepted and hears nothing."""
    path = tmp_path / "qmp.sock"
    gone = asyncio.Event()

    async def serve(reader, writer):
        assert await reader.read() == b""
        gone.set()
        writer.close()

    async with await asyncio.start_unix_server(serve, str(path)):
        with pytest.raises(QmpTimedOut, match=r"qmp.sock: no greeting within 0.05 s"):
            await Qmp.connect(path, lambda _n, _d: None, lambda: None, 0.05)
        async with asyncio.timeout(LIMIT):
            await gone.wait()


@pytest.mark.parametrize(("greeting", "error"), [
    (b"SSH-2.0-OpenSSH\r\n", QmpError), (b'{"return": {}}\r\n', QmpError), (b"", QmpClosed)])
async def test_another_greeting_is_refused(tmp_path, greeting, error):
    async def script(_peer):
        return

    with pytest.raises(error):
        async with talking(tmp_path, script, greeting):
            pass


async def test_an_older_greeting_is_taken(tmp_path):
    async def script(peer):
        peer.answer(await peer.command())

    old = b'{"QMP":{"version":{"StratoVirt":{"micro":1},"package":""},"capabilities":[]}}\r\n'
    async with talking(tmp_path, script, old) as qmp:
        assert await qmp.execute("stop", LIMIT) == {}


async def test_a_missing_socket_and_a_socket_without_a_server(tmp_path):
    with pytest.raises(QmpClosed, match=r"none.sock: No such file"):
        await Qmp.connect(tmp_path / "none.sock", lambda _n, _d: None, lambda: None, LIMIT)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    with pytest.raises(QmpClosed, match="refused"):
        await Qmp.connect(tmp_path / "left.sock", lambda _n, _d: None, lambda: None, LIMIT)
