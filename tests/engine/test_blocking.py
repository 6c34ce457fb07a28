"""Rule 8: the event loop waits for no file system that is not the reconciler's own."""

import asyncio
import os
import signal
import sys
import threading

import pytest

from reconciler import samples
from reconciler.stratovirt.recognition import Programs, running_below
from tests.blocking import blocking
from tests.engine.making import Place, running, until
from tests.processes import ROOT
from tests.values import xml


class RealPlace(Place):
    """With what the simulator takes for firmware and disks."""

    def __init__(self, path):
        super().__init__(path, "source: {settle: 10ms}\nprune: {settle: 10ms}\n"
                               "reconcile: {backoff: {initial: 100ms}}\n")
        samples.make(path / "images")

    def drop(self, name, state="stopped", *, disk=True, **values):
        if disk:
            (self.path / "images" / f"{name}.img").write_bytes(b"\0" * 4096)
        fresh = self.path / "fresh"
        fresh.write_bytes(xml(name, state, **values).replace(
            b"fw.fd", b"sample-firmware.fd").replace(
            b"<disk type='file'>", b"<disk type='file'><driver name='qemu' cache='writeback'/>"))
        fresh.replace(self.file(name))


@pytest.fixture
def place(tmp_path):
    yield RealPlace(tmp_path)
    for vm in running_below(tmp_path / "run" / "vms", Programs()):
        os.kill(vm.process.pid, signal.SIGKILL)


async def elsewhere(function, *arguments, **more):
    """What the test itself does to files is done by another thread."""
    await asyncio.to_thread(function, *arguments, **more)


async def test_rule_8_no_path_of_a_domain_or_of_the_source_is_touched_on_the_loop(
        place, monkeypatch):
    with blocking(monkeypatch) as seen:
        async with running(place) as daemon:
            await live(place, daemon)
    assert seen.other == set()
    assert seen.programs  # VMs, which take a few ms; nothing that reads or waits
    assert [words for words in seen.programs if "-qmp" not in words] == []
    ours = {place.path / name for name in ("run", "state", "config.yaml")}
    kernels = {"/proc", "/sys", "/dev/null", "/dev/kvm", "/etc/machine-id"}
    imports = {sys.prefix, sys.base_prefix, ROOT / "reconciler", ROOT / "tests"}
    above = {str(place.path), *map(str, place.path.parents)}  # looked up for their links
    assert seen.paths - seen.below(*ours, *kernels, *imports) - above == set()


async def live(place, daemon):
    """A VM is started, killed, recreated, stopped and removed; another one waits for its disk.

    Among the files is one so large that another process tries to parse it first.
    """
    def states():
        return {c.name: c.state.vm.state.value for c in daemon.domains}

    await elsewhere(place.drop, "a", "running")
    await until(daemon, lambda: states() == {"a": "running"})
    a, = daemon.domains
    before = a.state.vm.pid
    os.kill(before, signal.SIGKILL)
    await until(daemon, lambda: a.state.vm.pid not in (before, None)
                and states() == {"a": "running"})
    await elsewhere(place.drop, "a", "running", memory=256)
    await until(daemon, lambda: a.state.running.domain.memory == 256 << 20)
    disk = place.path / "images" / "b.img"
    await elsewhere(place.drop, "b", "running", disk=False)
    await until(daemon, lambda: any(c.state.attempts.failures.count for c in daemon.domains))
    await elsewhere(place.file("large").write_bytes, b"<domain>" + b"<!-- -->" * 10000)
    await until(daemon, lambda: len(daemon.source.state.rejected) == 1)
    await elsewhere(disk.write_bytes, b"\0" * 4096)
    await until(daemon, lambda: states() == {"a": "running", "b": "running"})
    await elsewhere(place.drop, "a")
    await elsewhere(place.file("b").unlink)
    await until(daemon, lambda: states() == {"a": "absent"})


async def test_rule_2_without_room_for_a_thread_nothing_ends(place, monkeypatch):
    """A limit of tasks (RLIMIT_NPROC, a cgroup's pids.max) is reached for a while."""
    real = threading.Thread.start

    def start(thread):
        if thread.name == "call":
            raise RuntimeError("can't start new thread")
        real(thread)

    async with running(place) as daemon:
        await elsewhere(place.drop, "a", "running")
        await until(daemon, lambda: [c.state.vm.state.value for c in daemon.domains] == ["running"])
        a, = daemon.domains
        pid = a.state.vm.pid
        file = place.file("b")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            os.kill(pid, signal.SIGKILL)
            file.write_bytes(place.file("a").read_bytes())
            daemon.source.wake()
            await until(daemon, lambda: daemon.source.state.error is not None
                        and a.state.attempts.failures.count)
            assert "thread" in str(daemon.source.state.error)
        file.unlink()
        daemon.source.wake()
        await until(daemon, lambda: daemon.source.state.error is None
                    and a.state.vm.pid not in (pid, None))
