"""Notices that somebody connected to a VM's second monitor, the one for people.

StratoVirt sends its events to the client that connected last, on whichever monitor, and to nobody
once that one has gone (measured on 2.5.0). So whoever looks at `monitor.sock` takes our events away
without a sign. The kernel leaves one: a connect touches the access time of the socket's file. Under
relatime it does so only while that is older than the modification time, which is therefore put far
into the future once. On a file system without access times, VMs are looked at every few seconds.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from reconciler.stratovirt.command_line import MONITOR_SOCKET

if TYPE_CHECKING:
    from pathlib import Path

POLL_INTERVAL = 0.2  # seconds between two stat calls for each VM (one microsecond each)
FALLBACK_INTERVAL = 2.0  # seconds between two looks at each VM, without access times
_FUTURE = 1 << 62  # nanoseconds: the year 2116


class Monitor:
    """One VM's monitor for people."""

    def __init__(self, home: Path) -> None:
        self._path = home / MONITOR_SOCKET
        self._seen: int | None = None

    def arm(self) -> None:
        """From now on, the next connect shows. Call it once the socket is there."""
        try:
            os.utime(self._path, ns=(0, _FUTURE))
        except OSError:
            self._seen = None  # it is gone, or another user's
        else:
            self._seen = 0

    def touched(self) -> bool:
        """Whether somebody connected since it was armed, or last asked."""
        if self._seen is None:
            return False
        try:
            now = os.stat(self._path).st_atime_ns
        except OSError:
            return False
        before, self._seen = self._seen, now
        return now != before


def access_times_work(directory: Path) -> bool:
    """Whether a connect shows in this directory: tried once with a socket of our own."""
    try:
        return _shows(directory / ".probe.sock")
    except OSError:
        return False  # such as on a full disk


def _shows(path: Path) -> bool:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen(1)
        os.utime(path, ns=(0, _FUTURE))
        client.connect(str(path))
        shown = os.stat(path).st_atime_ns != 0
    path.unlink()
    return shown
