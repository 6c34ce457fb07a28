"""Injected faults of a VM, from the environment variable STRATOVIRT_SIMULATOR.

The docstring of the package describes them.
"""

import fcntl
import os

from . import jsontext
from .refusal import Refusal

VARIABLE = "STRATOVIRT_SIMULATOR"
KNOWN = {
    "start_delay": float,
    "fail": str,
    "fail_starts": int,
    "counter": str,
    "fail_code": int,
    "features": list,
    "arch": str,
    "never_greets": bool,
    "close_after_greeting": bool,
    "garbage": bool,
    "hang_after": int,
    "answer_delay": float,
    "stop_fails": float,
    "ignore_sigterm": bool,
    "ignore_quit": bool,
    "quit_delay": float,
    "ignore_powerdown": bool,
    "guest_ignores_shutdown": bool,
    "guest_ignores_unplug": bool,
    "balloon": bool,
    "hello": str,
    "die_after": float,
    "die_starts": int,
    "die_code": int,
    "die_signal": int,
    "events": str,
}


class Faults:
    """The faults of one VM; by default none."""

    def __init__(self, asked: dict[str, object], name: str) -> None:
        self.asked = asked
        self.name = name
        self.start = self._count() if "counter" in asked else 1

    def _count(self) -> int:
        """Increment the file that counts the starts of the VM; the number of this start."""
        path = str(self.asked["counter"])
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            number = int(os.read(handle, 20) or b"0") + 1
            os.pwrite(handle, str(number).encode(), 0)
        finally:
            os.close(handle)
        return number

    def yes(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self.asked.get(name))

    def seconds(self, name: str) -> float | None:
        """A duration; None if the fault is not set."""
        value = self.asked.get(name)
        return float(value) if isinstance(value, int | float) else None

    def number(self, name: str) -> int | None:
        """An integer; None if the fault is not set."""
        value = self.asked.get(name)
        return int(value) if isinstance(value, int | float) else None

    def text(self, name: str, otherwise: str = "") -> str:
        """A string, or the default."""
        return str(self.asked.get(name, otherwise))

    def names(self, name: str) -> frozenset[str]:
        """A list of names."""
        value = self.asked.get(name)
        return frozenset(map(str, value)) if isinstance(value, list) else frozenset()

    def this_start(self, limit: str) -> bool:
        """Whether a fault that is limited to the first N starts applies to this one."""
        most = self.number(limit)
        return most is None or self.start <= most


def load(name: str | None) -> Faults:
    """The faults of the VM with this `-name`; raises Refusal if they are invalid."""
    source = os.environ.get(VARIABLE, "")
    plain = (name or "").split(",")[0].removeprefix("guest=")
    if source.startswith("@"):
        try:
            with open(source[1:], encoding="utf-8") as file:
                source = file.read()
        except FileNotFoundError:
            source = ""
    if not source.strip():
        return Faults({}, plain)
    table = jsontext.parse(source)
    if not isinstance(table, dict):
        raise Refusal(f"{VARIABLE} must be an object: VM names to faults")
    asked: dict[str, object] = {}
    for key in ("*", plain):
        faults = table.get(key, {})
        if not isinstance(faults, dict):
            raise Refusal(f"{VARIABLE}: the faults of {key!r} must be an object")
        asked.update(faults)
    for key, value in asked.items():
        wanted = KNOWN.get(key)
        numeric = wanted in (int, float) and isinstance(value, int | float)
        if wanted is None or not (numeric or isinstance(value, wanted)):
            raise Refusal(f"{VARIABLE}: unknown fault or wrong value: {key}={value!r}")
    return Faults(asked, plain)
