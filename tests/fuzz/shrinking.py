"""A failing file, made as small as it goes: pieces are cut out as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable

_TRIES = 3000


def smallest(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    tries, size = 0, len(data) // 2
    while size and tries < _TRIES:
        at, cut = 0, False
        while at < len(data) and tries < _TRIES:
            shorter = data[:at] + data[at + size:]
            tries += 1
            if fails(shorter):
                data, cut = shorter, True
            else:
                at += size
        if not cut:
            size //= 2
    return data
