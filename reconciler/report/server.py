"""The command socket: HTTP/1.1 on a unix socket, so that curl and every language can use it.

h11 does the protocol; here a request becomes a call of a handler and its value becomes JSON. Who
may connect is the directory's mode (0700) and checked once more by the kernel's word on the peer.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import h11

from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LONGEST_BODY = 64 << 10
PATIENCE = 30.0  # for a request to be read; answers may take their time
_CHUNK = 64 << 10


class Handler(Protocol):
    """Answers requests."""

    async def handle(self, method: str, path: tuple[str, ...],
                     query: Mapping[str, str]) -> object:
        """The value to answer with; raises UsageError for what the asker did wrong."""


class Server:
    """Serves `handler` on a unix socket."""

    def __init__(self, path: Path, handler: Handler, fault: Callable[[Exception], None]) -> None:
        self._path = path
        self._fault = fault  # told of a fault of ours
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that a killed reconciler left is replaced: the lock says it is dead."""
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._connected, str(self._path))
        finally:
            os.umask(mask)

    async def stop(self) -> None:
        """Listen no more, and let go of everybody."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader,
                         writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            if _peer(writer) in (0, os.geteuid()):
                await self._serve(reader, writer)
        except (OSError, h11.ProtocolError, TimeoutError):
            return  # a client that went, or that does not speak HTTP
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        async with asyncio.timeout(PATIENCE):
            request = await _request(connection, reader)
        if request is None:
            return
        status, value = await self._answer(request)
        body = json.dumps(value, default=str).encode() + b"\n"
        writer.write(b"".join(filter(None, (
            connection.send(h11.Response(status_code=status, headers=[
                ("content-type", "application/json"), ("content-length", str(len(body))),
                ("connection", "close")])),
            connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())))))
        await writer.drain()

    async def _answer(self, request: h11.Request) -> tuple[int, object]:
        try:
            parts = urlsplit(request.target.decode(errors="replace"))
        except ValueError as error:
            raise h11.RemoteProtocolError(str(error)) from error
        path = tuple(step for step in parts.path.split("/") if step)
        try:
            return HTTPStatus.OK, await self._handler.handle(
                request.method.decode(), path, dict(parse_qsl(parts.query)))
        except UsageError as error:
            status = HTTPStatus.NOT_FOUND if error.reason == "NotFound" else HTTPStatus.CONFLICT
            return status, _refusal(error)
        except ReconcilerError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, _refusal(error)
        except Exception as error:  # noqa: BLE001  # one request's fault must not go unanswered
            self._fault(error)
            return HTTPStatus.INTERNAL_SERVER_ERROR, {
                "error": f"a fault of the reconciler: {error!r}", "reason": "InternalError",
                "hint": "`reconciler events` has the details; please report it"}


def _refusal(error: ReconcilerError) -> dict[str, Any]:
    return {"error": str(error), "reason": error.reason, "hint": error.hint}


def _peer(writer: asyncio.StreamWriter) -> int:
    """The user id at the other end, from the kernel."""
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", raw)[1])


async def _request(connection: h11.Connection,
                   reader: asyncio.StreamReader) -> h11.Request | None:
    """Read one whole request; its body is read, bounded, and not needed."""
    request: h11.Request | None = None
    length = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            length += len(event.data)
            if length > LONGEST_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:
            return None
