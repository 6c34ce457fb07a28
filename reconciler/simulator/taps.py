"""The taps that the machine's network devices use, as hotplug.py and devices.py take them.

No tap is opened: an abstract socket marks it as in use among simulated machines.
"""

import os
import socket
from typing import TYPE_CHECKING

from .refusal import Refusal

if TYPE_CHECKING:
    from .logs import Log


class Taps:
    """One machine's taps, by name."""

    def __init__(self, log: "Log") -> None:
        self._log = log
        self._marks: dict[str, socket.socket] = {}

    def take(self, name: str) -> None:
        """Use a tap: a missing one is only a warning, one in use is refused."""
        if not name:
            return
        folder = f"/sys/class/net/{name}"
        there = os.path.isdir(folder)
        is_tap = os.path.exists(f"{folder}/tun_flags")
        if not is_tap:
            self._log.write_warning("Tap interface does not exist")
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        reason = "Invalid argument (os error 22)" if there and not is_tap else ""
        try:
            mark.bind(f"\0stratovirt-simulator-tap-{name}")
        except OSError:
            reason = "Device or resource busy (os error 16)"
        if reason:
            mark.close()
            raise Refusal(
                "Failed to open tap with file path",
                f"Failed to create tap with name {name}, index is 0",
                f"Failed to set tap ifr flags, error is {reason}",
            )
        self._marks[name] = mark

    def release(self, name: str) -> None:
        """Release a tap, if it is used."""
        mark = self._marks.pop(name, None)
        if mark:
            mark.close()
