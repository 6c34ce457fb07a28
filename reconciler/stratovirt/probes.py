"""Asks a guest whether it is well, without a change to the guest: by TCP, its console, its agent.

Each probe gives why it failed, or nothing. None of them raises, none waits longer than its limit.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.stratovirt.agent import ping

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 16384  # characters of a console in which a pattern is looked for
_CHUNK = 4096
_MOST_CHUNKS = 16  # of one look: a guest that never stops writing must not stop us (rule 8)


async def tcp(address: str, limit: float) -> str:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.close()
    except TimeoutError:
        return f"nothing answers at {address} within {limit:g} s"
    except OSError as error:
        known = error.errno is not None and error.errno > 0
        return f"{address}: {os.strerror(error.errno or 0).lower() if known else error}"
    except (OverflowError, UnicodeError) as error:
        return f"{address}: {error}"
    return ""


async def agent(path: Path, limit: float) -> str:
    """Whether the guest agent answers."""
    try:
        await ping(path, limit)
    except HostError as error:
        return str(error)
    return ""


def contains(text: str, pattern: str) -> bool:
    """Whether the pattern's pieces, between its stars, come in the text in this order.

    No regular expression: what a guest prints must not decide how long we are busy.
    """
    at = 0
    for piece in pattern.split("*"):
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


class Console:
    """Looks for a pattern in what comes on a pty; it needs to come only once.

    What we read nobody else does: a person on the console (who holds its lock) goes first, and once
    the pattern was found nothing is read any more.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._handle: int | None = None
        self._text = ""
        self.found = False
        self.in_use = False  # a person has it just now: what comes is not for us to know

    def check(self, path: str | None) -> str:
        """Read what came since the last look."""
        if self.found:
            return ""
        if path is None:
            return "it has no console on a pty"
        try:
            if self._handle is None:
                self._handle = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            self._read(self._handle)
        except OSError as error:
            self.close()
            return f"{path}: {error.strerror}"
        if contains(self._text, self._pattern):
            self.found = True
            self.close()
            return ""
        if self.in_use:
            return "somebody is on its console"
        return f"'{self._pattern}' has not come on its console yet"

    def close(self) -> None:
        """Let go of the pty."""
        self._text = ""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _read(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.in_use = True
            return
        self.in_use = False
        try:
            with suppress(BlockingIOError):
                for _ in range(_MOST_CHUNKS):
                    data = os.read(handle, _CHUNK)
                    self._text = (self._text + data.decode(errors="replace"))[-_KEPT:]
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
