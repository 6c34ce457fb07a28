"""Durations, sizes and times as users write and see them. Used by every layer."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 1 << 20
_DIGITS = 12  # of a commit: enough to be unique
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_UNIT = re.compile(r"([kmgtpe]?)(|b|ib|byte|bytes)", re.IGNORECASE | re.ASCII)


def seconds(text: str) -> float:
    """A duration such as 500ms, 10s, 5m, 1h, 2d in seconds; raises ValueError."""
    match = _DURATION.fullmatch(text.strip(" \t\r\n"))
    if match is None:
        message = f"{text!r} is not a duration (accepted: 500ms, 10s, 5m, 1h, 2d)"
        raise ValueError(message)
    return int(match[1]) * _SECONDS[match[2]]


def write_seconds(value: float) -> str:
    """The inverse of `seconds`, rounded to a millisecond."""
    for unit in ("d", "h", "m", "s"):
        count = value / _SECONDS[unit]
        if value and count.is_integer():
            return f"{int(count)}{unit}"
    return f"{round(value * 1000)}ms" if value else "0s"


def timestamp(seconds: float | None = None) -> str:
    """A time (seconds since 1970, default now) in UTC with milliseconds, as in all output."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unit_bytes(unit: str) -> int:
    """The bytes of libvirt's unit: K and KiB 1024, KB 1000, in any case; raises ValueError."""
    match = _UNIT.fullmatch(unit)
    if match is None or not unit or (not match[1] and match[2].lower() == "ib"):
        message = f"{unit!r} is not a unit (accepted: b, bytes, KiB, MiB, GiB, TiB, KB, MB, GB)"
        raise ValueError(message)
    prefix, suffix = match[1].lower(), match[2].lower()
    if prefix and suffix in ("byte", "bytes"):
        message = f"{unit!r} is not a unit (accepted: b, bytes, KiB, MiB, GiB, TiB, KB, MB, GB)"
        raise ValueError(message)
    return int((1000 if suffix == "b" and prefix else 1024) ** _POWERS[prefix])


def show_bytes(count: int) -> str:
    """Bytes in the largest binary unit that gives a whole number: 2 GiB, 1536 MiB, 100 bytes."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count and count % (1 << power) == 0:
            return f"{count >> power} {unit}"
    return f"{count} bytes"


def show_seconds(value: float) -> str:
    """Seconds, rounded to a readable unit: 340 ms, 31 s, 4 min, 2 h, 3 d."""
    if value < 1:
        return f"{round(value * 1000)} ms"
    for size, unit in ((172800, "d"), (7200, "h"), (120, "min")):
        if value >= size:
            return f"{round(value / (size / 2 if size != 120 else 60))} {unit}"
    return f"{round(value)} s"


def nearest(name: str, accepted: Iterable[str]) -> str:
    """'; did you mean 'x'?' for the nearest accepted name, or an empty text."""
    near = difflib.get_close_matches(name, list(accepted), 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def show_revision(revision: str) -> str:
    """A revision for tables and messages: the first 12 digits of a commit."""
    ref, mark, commit = revision.rpartition("@sha1:")
    return f"{ref}@{commit[:_DIGITS]}" if mark else revision
