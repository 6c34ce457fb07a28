"""Addresses of host names, for the probes of guests.

A lookup takes as long as the name servers like, and cannot be ended. So each name is looked up
by one thread at a time, whatever the number of those that ask, and there are only so many threads.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from reconciler.host.workers import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 64  # names that are looked up at the same time


class Names:
    """Looks up names, in threads of its own."""

    def __init__(self) -> None:
        self._threads = DaemonThreads()
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._slots = asyncio.Semaphore(_MOST)

    async def addresses(self, host: str) -> Sequence[str]:
        """The addresses of a name; raises OSError or UnicodeError. A caller may give up waiting."""
        lookup = self._under_way.get(host)
        if lookup is None:
            lookup = self._under_way[host] = asyncio.create_task(self._look_up(host))
            lookup.add_done_callback(lambda done: self._ended(host, done))
        return await asyncio.shield(lookup)

    async def _look_up(self, host: str) -> Sequence[str]:
        async with self._slots:
            return await asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host)

    def _ended(self, host: str, done: asyncio.Task[Sequence[str]]) -> None:
        del self._under_way[host]
        if not done.cancelled():
            done.exception()  # those who wait get it, if there still are any


def _addresses(host: str) -> Sequence[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
