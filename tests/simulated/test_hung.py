"""Rule 8: a file system that does not answer costs the domains on it, or the source, and no more.

The waits are real: nothing ends a process that waits for the answer.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.hung import hung, remote
from tests.simulated.site import Site, condition

STALE = "StorageTimeout"
QUICK = 4.0  # seconds; a path that does not answer is given up after 5


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path, reconcile=", concurrency: 2")
    (tmp_path / "nfs").mkdir()
    found.start()
    yield found
    found.close()


@pytest.fixture
def nfs(site):
    with hung(site.path / "nfs") as found:
        yield found


def on_nfs(site, name):
    """A domain with its disk on the file system that hangs."""
    disk = site.path / "nfs" / f"{name}.img"
    site.drop(name, devices=f"<disk type='file'><source file='{disk}'/>"
                            "<target dev='vdb' bus='virtio'/></disk>")


def threads_that_hang():
    found = []
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*/wchan"):
        try:
            if task.read_text().startswith(("request_wait_answer", "d_alloc_parallel")):
                found.append(task)
        except OSError:
            continue
    return found


def ends(site):
    """SIGTERM ends the reconciler in time, whatever hangs."""
    with site.quickly():
        assert site.kill(signal.SIGTERM) == 0


def restarted(site, name):
    """The VM is killed; it comes back at once."""
    before = site.settled("running", name)["observed"]["pid"]
    with site.quickly(QUICK):
        os.kill(before, signal.SIGKILL)
        site.domain(lambda d: d["observed"]["state"] == "running"
                    and d["observed"]["pid"] != before, name)


def test_rule_8_domains_whose_disks_do_not_answer_delay_no_other(site, nfs):
    site.drop("before")
    site.settled("running", "before")
    names = ["h1", "h2", "h3"]
    for name in names:
        on_nfs(site, name)
    with site.quickly(QUICK):
        site.drop("new")
        site.settled("running", "new")
    restarted(site, "before")
    for name in names:
        found = site.domain(lambda d: STALE in str(d["conditions"]), name)
        assert f"{site.path}/nfs/{name}.img does not answer since " in str(found["conditions"])
    for _ in range(3):
        with site.quickly(QUICK):
            assert site.verb("sync").returncode == 0
    assert 1 <= len(threads_that_hang()) <= len(names)  # however often they are looked at
    restarted(site, "before")
    with site.quickly(QUICK):
        assert site.verb("stop", "new", "--no-wait").returncode == 0
        site.settled("absent", "new")
    nfs.release()
    for name in names:  # what is below the mount point is another file system
        (site.path / "nfs" / f"{name}.img").write_bytes(b"\0" * 4096)
    with site.quickly(QUICK):
        for name in names:
            site.settled("running", name)


def test_rule_8_the_reconciler_ends_and_starts_although_a_path_hangs(site, nfs):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    on_nfs(site, "h")
    site.domain(lambda d: STALE in str(d["conditions"]), "h")
    ends(site)
    assert site.verb("run", "--once").returncode == 1  # ends, too, and says that not all is well
    site.start()
    site.domain(lambda d: STALE in str(d["conditions"]), "h")
    assert site.settled("running")["observed"]["pid"] == pid
    ends(site)


def test_rule_8_vms_are_kept_while_the_watched_directory_does_not_answer(site):
    site.drop()
    site.settled("running")
    with hung(site.path / "domains") as source:
        restarted(site, "a")
        with site.quickly(QUICK):
            site.verb("sync")
        found = site.until(lambda v: STALE in str(v["source"]["conditions"]))
        assert f"{site.path}/domains does not answer since " in str(found["source"]["conditions"])
        restarted(site, "a")
        with site.quickly(QUICK):
            assert site.verb("hold", "a", "--reason", "test").returncode == 0
            site.domain(lambda d: condition(d, "Held"))
            assert site.verb("release", "a").returncode == 0
        assert site.verb("status").returncode != 0  # the source is not as it should be
        ends(site)
        site.start()
        site.until(lambda v: STALE in str(v["source"]["conditions"]))
        restarted(site, "a")
        source.release()
        site.drop("b")
        with site.quickly(QUICK):
            site.settled("running", "b")
    ends(site)


def test_rule_8_a_file_that_is_a_link_to_what_does_not_answer_hangs_nothing_else(site, nfs):
    site.drop()
    site.settled("running")
    (site.path / "domains" / "b.xml").symlink_to(site.path / "nfs" / "b.xml")
    found = site.until(lambda v: STALE in str(v["source"]["conditions"]))
    assert f"{site.path}/domains/b.xml does not answer since " in str(found["source"]["conditions"])
    restarted(site, "a")
    ends(site)


def test_pain_13_a_directory_that_another_host_changes_is_polled(tmp_path):
    site = Site(tmp_path)
    server = tmp_path / "server"
    server.mkdir()
    try:
        with remote(tmp_path / "domains", server) as nfs:
            site.start()
            put_on(server, site)
            site.settled("running")
            value = site.until(lambda v: v["reconciler"]["watcher"] == "polling")
            assert "fuse.remote" in str(value["source"])
            with site.quickly():
                put_on(server, site, memory=256)
                site.domain(lambda d: d["observed"].get("memoryBytes") == 256 << 20)
            nfs.hang()  # in the middle
            site.until(lambda v: STALE in str(v["source"]["conditions"]))
            restarted(site, "a")
            ends(site)
    finally:
        site.close()


def put_on(server, site, **values):
    """A domain file comes to the server; the kernel of this host is told nothing."""
    site.drop(file="../fresh.xml", **values)
    (site.path / "fresh.xml").replace(server / "a.xml")
