"""What is not heard is found all the same; who hears nothing does not say that it lives."""

import select
import socket
from pathlib import Path

import pytest

from tests.simulated.site import LIMIT, Site

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.mark.parametrize("what", ["edited", "replaced"])
def test_pain_13_events_that_the_kernel_dropped_lead_to_a_look(tmp_path, what):
    site = Site(tmp_path, reconcile=", resync: 1h")
    site.start()
    try:
        site.drop()
        pid = site.settled("running")["observed"]["pid"]
        folder = site.path / "domains"
        with site.frozen():
            for _ in range(int(QUEUE.read_text()) // 2 + 1):
                (site.path / "busy").touch()  # events of the parent that do not wake the reconciler
                (site.path / "busy").unlink()
            if what == "edited":
                site.drop(state="paused")
            else:  # the news of the watched directory's own end is lost, too
                site.drop(state="paused", file=".a")
                (site.path / "next").mkdir()
                (folder / ".a").rename(site.path / "next" / "a.xml")
                folder.rename(site.path / "before")
                (site.path / "next").rename(folder)
        assert site.settled("paused")["observed"]["pid"] == pid
        site.drop(state="running")
        assert site.settled("running")["observed"]["pid"] == pid
    finally:
        site.close()


def test_pain_13_the_systemd_watchdog_is_notified(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(LIMIT)
        site = Site(tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify"),
                                   "WATCHDOG_USEC": "200000"})
        site.start()
        try:
            for _ in range(3):
                assert systemd.recv(100) == b"WATCHDOG=1"
            with site.frozen():
                while select.select([systemd], [], [], 0)[0]:
                    systemd.recv(100)  # what was said before
                assert not select.select([systemd], [], [], 0.5)[0]
        finally:
            site.close()
