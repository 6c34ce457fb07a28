"""One QMP connection: one command in flight, in one write; events go to a callback."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class QmpError(Exception):
    """The hypervisor's fault, or its socket's."""


class QmpRefused(QmpError):
    """StratoVirt said no."""


class Qmp:
    """A connected client; `on_event` gets each event's name, and "" when the socket closes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                 on_event: Callable[[str], None]) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._lock = asyncio.Lock()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: Path, on_event: Callable[[str], None], limit: float) -> Qmp:
        """Connect and wait for the greeting; raises QmpError after `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                reader, writer = await asyncio.open_unix_connection(path)
                greeting = json.loads(await reader.readline())
        except (OSError, ValueError, TimeoutError) as error:
            message = f"no QMP greeting on {path}: {error or type(error).__name__}"
            raise QmpError(message) from error
        if "QMP" not in greeting:
            message = f"{path} does not speak QMP"
            raise QmpError(message)
        qmp = cls(reader, writer, on_event)
        qmp._task = asyncio.create_task(qmp._read())
        return qmp

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line) if line.strip() else {}
                if "event" in message:
                    self._on_event(message["event"])
                elif message and self._answer and not self._answer.done():
                    self._answer.set_result(message)
        except (OSError, ValueError):
            pass
        finally:
            self._writer.close()
            if self._answer and not self._answer.done():
                self._answer.set_exception(QmpError("the QMP connection closed"))
            self._on_event("")

    async def execute(self, command: str, limit: float) -> Any:
        """Run one command; raises QmpRefused for a no, QmpError when no answer came in time."""
        async with self._lock:
            self._answer = asyncio.get_running_loop().create_future()
            try:
                self._writer.write(json.dumps({"execute": command}).encode() + b"\r\n")
                async with asyncio.timeout(limit):
                    answer = await self._answer
            except (OSError, TimeoutError) as error:
                self.close()  # a late answer must never be taken for the next command's
                message = f"{command}: no answer within {limit:g} s"
                raise QmpError(message) from error
        if "error" in answer:
            raise QmpRefused(f"{command}: {answer['error'].get('desc')}")
        return answer.get("return")

    def close(self) -> None:
        """Let go of the socket; the reading task then ends by itself."""
        with suppress(RuntimeError):
            self._writer.close()
