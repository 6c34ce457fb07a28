"""One QMP connection, adapted to StratoVirt's behaviour (measured on 2.5.0).

One command in flight, each in a single write: StratoVirt rejects two commands in one read, and one
command in two. Capabilities are negotiated before the first command, as QMP requires; StratoVirt
does not. Ids are strings. After a timeout the connection is closed, so that a late answer is never
taken for that of the next command. Built on asyncio.Protocol: an idle connection has no task and no
stream buffers, and there is one for each VM.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

from reconciler.errors import (
    QmpClosed,
    QmpError,
    QmpInactive,
    QmpRefused,
    QmpThrottled,
    QmpTimedOut,
)
from reconciler.failpoints import Point, nothing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.failpoints import Reached

# Seconds. StratoVirt executes 100 commands a second and rejects the rest.
THROTTLE_PAUSE = 1.0
# Bytes. An answer is one line; the longest known one, the list of commands, has 2 kB.
LONGEST_MESSAGE = 1 << 20
_NEGOTIATE = "qmp_capabilities"
_REFUSALS = {"OperationThrottled": QmpThrottled, "DeviceNotActive": QmpInactive}


class Qmp(asyncio.Protocol):
    """A QMP client. `on_event` receives name and data of each event; `on_close` is called once."""

    def __init__(self, on_event: Callable[[str, dict[str, Any]], None],
                 on_close: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_close = on_close
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._turn = asyncio.Lock()
        self._sent = 0
        self._negotiated = False
        self.closed = False

    @classmethod
    async def connect(cls, path: Path, on_event: Callable[[str, dict[str, Any]], None],
                      on_close: Callable[[], None], limit: float,
                      reached: Reached = nothing) -> Qmp:
        """Connect and wait for the greeting, at most `limit` seconds in all; raises QmpError."""
        loop = asyncio.get_running_loop()
        qmp = cls(on_event, on_close)
        qmp._answer = loop.create_future()
        try:
            async with asyncio.timeout(limit):
                reached(Point.CONNECT)
                await loop.create_unix_connection(lambda: qmp, str(path))
                greeting = await qmp._answer
        except TimeoutError:
            qmp.close()
            message = f"{path.name}: no greeting within {limit:g} s"
            raise QmpTimedOut(message) from None
        except OSError as error:
            message = f"{path.name}: {error.strerror or error}"
            raise QmpClosed(message) from error
        except QmpError:
            qmp.close()
            raise
        except asyncio.CancelledError:
            qmp.close()
            raise
        if "QMP" not in greeting:
            qmp.close()
            message = f"{path.name}: not a QMP greeting"
            raise QmpError(message)
        return qmp

    async def execute(self, command: str, limit: float, **arguments: object) -> Any:
        """Run one command and return its result; a throttled one is repeated within `limit` s.

        Raises QmpRefused for an error response, QmpTimedOut or QmpClosed if the outcome is unknown.
        """
        message: dict[str, object] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            async with asyncio.timeout(limit):
                while True:
                    try:
                        return await self._ask(command, message)
                    except QmpThrottled:
                        await asyncio.sleep(THROTTLE_PAUSE)
        except TimeoutError:
            text = f"{command}: no answer within {limit:g} s"
            raise QmpTimedOut(text) from None

    async def _ask(self, command: str, message: dict[str, object]) -> Any:
        async with self._turn:
            if not self._negotiated:
                await self._negotiate()
            answer = await self._exchange(command, message)
        return _result(command, answer)

    async def _negotiate(self) -> None:
        """Negotiate capabilities; the caller holds `_turn`."""
        answer = await self._exchange(_NEGOTIATE, {"execute": _NEGOTIATE})
        try:
            _result(_NEGOTIATE, answer)
        except QmpThrottled:
            raise  # it was not executed
        except QmpRefused:
            pass  # a server without this command does not need it
        self._negotiated = True

    async def _exchange(self, command: str, message: dict[str, object]) -> dict[str, Any]:
        """Write one command and wait for its answer; the caller holds `_turn`."""
        if self.closed or self._transport is None:
            text = f"{command}: the connection is closed"
            raise QmpClosed(text)
        self._sent += 1
        self._answer = asyncio.get_running_loop().create_future()
        line = json.dumps({**message, "id": str(self._sent)}).encode() + b"\r\n"
        self._transport.write(line)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.close()  # the answer may still arrive
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Close the connection; `on_close` is called afterwards."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Handle complete lines; CR LF may arrive in a read of its own."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            for line in lines:
                if line.strip():
                    self._receive(json.loads(line))
        except (ValueError, AttributeError):
            self._break("received data that is not QMP")
        if len(self._buffer) > LONGEST_MESSAGE:
            self._break(f"received a message of more than {LONGEST_MESSAGE} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the command in flight."""
        self.closed = True
        self._fail(QmpClosed(f"the QMP connection closed{f': {exc}' if exc else ''}"))
        self._on_close()

    def _receive(self, message: dict[str, Any]) -> None:
        event = message.get("event")
        if event is not None:
            self._on_event(str(event), message.get("data") or {})
        elif message.get("id") in (None, str(self._sent)) and self._waiting():
            cast("asyncio.Future[dict[str, Any]]", self._answer).set_result(message)

    def _waiting(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _fail(self, error: QmpError) -> None:
        if self._waiting():
            cast("asyncio.Future[dict[str, Any]]", self._answer).set_exception(error)

    def _break(self, problem: str) -> None:
        self._fail(QmpError(f"QMP: {problem}"))
        self.close()


def _result(command: str, answer: dict[str, Any]) -> Any:
    """The result of a command; raises QmpRefused for an error response."""
    error = answer.get("error")
    if error is None:
        return answer.get("return")
    if not isinstance(error, dict):
        error = {"desc": error}
    text = f"{command}: {error.get('desc') or 'error without a description'}"
    raise _REFUSALS.get(str(error.get("class")), QmpRefused)(text)
