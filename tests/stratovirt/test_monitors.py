"""A connect to the second monitor updates the access time of its socket."""

import os
import socket
import time
from contextlib import contextmanager

import pytest

from reconciler.stratovirt.command_line import MONITOR_SOCKET
from reconciler.stratovirt.monitors import ClientDetector, access_times_work


@contextmanager
def listening(home):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / MONITOR_SOCKET))
        listener.listen(4096)
        yield


def connect(home):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(home / MONITOR_SOCKET))


@pytest.fixture
def home(tmp_path):
    if not access_times_work(tmp_path):
        assert os.environ.get("CI") != "true", "no access times here"
        pytest.skip(f"{tmp_path} is on a file system without access times")
    return tmp_path


def test_every_connect_shows_once(home):
    monitor = ClientDetector(home)
    with listening(home):
        monitor.arm()
        assert not monitor.client_seen()
        connect(home)
        assert monitor.client_seen()
        assert not monitor.client_seen()
        # The next one too, although the access time is fresh; it counts in the kernel's ticks.
        end = time.monotonic() + 2
        connect(home)
        while not monitor.client_seen():
            assert time.monotonic() < end
            connect(home)
        monitor.arm()
        connect(home)
        assert monitor.client_seen()


def test_a_look_at_it_is_no_connect(home):
    monitor = ClientDetector(home)
    with listening(home):
        monitor.arm()
        os.stat(home / MONITOR_SOCKET)
        os.listdir(home)
        assert not monitor.client_seen()


def test_before_it_is_armed_nothing_shows(home):
    monitor = ClientDetector(home)
    with listening(home):
        connect(home)
        assert not monitor.client_seen()


def test_a_socket_that_has_gone_shows_nothing(home):
    monitor = ClientDetector(home)
    monitor.arm()
    assert not monitor.client_seen()
    with listening(home):
        monitor.arm()
    (home / MONITOR_SOCKET).unlink()
    assert not monitor.client_seen()


def test_the_probe_leaves_nothing_and_can_be_done_again(home):
    assert access_times_work(home)
    assert os.listdir(home) == []
