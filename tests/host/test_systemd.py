"""Watchdog notifications to systemd."""

import os
import socket

import pytest

from reconciler.host.systemd import Watchdog

OFF = Watchdog()


@pytest.mark.parametrize("environment", [
    {}, {"NOTIFY_SOCKET": "/run/x"}, {"WATCHDOG_USEC": "1000000"},
    {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"},
    {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
    {"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "1000000"},
    {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}], ids=str)
def test_without_a_request_nothing_is_sent(environment):
    assert Watchdog.of(environment) == OFF
    Watchdog.of(environment).feed()


@pytest.mark.parametrize("abstract", [False, True])
def test_pain_13_it_is_fed_twice_as_often_as_it_asks(tmp_path, abstract):
    address = f"@reconciler-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{address[1:]}" if abstract else address)
        systemd.settimeout(5)
        watchdog = Watchdog.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000",
                                "WATCHDOG_PID": str(os.getpid())})
        assert watchdog.interval == 30.0
        watchdog.feed()
        assert systemd.recv(100) == b"WATCHDOG=1"
    watchdog.feed()  # without a receiver, errors are ignored
