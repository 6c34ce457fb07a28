"""A VM's lock and the report of its end, with real processes in place of StratoVirt."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from reconciler.domain.policy import StopMode
from reconciler.errors import LockTaken, StartFailed, StopFailed
from reconciler.host.cgroup import OomKills
from reconciler.host.notify import Notifier
from reconciler.stratovirt import process
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.command_line import qmp_argument
from reconciler.stratovirt.observation import ExitEvidence, VmState
from reconciler.stratovirt.prepare import HostResources, StartRequest
from reconciler.stratovirt.record import RECORD, Record, boot_id, load, save
from reconciler.stratovirt.vm import Shared, VirtualMachine
from tests.domain.making import read

LIMIT = 5.0
SLEEP = "import time; time.sleep(60)"
LOCK_AND_WAIT = """import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
"""


class Owner:
    """Owns the task of a VM and listens to it, as the engine does."""

    def __init__(self, home):
        self.ended = asyncio.get_running_loop().create_future()
        self.failures = []
        self.vm = VirtualMachine(home, "u", self, Shared(Notifier(), OomKills(home), self.spawn))

    def spawn(self, work, name):
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._done)
        return task

    def _done(self, task):
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception())

    def on_event(self, name, data):
        pass

    def on_disconnect(self):
        pass

    def on_end(self, evidence, *, requested):
        self.ended.set_result((evidence, requested))

    async def end(self):
        async with asyncio.timeout(LIMIT):
            found = await self.ended
            await asyncio.sleep(0)  # the task's own callback comes after the report
            return found


@contextmanager
def locked_by_another(home):
    home.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", LOCK_AND_WAIT, str(home / process.LOCK)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        yield other.pid
        other.stdin.close()


@pytest.fixture
def launched(tmp_path):
    """A process that holds the VM's lock."""
    vm = process.launch([sys.executable, "-I", "-S", "-c", SLEEP, "-qmp", qmp_argument(tmp_path)],
                        tmp_path)
    yield vm
    process.send_signal(vm, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(vm.pid, 0)


def request():
    domain = read()
    return StartRequest(domain, b"", lay_out(domain, {}, 0), ["/no/such"], paused=False,
                        generation=1, read_with={})


async def test_a_lock_that_another_process_holds_is_a_typed_error(tmp_path):
    vm = Owner(tmp_path).vm
    save(tmp_path, Record("a", "u"))
    with locked_by_another(tmp_path) as pid:
        with pytest.raises(LockTaken) as caught:
            vm.launch(request(), HostResources(), "now")
        assert str(caught.value) == f"another process holds the lock of this VM (pid {pid})"
        assert caught.value.reason == "Conflict"
    assert load(tmp_path) == Record("a", "u")  # of the process that holds the lock


async def test_a_vm_whose_lock_another_process_holds_is_unknown_and_not_stopped(tmp_path):
    vm = Owner(tmp_path).vm
    with locked_by_another(tmp_path) as pid:
        found = await vm.observe()
        assert (found.state, found.pid, found.reason) == (VmState.UNKNOWN, None, "Conflict")
        assert found.problem == f"another process holds the lock of this VM (pid {pid})"
        with pytest.raises(StopFailed, match="it was not stopped"):
            await vm.stop(StopMode.FORCE, 0.0)
    assert (await vm.observe()).state is VmState.ABSENT


async def test_the_end_is_reported_though_the_record_cannot_be_saved(tmp_path, launched):
    save(tmp_path, Record("a", "u", pid=launched.pid, started=launched.started))
    owner = Owner(tmp_path)
    assert owner.vm.adopt()
    (tmp_path / f".{RECORD}.new").mkdir()  # the file that replaces the record cannot be written
    process.send_signal(launched, signal.SIGKILL)
    evidence, requested = await owner.end()
    assert (evidence.signal, requested) == (signal.SIGKILL, False)
    assert owner.vm.process is None
    assert owner.failures == []  # a full disk is not a bug of the program


async def test_the_end_is_reported_though_cleaning_up_fails(tmp_path, launched):
    save(tmp_path, Record("a", "u", pid=launched.pid, started=launched.started, foreign=True,
                          boot_id=boot_id()))
    owner = Owner(tmp_path)
    assert owner.vm.adopt()
    (tmp_path / process.LOCK).unlink()
    (tmp_path / process.LOCK).mkdir()  # it cannot be opened as a lock any more
    process.send_signal(launched, signal.SIGKILL)
    evidence, _ = await owner.end()
    assert evidence == ExitEvidence(signal=signal.SIGKILL)
    assert owner.vm.process is None
    assert [type(failure) for failure in owner.failures] == [IsADirectoryError]


async def test_a_directory_that_another_domain_removes_meanwhile_fails_no_start(tmp_path):
    """A domain that had this name is forgotten while the start of the new one is prepared."""
    home = tmp_path / "a"
    home.mkdir()
    save(home, Record("a", "u"))
    old, new = Owner(home).vm, VirtualMachine(
        home, "other", Owner(home),
        Shared(Notifier(), OomKills(home), lambda work, name: None))
    new.prepare(replace(request(), simulated=True))
    old.forget()
    assert not home.exists()
    with pytest.raises(StartFailed, match="/no/such"):  # it got as far as its program
        new.launch(request(), HostResources(), "now")
