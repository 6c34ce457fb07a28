"""What systemd hears of us: that we live, where its unit asks for that (WatchdogSec=).

One datagram to the socket that systemd names in the environment; without it nothing is said.
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
    """`interval`: so often, in seconds, it is to be fed; None where nobody asks for it."""

    address: str = ""
    interval: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Watchdog:
        """As the environment of this very process says; half of the time that systemd waits."""
        address = environment.get("NOTIFY_SOCKET", "")
        limit = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if not (mine and address.startswith(("/", "@")) and limit.isdecimal() and int(limit)):
            return cls()
        return cls(address, int(limit) / 2e6)

    def feed(self) -> None:
        """Say that we live. A systemd that does not listen is no fault of ours."""
        if self.interval is None:
            return
        with suppress(OSError), socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
            abstract = self.address.startswith("@")
            ours.sendto(b"WATCHDOG=1", f"\0{self.address[1:]}" if abstract else self.address)
