"""Sends watchdog notifications to systemd, if the unit requests them (WatchdogSec=).

One datagram to the socket in the environment variable NOTIFY_SOCKET; see sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Watchdog:
    """The watchdog of the unit. `interval`: seconds between notifications; None if it is off."""

    address: str = ""
    interval: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Watchdog:
        """From the environment of this process; half the timeout of the unit, as recommended."""
        address = environment.get("NOTIFY_SOCKET", "")
        limit = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if not (mine and address.startswith(("/", "@")) and limit.isdecimal() and int(limit)):
            return cls()
        return cls(address, int(limit) / 2e6)

    def feed(self) -> None:
        """Notify systemd that the process works; errors are ignored."""
        if self.interval is None:
            return
        with suppress(OSError), socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            abstract = self.address.startswith("@")
            sender.sendto(b"WATCHDOG=1", f"\0{self.address[1:]}" if abstract else self.address)
