"""Health probes of a guest, without software added to it: TCP, console output, guest agent.

Each probe returns why it failed, or an empty string. None raises, none waits longer than its limit.
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
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.host.names import Names

_KEPT = 16384  # characters of console output that are searched for the pattern
_CHUNK = 4096
_MOST_CHUNKS = 16  # per check: a guest that never stops writing must not block the event loop


async def tcp(address: str, limit: float, names: Names) -> str:
    """Connect to HOST:PORT, at any of its addresses."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(limit):
            await _connect(await names.addresses(host.strip("[]")), int(port))
    except TimeoutError:
        return f"{address}: no connection within {limit:g} s"
    except OSError as error:
        known = error.errno is not None and error.errno > 0
        return f"{address}: {os.strerror(error.errno or 0).lower() if known else error}"
    except (OverflowError, UnicodeError) as error:
        return f"{address}: {error}"
    return ""


async def _connect(hosts: Sequence[str], port: int) -> None:
    """Connect to the first that accepts; raises the error of the last."""
    for index, host in enumerate(hosts, 1):
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            if index == len(hosts):
                raise
        else:
            writer.close()
            return


async def agent(path: Path, limit: float) -> str:
    """Ping the guest agent on its socket."""
    try:
        await ping(path, limit)
    except HostError as error:
        return str(error)
    return ""


def contains(text: str, pattern: str) -> bool:
    """Whether the text contains the parts of a pattern, which are separated by `*`, in order.

    Not a regular expression: its run time must not depend on what a guest prints.
    """
    at = 0
    for piece in pattern.split("*"):
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


class Console:
    """Searches the output of a pty for a pattern, which has to appear only once.

    Output that the probe reads is lost to other readers. So it does not read while a user is on the
    console (and holds its lock), nor after the pattern was found.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._handle: int | None = None
        self._text = ""
        self.found = False
        self.in_use = False  # a user is on the console, so that output may be missed

    def check(self, path: str | None) -> str:
        """Read the output since the last check."""
        if self.found:
            return ""
        if path is None:
            return "the VM has no pty console"
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
            return "the console is in use"
        return f"'{self._pattern}' has not appeared on the console yet"

    def close(self) -> None:
        """Close the pty."""
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
