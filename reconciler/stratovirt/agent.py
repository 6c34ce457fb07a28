"""Client of the guest agent on its virtio-serial channel.

On x86_64 the agent is the only way to ask a guest to shut down.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.host.mounts import Mounts

if TYPE_CHECKING:
    from pathlib import Path


async def shut_down(path: Path, limit: float) -> None:
    """Send guest-shutdown, which is not answered on success. Raises HostError without an agent.

    A guest-sync comes first, to find out whether an agent listens. `limit`: seconds in all.
    """
    await _talk(path, limit, "guest-shutdown", {"mode": "powerdown"})


async def ping(path: Path, limit: float) -> None:
    """Return if the agent answers within `limit` seconds; else raise HostError."""
    await _talk(path, limit, None, {})


async def _talk(path: Path, limit: float, command: str | None,
                arguments: dict[str, object]) -> None:
    remote = Mounts.now().remote_kind(path)
    if remote:  # to connect might wait for ever
        message = f"{path}: a socket on a file system that may not answer ({remote})"
        raise HostError(message, reason="AgentSilent")
    try:
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                await _ask(writer, "guest-sync", {"id": 1})
                while (await _answer(reader)).get("return") != 1:
                    continue  # answers to an earlier client
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
        message = "the connection was closed"
        raise ConnectionError(message)
    try:
        value = json.loads(line)
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        message = "the response is not a JSON object"
        raise ValueError(message)
    return value


async def _ask(writer: asyncio.StreamWriter, command: str, arguments: dict[str, object]) -> None:
    writer.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    await writer.drain()
