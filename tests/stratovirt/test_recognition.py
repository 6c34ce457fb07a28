"""Which process is a VM of ours: real processes that are, and that only say so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from reconciler.stratovirt import process
from reconciler.stratovirt.binary import SIMULATOR
from reconciler.stratovirt.command_line import qmp_argument
from reconciler.stratovirt.process import Process, start_lock_holder, start_time
from reconciler.stratovirt.recognition import (
    Programs,
    executable_of,
    find,
    lock_holders,
    reconciler_of,
    running_below,
    user_of,
)
from reconciler.stratovirt.record import Record, boot_id, save

# A stand-in for a VM: this interpreter, which is one of the programs that VMs are started with.
PROGRAMS = Programs.of([sys.executable])
WAIT = "import time; time.sleep(60)"
STRANGER = 31337  # a user id

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")


@contextmanager
def running(*words, executable=None, user=None):
    """A process with these words for its command line."""
    with subprocess.Popen(words, executable=executable, user=user, cwd="/",
                          stdin=subprocess.DEVNULL) as child:
        try:
            deadline = time.monotonic() + 10
            while not process.command_line(child.pid):  # a moment after the exec
                assert time.monotonic() < deadline
                os.sched_yield()
            yield Process(child.pid, start_time(child.pid))
        finally:
            child.kill()


def vm_words(home):
    return [sys.executable, "-I", "-S", "-c", WAIT, "-uuid", "UUID", "-qmp", qmp_argument(home)]


def spoofed(home):
    """A shell that says it is the VM of this directory."""
    return ["stratovirt", "-c", "sleep 60; true", "-qmp", qmp_argument(home)]


def kept(vm, **values):
    return Record("a", "u", pid=vm.pid, started=vm.started, boot_id=boot_id(), **values)


def test_pain_9_a_process_is_found_by_its_record(tmp_path):
    with running(*vm_words(tmp_path)) as vm:
        assert find(tmp_path, kept(vm), Programs()) == vm


def test_pain_9_a_process_is_found_by_its_command_line(tmp_path):
    with running(*vm_words(tmp_path)) as vm:
        for record in (None, Record("a", "u"), Record("a", "u", pid=vm.pid),
                       Record("a", "u", pid=vm.pid, started=vm.started + 1),
                       Record("a", "u", pid=1, started=1)):
            assert find(tmp_path, record, PROGRAMS) == vm


def test_pain_9_the_process_of_another_directory_is_not_found(tmp_path):
    with running(*vm_words(tmp_path / "other")):
        assert find(tmp_path, None, PROGRAMS) is None


def test_pain_9_a_reused_pid_is_not_found(tmp_path):
    with running("/usr/bin/sleep", "60") as other:
        # Its start time gives it away, its command line, or the boot that it was recorded in.
        assert find(tmp_path, Record("a", "u", pid=other.pid, started=other.started - 1),
                    PROGRAMS) is None
        assert find(tmp_path, kept(other), PROGRAMS) is None
    with running(*vm_words(tmp_path / "other")) as other:
        before = Record("a", "u", pid=other.pid, started=other.started, boot_id="before",
                        foreign=True)
        assert find(tmp_path, before, PROGRAMS) is None


def test_rule_1_a_process_of_another_program_is_not_the_vm(tmp_path):
    with running(*spoofed(tmp_path), executable="/bin/bash") as other:
        assert find(tmp_path, None, PROGRAMS) is None
        assert running_below(tmp_path.parent, PROGRAMS) == []
        # Where the program that is configured is a script, what that executes is not known.
        (tmp_path / "wrapper").write_text("#!/bin/sh\nexec bash\n")
        assert find(tmp_path, None, Programs.of([str(tmp_path / "wrapper")])) == other
        # And what the VM was recorded with counts, whatever is configured now.
        assert find(tmp_path, Record("a", "u", executable=executable_of(other.pid)),
                    Programs()) == other


@needs_root
def test_rule_1_a_process_of_another_user_is_not_the_vm(tmp_path):
    programs = Programs.of(["/bin/bash"])  # which every user may execute
    with running(*spoofed(tmp_path), executable="/bin/bash", user=STRANGER) as other:
        assert user_of(other.pid) == STRANGER
        assert find(tmp_path, None, programs) is None
        assert running_below(tmp_path.parent, programs) == []
    with running("stratovirt", "-c", "sleep 60; true", executable="/bin/bash",
                 user=STRANGER) as other:
        assert find(tmp_path, kept(other, foreign=True, uid=STRANGER + 1), programs) is None
        # Unless it was adopted from that user, or by a version that kept no user.
        for uid in (STRANGER, None):
            assert find(tmp_path, kept(other, foreign=True, uid=uid), programs) == other


def test_a_vm_of_the_simulator_is_recognised_wherever_it_was_installed(tmp_path):
    with running(sys.executable, "-I", "-S", str(SIMULATOR), "-name", "a", "-uuid", "U", "-machine",
                 "none", "-qmp", qmp_argument(tmp_path)) as vm:
        found, = running_below(tmp_path.parent, Programs())
        assert (found.home, found.uuid, found.process) == (tmp_path, "u", vm)


def test_whose_vm_a_process_is_its_lock_says_or_its_record_or_a_lock_holder(tmp_path):
    home = tmp_path / "run" / "vms" / "a"
    home.mkdir(parents=True)
    words = vm_words(home)
    with running(*words) as vm:
        assert reconciler_of(vm.pid, words, lock_holders()) is None
        save(home, kept(vm))
        assert reconciler_of(vm.pid, words, lock_holders()) == tmp_path / "run"
        save(home, Record("a", "u"))
        start_lock_holder(vm, home)
        assert reconciler_of(vm.pid, [], lock_holders()) == tmp_path / "run"
    home = tmp_path / "run" / "vms" / "b"
    home.mkdir()
    vm = process.launch(vm_words(home), home)
    try:
        assert reconciler_of(vm.pid, [], {}) == tmp_path / "run"
    finally:
        os.kill(vm.pid, 9)
        os.waitpid(vm.pid, 0)
