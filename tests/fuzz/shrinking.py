"""A failing file, made as small as it goes: pieces are cut out as long as it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 20.0  # what fails by being slow is slow to shrink


def smallest(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    until, size = time.monotonic() + _SECONDS, len(data) // 2
    while size and time.monotonic() < until:
        at, cut = 0, False
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + size:]
            if fails(shorter):
                data, cut = shorter, True
            else:
                at += size
        if not cut:
            size //= 2
    return data
