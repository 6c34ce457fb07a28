"""The guest agent on its virtio-serial channel: the one way to ask an x86_64 guest to shut down."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from reconciler.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path


async def shut_down(path: Path, limit: float) -> None:
    """Send guest-shutdown, which has no answer when it works; raises HostError if nobody is there.

    A guest-sync comes first: it is the agent's own way to tell whether anybody listens.
    """
    await _talk(path, limit, "guest-shutdown", {"mode": "powerdown"})


async def ping(path: Path, limit: float) -> None:
    """Whether the agent answers; raises HostError if it does not."""
    await _talk(path, limit, None, {})


async def _talk(path: Path, limit: float, command: str | None,
                arguments: dict[str, object]) -> None:
    try:
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                await _ask(writer, "guest-sync", {"id": 1})
                while (await _answer(reader)).get("return") != 1:
                    continue  # what an earlier client was not there to read
                if command is not None:
                    await _ask(writer, command, arguments)
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError) as error:
        message = f"the guest agent does not answer: {str(error) or type(error).__name__}"
        raise HostError(message, reason="AgentSilent") from error


async def _answer(reader: asyncio.StreamReader) -> dict[str, object]:
    line = await reader.readline()
    if not line:
        message = "it closed the connection"
        raise ConnectionError(message)
    try:
        value = json.loads(line)
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        message = "what it sends is no answer"  # the guest may send what it wants
        raise ValueError(message)  # as for what is no JSON at all
    return value


async def _ask(writer: asyncio.StreamWriter, command: str, arguments: dict[str, object]) -> None:
    writer.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    await writer.drain()
