"""The API server: HTTP/1.1 on a unix socket, the command socket, and on TCP where configured.

h11 parses the protocol; a request is matched against the table of requests, its handler is called,
and the value that it returns is sent as JSON. The command socket is protected by the mode of its
directory (0700) and by the client's uid, which the kernel reports. On TCP authorization.py decides.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from reconciler.errors import ReconcilerError, UsageError
from reconciler.report.requests import Call, PlainText, Request, Unmatched, match

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.report.authorization import Authorization
    from reconciler.report.requests import Right

LONGEST_BODY = 64 << 10
LONGEST_HOOK = 4 << 20  # of a webhook: the signature covers the whole body
MOST_CLIENTS = 32  # at once over TCP
PATIENCE = 30.0  # seconds to receive a request, and to send its answer
_CHUNK = 64 << 10


class Handler(Protocol):
    """Answers requests."""

    async def handle(self, call: Call) -> object:
        """The value to answer with; raises UsageError for a mistake of the client."""


class Server:
    """Serves `handler` on a unix socket, and over TCP after `listen`."""

    def __init__(self, path: Path, handler: Handler, fault: Callable[[Exception], None]) -> None:
        self._path = path
        self._fault = fault  # called with an internal error
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._over_tcp = 0

    async def start(self) -> None:
        """Listen; an existing socket is from a reconciler that was killed, and is replaced."""
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._servers.append(await asyncio.start_unix_server(self._local, str(self._path)))
        finally:
            os.umask(mask)

    async def listen(self, host: str, port: int,
                     authorization: Callable[[], Authorization]) -> None:
        """Listen on TCP as well; raises OSError. `authorization` is called for each request."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._over_tcp += 1
            try:
                if self._over_tcp <= MOST_CLIENTS:
                    await self._served(reader, writer, authorization)
            finally:
                self._over_tcp -= 1
                writer.close()

        self._servers.append(await asyncio.start_server(connected, host, port))

    @property
    def port(self) -> int | None:
        """The TCP port, if the server listens on one."""
        return next((int(server.sockets[0].getsockname()[1]) for server in self._servers[1:]), None)

    async def stop(self) -> None:
        """Close the listeners and disconnect every client."""
        for server in self._servers:
            server.close()
        if self._servers:
            self._path.unlink(missing_ok=True)
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _local(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if _peer(writer) in (0, os.geteuid()):
                await self._served(reader, writer, None)
        finally:
            writer.close()

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                      authorization: Callable[[], Authorization] | None) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        # The client disconnected, is slow, or does not speak HTTP; or the server stops, and
        # asyncio would log the cancellation as an unhandled error.
        with suppress(OSError, h11.ProtocolError, TimeoutError, asyncio.CancelledError):
            await self._serve(reader, writer, authorization)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                     authorization: Callable[[], Authorization] | None) -> None:
        connection = h11.Connection(h11.SERVER)
        async with asyncio.timeout(PATIENCE):
            request, sent = await _request(connection, reader, LONGEST_HOOK if authorization else 0)
        if request is None:
            return
        call = match(request.method.decode(), *_target(request))
        refusal = authorization().refuse(_right(call), _headers(request), sent) if (
            authorization is not None) else None
        status, value = (refusal.status, {
            "error": refusal.message, "reason": "NotAllowed", "hint": refusal.hint}) if (
            refusal is not None) else await self._answer(call)
        content_type, body = _body(value)
        headers = [("content-type", content_type), ("content-length", str(len(body))),
                   ("connection", "close")]
        if status == HTTPStatus.METHOD_NOT_ALLOWED and isinstance(call, Unmatched):
            headers.append(("allow", ", ".join(call.allowed)))
        writer.write(b"".join(filter(None, (
            connection.send(h11.Response(status_code=status, headers=headers)),
            connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())))))
        # Wait until all of it is sent: clients that do not read are disconnected.
        writer.transport.set_write_buffer_limits(0)
        try:
            async with asyncio.timeout(PATIENCE):
                await writer.drain()
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()

    async def _answer(self, call: Call | Unmatched) -> tuple[int, object]:
        if isinstance(call, Unmatched):
            return (HTTPStatus.METHOD_NOT_ALLOWED if call.allowed else HTTPStatus.NOT_FOUND,
                    call.answer())
        try:
            return HTTPStatus.OK, await self._handler.handle(call)
        except UsageError as error:
            status = HTTPStatus.NOT_FOUND if error.reason == "NotFound" else HTTPStatus.CONFLICT
            return status, _refusal(error)
        except ReconcilerError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, _refusal(error)
        except Exception as error:  # noqa: BLE001  # the client gets an answer also to a bug
            self._fault(error)
            return HTTPStatus.INTERNAL_SERVER_ERROR, {
                "error": f"internal error: {error!r}", "reason": "InternalError",
                "hint": "the traceback is in `reconciler events`; please report it"}


def _body(value: object) -> tuple[str, bytes]:
    """The content type of an answer, and its bytes."""
    if isinstance(value, PlainText):
        return value.content_type, value.text.encode()
    return "application/json", json.dumps(value, default=str).encode() + b"\n"


def _refusal(error: ReconcilerError) -> dict[str, Any]:
    return {"error": str(error), "reason": error.reason, "hint": error.hint}


def _peer(writer: asyncio.StreamWriter) -> int:
    """The client's uid, from the kernel."""
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", raw)[1])


def _right(call: Call | Unmatched) -> Right:
    return call.right if isinstance(call, Unmatched) else call.request.right


def _headers(request: h11.Request) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in request.headers}


def _target(request: h11.Request) -> tuple[tuple[str, ...], dict[str, str]]:
    """The path, split at its slashes, and the query of a request; both unquoted."""
    try:
        parts = urlsplit(request.target.decode(errors="replace"))
    except ValueError as error:
        raise h11.RemoteProtocolError(str(error)) from error
    path = tuple(unquote(step) for step in parts.path.split("/") if step)
    return path, dict(parse_qsl(parts.query))


async def _request(connection: h11.Connection, reader: asyncio.StreamReader,
                   longest_hook: int) -> tuple[h11.Request | None, bytes]:
    """Read one complete request. Only a webhook's body is kept, to verify its signature."""
    request: h11.Request | None = None
    longest, length, kept = LONGEST_BODY, 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Request):
            request = event
            if longest_hook and Request.WEBHOOK.arguments(_target(event)[0]) is not None:
                longest = longest_hook
        elif isinstance(event, h11.Data):
            length += len(event.data)
            if length > longest:
                return None, b""
            if longest > LONGEST_BODY:
                kept += event.data
        elif isinstance(event, h11.EndOfMessage):
            return request, bytes(kept)
        else:
            return None, b""
