"""Detects that another client connected to a VM's second monitor, `monitor.sock`.

StratoVirt sends events only to the client that connected last, on any monitor, and to no client
after that one has disconnected (measured on 2.5.0). So a user on `monitor.sock` takes the events
away from the reconciler, which is not notified. A connect leaves one trace: it updates the access
time of the socket file. With relatime the kernel does that only while the access time is older than
the modification time, which is therefore set far into the future once. On a file system without
access times, the reconciler queries each VM every few seconds instead.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from reconciler.stratovirt.command_line import MONITOR_SOCKET

if TYPE_CHECKING:
    from pathlib import Path

POLL_INTERVAL = 0.2  # seconds between two checks of all access times; one microsecond for each VM
FALLBACK_INTERVAL = 2.0  # seconds between two queries of each VM, without access times
_FUTURE = 1 << 62  # nanoseconds: the year 2116


class ClientDetector:
    """Watches the second monitor of one VM."""

    def __init__(self, home: Path) -> None:
        self._path = home / MONITOR_SOCKET
        self._seen: int | None = None

    def arm(self) -> None:
        """Detect connects from now on; the socket must exist."""
        try:
            os.utime(self._path, ns=(0, _FUTURE))
        except OSError:
            self._seen = None  # removed, or owned by another user
        else:
            self._seen = 0

    def client_seen(self) -> bool:
        """Whether a client connected since `arm`, or since the previous call."""
        if self._seen is None:
            return False
        try:
            now = os.stat(self._path).st_atime_ns
        except OSError:
            return False
        before, self._seen = self._seen, now
        return now != before


def access_times_work(directory: Path) -> bool:
    """Whether a connect updates access times in this directory; tried with a temporary socket."""
    try:
        return _connect_shows(directory / ".probe.sock")
    except OSError:
        return False  # for example on a full disk


def _connect_shows(path: Path) -> bool:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen(1)
        os.utime(path, ns=(0, _FUTURE))
        client.connect(str(path))
        shown = os.stat(path).st_atime_ns != 0
    path.unlink()
    return shown
