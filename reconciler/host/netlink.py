"""Changes of the host's network interfaces and mounts, as the kernel reports them.

Only wake-ups: which interfaces may have changed, or that something was mounted. What is really so
is read afterwards, from sysfs (links.py) and the file system.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_IFLA_IFNAME = 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_LINK_HEADER = 16  # bytes of ifinfomsg
_ATTRIBUTE = struct.Struct("=HH")  # rtattr
_LARGEST = 1 << 16
_BUFFER = 1 << 20  # bytes that the kernel keeps while the loop is busy
_MOUNTS = "/proc/self/mountinfo"


class LinkMonitor:
    """Calls `changed` with the names of interfaces, or None if any may have changed.

    Raises OSError where the kernel gives no such socket.
    """

    def __init__(self, changed: Callable[[frozenset[str] | None], None]) -> None:
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                                     socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, _RTMGRP_LINK))

    def start(self, loop: AbstractEventLoop) -> None:
        """Deliver changes from now on."""
        loop.add_reader(self._socket, self._receive)

    def close(self, loop: AbstractEventLoop) -> None:
        """End it."""
        loop.remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        names: set[str] = set()
        with suppress(BlockingIOError):
            while True:
                try:
                    names.update(interface_names(self._socket.recv(_LARGEST)))
                except BlockingIOError:
                    raise
                except OSError:  # ENOBUFS: the kernel dropped messages
                    self._changed(None)
        if names:
            self._changed(frozenset(names))


def interface_names(data: bytes) -> Iterator[str]:
    """The names in the RTM_NEWLINK and RTM_DELLINK messages of one datagram of rtnetlink(7)."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        if kind in (_RTM_NEWLINK, _RTM_DELLINK):
            yield from _names_of(data[at + _HEADER.size + _LINK_HEADER:at + length])
        at += _aligned(length)


def _names_of(attributes: bytes) -> Iterator[str]:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if length < _ATTRIBUTE.size:
            return
        if kind == _IFLA_IFNAME:
            yield os.fsdecode(attributes[at + _ATTRIBUTE.size:at + length].rstrip(b"\0"))
        at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


class MountMonitor:
    """Calls `changed` after something was mounted or unmounted; raises OSError without /proc."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._mounts = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        # The file is always readable; a change of the mounts is an exceptional condition of it,
        # which asyncio does not wait for.
        self._epoll = select.epoll()
        self._epoll.register(self._mounts, select.EPOLLPRI)

    def start(self, loop: AbstractEventLoop) -> None:
        """Deliver changes from now on."""
        self._epoll.poll(0)
        loop.add_reader(self._epoll.fileno(), self._receive)

    def close(self, loop: AbstractEventLoop) -> None:
        """End it."""
        loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        os.close(self._mounts)

    def _receive(self) -> None:
        # The loop's own look has consumed the condition, so that this finds nothing any more; it
        # only takes the file from the list of those that are ready.
        self._epoll.poll(0)
        self._changed()
