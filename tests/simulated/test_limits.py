"""Running out of what the kernel limits stops no VM, and is said."""

import os
import signal
import subprocess
import sys

import pytest

from tests.simulated.site import REAL, Site, ready

pytestmark = pytest.mark.skipif(bool(REAL), reason="StratoVirt needs /dev/kvm in the namespace")
LIMITED = """
import os, sys
open('/proc/sys/user/max_inotify_{}', 'w').write('{}')
os.execv(sys.executable, [sys.executable, '-m', 'reconciler', *sys.argv[1:]])
"""


class Limited(Site):
    """Its reconciler runs in a user namespace with a limit of its own."""

    limit = ("instances", 0)

    def start(self):
        with (self.path / "log").open("ab") as log:
            self.reconciler = subprocess.Popen(
                ["unshare", "-Ur", sys.executable, "-c", LIMITED.format(*self.limit), "-c",
                 str(self.config), "run"], env={**os.environ, **self.env}, stdout=log, stderr=log)


@pytest.mark.parametrize("limit", [("instances", 0), ("instances", 1), ("watches", 0),
                                   ("watches", 3)], ids=lambda limit: f"{limit[1]} {limit[0]}")
def test_rule_2_without_inotify_files_are_polled_and_every_vm_runs(tmp_path, limit):
    site = Limited(tmp_path)
    site.limit = limit
    site.start()
    try:
        site.drop()
        pid = site.settled("running")["observed"]["pid"]
        if limit == ("watches", 3):  # enough for the source, not for the sockets of VMs
            assert "sysctl fs.inotify.max_user_watches" in site.events("host.limited")[0]["message"]
        else:
            value = site.until(lambda v: v["reconciler"]["watcher"] == "polling")
            assert "sysctl fs.inotify.max_user_" in value["source"]["remark"]
            assert "sysctl fs.inotify.max_user_" in site.verb("status").stdout
        site.drop(memory=256)
        again = site.domain(lambda d: ready(d) and d["observed"]["memoryBytes"] == 256 << 20)
        assert again["observed"]["pid"] != pid
        assert len(site.events("domain.starting")) == 2
        assert not site.events("action.failed", "domain.rolledback", "source.failed")
        site.drop("b")
        site.settled("running", "b")
        site.kill()
        site.start()
        assert site.settled("running")["observed"]["pid"] == again["observed"]["pid"]
    finally:
        site.close()


def test_a_shortage_that_is_over_is_not_said_any_more(tmp_path):
    site = Site(tmp_path)
    site.start()
    try:
        site.drop()
        site.settled("running")
        value = site.until(lambda v: v["domains"])
        assert (value["reconciler"]["watcher"], value["source"]["remark"]) == ("inotify", "")
    finally:
        site.close()


def test_rule_2_a_log_on_a_full_disk_stops_nothing(tmp_path):
    site = Site(tmp_path, more="log: {file: /dev/full, format: text}")
    site.start()
    try:
        site.drop()
        site.put("\udcff.xml", b"<domain>")  # a name that is not UTF-8
        pid = site.settled("running")["observed"]["pid"]
        os.kill(pid, signal.SIGKILL)
        site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, pid))
        assert site.kill(signal.SIGTERM) == 0
        assert site.events("reconciler.stopped")
    finally:
        site.close()


def test_rule_2_a_hang_up_ends_nothing_and_names_what_a_restart_would_change(tmp_path):
    site = Site(tmp_path, more="log: {file: the.log}")
    site.start()
    try:
        site.drop()
        pid = site.settled("running")["observed"]["pid"]
        (tmp_path / "the.log").rename(tmp_path / "the.log.1")
        site.config.write_text(site.config.read_text() + "http: {listen: null}\n"
                               "history: {keep: 3}\n")
        os.kill(site.reconciler.pid, signal.SIGHUP)
        site.waits(lambda: site.events("config.read"), "the configuration to be read again")
        assert site.events("config.read")[0]["message"] == "changed since the start: history.keep"
        site.waits(lambda: "config.read" in (tmp_path / "the.log").read_text(), "the new log")
        site.config.write_text("no: [")
        os.kill(site.reconciler.pid, signal.SIGHUP)
        site.waits(lambda: site.events("config.invalid"), "the configuration to be refused")
        assert site.settled("running")["observed"]["pid"] == pid
    finally:
        site.close()
