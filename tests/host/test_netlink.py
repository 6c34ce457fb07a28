"""The kernel's reports of changed interfaces and mounts, in namespaces of the test's own."""

from __future__ import annotations

import asyncio
import ctypes
import os

from reconciler.host.netlink import LinkMonitor, MountMonitor, interface_names
from tests.host.test_taps import apart, ip

LIMIT = 30.0


async def heard(make, act, enough):
    """What a monitor reports while `act` runs, until `enough` of that."""
    loop, reports, more = asyncio.get_running_loop(), [], asyncio.Event()

    def changed(*what):
        reports.append(what)
        more.set()

    monitor = make(changed)
    monitor.start(loop)
    try:
        await asyncio.to_thread(act)
        async with asyncio.timeout(LIMIT):
            while not enough(reports):
                more.clear()
                await more.wait()
    finally:
        monitor.close(loop)
    return reports


def test_the_interfaces_that_changed_are_named():
    def test():
        def act():
            ip("tuntap", "add", "tap-a", "mode", "tap")
            ip("link", "set", "tap-a", "master", "br0")
            ip("link", "del", "br0")

        def enough(reports):
            return {"tap-a", "br0"} <= {name for names, in reports for name in names or ()}

        asyncio.run(heard(LinkMonitor, act, enough))

    apart(test)


def test_what_is_not_a_message_about_an_interface_names_none():
    assert list(interface_names(b"")) == []
    assert list(interface_names(b"\0" * 64)) == []
    assert list(interface_names(b"\x20\0\0\0\x10\0" + b"\xff" * 40)) == []


def test_a_mount_is_reported_and_nothing_is_while_nothing_is_mounted(tmp_path):
    def test():
        libc = ctypes.CDLL(None, use_errno=True)

        def mount():
            assert libc.mount(b"none", os.fsencode(tmp_path), b"tmpfs", 0, None) == 0

        assert len(asyncio.run(heard(MountMonitor, mount, bool))) == 1

    apart(test)
