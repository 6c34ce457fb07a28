"""The QMP server: one client at a time, one command per write, a hundred commands a second."""

import select
import socket
import time
from collections.abc import Callable

from . import jsontext, schema
from .faults import Faults
from .loop import Loop
from .refusal import Refusal

GREETING = (
    '{"QMP":{"version":{"qemu":{"micro":1,"minor":0,"major":5},'
    '"package":"StratoVirt-2.5.0"},"capabilities":[]}}'
)
LIMIT = 100
LONGEST = 8192
GARBAGE = "}{ \x00 this is not json"
Execute = Callable[[str, schema.Arguments], object]
Action = Callable[[], None]


class Failed(Exception):
    """An error response: its class and its description."""

    def __init__(self, description: str, kind: str = "GenericError") -> None:
        super().__init__(description)
        self.kind = kind


class Bucket:
    """The limit of commands a second: a leaky bucket."""

    def __init__(self) -> None:
        self.level = 0.0
        self.before = time.monotonic()
        self.shut_until = 0.0

    def full(self) -> bool:
        """Whether this command exceeds the limit."""
        now = time.monotonic()
        if now < self.shut_until:
            return True
        self.level = max(0.0, self.level - (now - self.before) * LIMIT)
        self.before = now
        if self.level > LIMIT:
            self.shut_until = now + (self.level - LIMIT) / LIMIT
            return True
        self.level += 1
        return False


class Channel:
    """The receiver of events: the client that connected last, on any monitor.

    After any client has disconnected, events are dropped until another one connects.
    """

    def __init__(self, faults: Faults) -> None:
        self.broadcast = faults.text("events") == "all"
        self.monitors: list[Monitor] = []
        self.listener: Monitor | None = None
        self.pending: list[str] = []

    def emit(self, event: str, data: dict[str, object]) -> None:
        """Queue an event, to be sent after the answer to the command that caused it."""
        if self.listener or self.broadcast:
            now = time.time_ns()
            stamp = {"seconds": now // 10**9, "microseconds": now % 10**9 // 1000}
            message = {"event": event, "data": data, "timestamp": stamp}
            self.pending.append(jsontext.dump(message))

    def flush(self) -> None:
        """Send the queued events."""
        pending, self.pending = self.pending, []
        for message in pending:
            if self.broadcast:
                for monitor in self.monitors:
                    monitor.send(message)
            elif self.listener:
                self.listener.send(message)


class Monitor:
    """One QMP socket."""

    def __init__(
        self,
        listener: socket.socket,
        loop: Loop,
        channel: Channel,
        faults: Faults,
        execute: Execute,
        panic: Action,
    ) -> None:
        self.listener = listener
        self.loop = loop
        self.channel = channel
        self.faults = faults
        self.execute = execute
        self.panic = panic
        self.client: socket.socket | None = None
        self.bucket = Bucket()
        self.answered = 0
        channel.monitors.append(self)
        loop.watch(listener.fileno(), self._connected)

    def _connected(self, _events: int) -> None:
        """Greet a client; until it disconnects, others wait in the listen queue."""
        try:
            self.client, _ = self.listener.accept()
        except OSError:
            return
        self.client.settimeout(0)
        self.loop.unwatch(self.listener.fileno())
        self.bucket = Bucket()
        self.channel.listener = self
        self.loop.watch(self.client.fileno(), self._readable)
        if self.faults.yes("never_greets"):
            return
        self.send(GREETING)
        if self.faults.yes("close_after_greeting"):
            self._leave()

    def _leave(self) -> None:
        """The client has disconnected; accept the next one."""
        if self.client:
            self.loop.unwatch(self.client.fileno())
            self.client.close()
            self.client = None
            self.channel.listener = None
            self.loop.watch(self.listener.fileno(), self._connected)

    def send(self, message: str) -> None:
        """Write one message; its LF may arrive in a read of its own."""
        if self.client:
            try:
                self.client.sendall((message + "\r").encode())
                self.client.sendall(b"\n")
            except OSError:
                self._leave()

    def _readable(self, events: int) -> None:
        """All received data is one command; it is lost if the client has hung up."""
        assert self.client
        if events & (select.POLLHUP | select.POLLERR):
            self._leave()
            return
        received = bytearray()
        while True:
            try:
                data = self.client.recv(4096)
            except BlockingIOError:
                break
            except OSError:
                self._leave()
                return
            if not data:
                # Only the sending half is closed, at which StratoVirt panics.
                if not received:
                    self.panic()
                break
            received += data
        if received:
            self._command(bytes(received))

    def _command(self, received: bytes) -> None:
        """Answer one command."""
        if self.faults.yes("never_greets"):
            return
        if self.bucket.full():
            reason = f"More than {LIMIT} requests received during 1 second"
            self.send(_error(Failed(reason, "OperationThrottled"), None))
            return
        hang_after = self.faults.number("hang_after")
        if hang_after is not None and self.answered >= hang_after:
            return
        delay = self.faults.seconds("answer_delay")
        if delay:
            time.sleep(delay)
        identity: str | None = None
        try:
            if len(received) > LONGEST:
                raise Refusal("The socket message is too long.")  # noqa: TRY301  # answered below
            text = received.decode("utf-8", "replace").strip()
            name, arguments, identity = schema.read(text)
            answer: dict[str, object] = {"return": self.execute(name, arguments)}
            if identity is not None:
                answer["id"] = identity
            message = jsontext.dump(answer)
        except Failed as failed:
            message = _error(failed, identity)
        except Refusal as refusal:
            message = _error(Failed(refusal.headline), None)
        self.answered += 1
        self.send(GARBAGE if self.faults.yes("garbage") else message)
        self.channel.flush()


def _error(failed: Failed, identity: str | None) -> str:
    answer: dict[str, object] = {"error": {"class": failed.kind, "desc": str(failed)}}
    if identity is not None:
        answer["id"] = identity
    return jsontext.dump(answer)
