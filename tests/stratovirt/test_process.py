"""The process of a VM: its lock, finding it again, its end, its error message."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from reconciler.errors import LockTaken, StartFailed
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import qmp_argument
from reconciler.stratovirt.process import Ended, Process

# A stand-in for a VM: runs until it gets the command to end, and prints when it does.
CODE = "import signal, sys; signal.sigwait([signal.SIGUSR1]); sys.exit({})"


def program(home, code=3, *more):
    return [sys.executable, "-I", "-S", "-c", CODE.format(code), "-qmp", qmp_argument(home), *more]


@pytest.fixture
def launch(tmp_path):
    begun = []

    def launched(*words):
        # SIGUSR1 is blocked before the start, so that none is ever lost.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        try:
            begun.append(process.launch(words or program(tmp_path), tmp_path))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        return begun[-1]

    yield launched
    for vm in begun:
        process.send_signal(vm, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(vm.pid, 0)


def end(vm, number=signal.SIGUSR1):
    process.send_signal(vm, number)
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, vm.pid, os.WEXITED | os.WNOWAIT)


def test_pain_9_rule_1_the_vm_itself_holds_the_lock(launch, tmp_path):
    assert not process.locked(tmp_path)
    vm = launch()
    # Our own descriptor is closed already: the kernel keeps it for the child alone.
    ours = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")]
    assert str(tmp_path / process.LOCK) not in ours
    assert process.locked(tmp_path)
    end(vm)
    assert not process.locked(tmp_path)


def test_a_second_process_is_refused_while_one_lives(launch, tmp_path):
    vm = launch()
    (tmp_path / "stderr").write_text("of the first")
    with pytest.raises(LockTaken, match=rf"another process holds the lock .* \(pid {vm.pid}\)"):
        launch()
    assert (tmp_path / "stderr").read_text() == "of the first"
    end(vm)
    launch()


def test_a_vm_has_a_session_of_its_own_and_no_input(launch, tmp_path):
    vm = launch()
    assert os.getsid(vm.pid) == vm.pid
    assert os.readlink(f"/proc/{vm.pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{vm.pid}/cwd") == "/"
    assert os.readlink(f"/proc/{vm.pid}/fd/2") == str(tmp_path / "stderr")


def test_sockets_of_a_killed_vm_are_taken_away_before_the_start(launch, tmp_path):
    for name in ("qmp.sock", "monitor.sock"):
        (tmp_path / name).touch()
    launch()
    assert not (tmp_path / "qmp.sock").exists()
    assert not (tmp_path / "monitor.sock").exists()


def test_pain_16_a_program_that_is_not_there_fails_the_start_and_holds_nothing(tmp_path):
    with pytest.raises(StartFailed, match=r"/no/such: No such file"):
        process.launch(["/no/such"], tmp_path)
    assert not process.locked(tmp_path)


def exec_done(vm):
    """Its words, which the kernel has a moment after the exec."""
    deadline = time.monotonic() + 10
    while not process.command_line(vm.pid):
        assert time.monotonic() < deadline
        os.sched_yield()
    return process.command_line(vm.pid)


def test_pain_9_a_reused_pid_is_not_signalled():
    with subprocess.Popen(["sleep", "60"]) as other:
        exec_done(other)
        started = process.start_time(other.pid)
        process.send_signal(Process(other.pid, started - 1), signal.SIGKILL)
        assert other.poll() is None
        process.send_signal(Process(other.pid, started), signal.SIGKILL)
        assert other.wait() == -signal.SIGKILL


async def test_waiting_for_a_reused_pid_ends_at_once():
    assert await process.ended(Process(os.getpid(), 1)) == Ended()


def test_a_missing_process_has_no_start_time_and_no_command_line():
    gone = 2**22  # beyond any pid
    assert process.start_time(gone) is None
    assert process.command_line(gone) == []
    process.send_signal(Process(gone, 1), signal.SIGKILL)


def test_a_zombie_counts_as_ended(launch):
    vm = launch()
    assert process.start_time(vm.pid) == vm.started
    end(vm)
    assert process.start_time(vm.pid) is None


def test_the_command_line_comes_whole(launch, tmp_path):
    vm = launch(*program(tmp_path, 0, "two words", "", "ä"))
    assert exec_done(vm)[-3:] == ["two words", "", "ä"]


async def test_pain_19_the_exit_status_of_a_child_is_reported(launch):
    vm = launch()
    waiting = asyncio.create_task(process.ended(vm))
    await asyncio.sleep(0)
    process.send_signal(vm, signal.SIGUSR1)
    assert await waiting == Ended(code=3)
    with pytest.raises(ChildProcessError):  # it was reaped
        os.waitpid(vm.pid, os.WNOHANG)


async def test_the_signal_that_ended_a_child_is_reported(launch):
    vm = launch()
    waiting = asyncio.create_task(process.ended(vm))
    await asyncio.sleep(0)
    process.send_signal(vm, signal.SIGKILL)
    assert await waiting == Ended(signal=signal.SIGKILL)


async def test_an_end_before_the_wait_is_seen_too(launch):
    vm = launch()
    end(vm)
    assert await process.ended(vm) == Ended(code=3)
    assert await process.ended(vm) == Ended()


async def test_the_end_of_an_adopted_process_is_seen_but_not_how(tmp_path):
    """Not our child: an earlier reconciler started it (rule 2)."""
    parent = subprocess.Popen(
        [sys.executable, "-c", ("import subprocess as s; p = s.Popen(['sleep', '60']); "
         "print(p.pid, flush=True); p.wait(); print('over', flush=True); input()")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        pid = int(parent.stdout.readline())
        vm = Process(pid, process.start_time(pid))
        waiting = asyncio.create_task(process.ended(vm))
        await asyncio.sleep(0)
        assert not waiting.done()
        process.send_signal(vm, signal.SIGKILL)
        async with asyncio.timeout(5):
            assert await waiting == Ended()
        parent.stdin.write("\n")


async def test_a_cancelled_wait_leaves_nothing_behind(launch):
    vm = launch()
    before = len(os.listdir("/proc/self/fd"))
    waiting = asyncio.create_task(process.ended(vm))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(os.listdir("/proc/self/fd")) == before


async def test_an_end_is_seen_though_no_file_descriptor_was_free(launch):
    vm = launch()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(used)]  # no gap below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(spare[-1], used) + 1, limits[1]))
    try:
        waiting = asyncio.create_task(process.ended(vm))
        await asyncio.sleep(0)
        assert not waiting.done()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for handle in spare:
            os.close(handle)
    process.send_signal(vm, signal.SIGKILL)
    async with asyncio.timeout(5):
        assert await waiting == Ended(signal=signal.SIGKILL)


LOG = """2024-05-06T07:08:09.123456789: [77][77][machine/src/lib.rs:1650]:WARN: something else
2024-05-06T07:08:09.2: [77][77][src/main.rs:112]:ERROR: Failed to realize standard VM.
"""
NUMBERED = """
Caused by:
    0: Failed to prepare boot source.
    1: Failed to open kernel file vmlinux: x
    2: No such file or directory (os error 2)

Stack backtrace:
   0: anyhow::error::<impl core::convert::From<E> for anyhow::Error>::from
             at /root/.cargo/anyhow/src/error.rs:565:25
   1: main
"""
ONE = """Error: Failed to parse cmdline.

Caused by:
    current memory size (1048576 bytes) and maxmem (1048576 bytes) should in range of [134217728, \
549755813888] bytes.

Stack backtrace:
   0: <unknown>
"""


@pytest.mark.parametrize(("text", "reason"), [
    (LOG + NUMBERED, ("Failed to prepare boot source.; Failed to open kernel file vmlinux: x; "
                     "No such file or directory (os error 2)")),
    (ONE, ("current memory size (1048576 bytes) and maxmem (1048576 bytes) should in range of "
          "[134217728, 549755813888] bytes.")),
    (ONE + LOG + ONE, ("current memory size (1048576 bytes) and maxmem (1048576 bytes) should in "
                      "range of [134217728, 549755813888] bytes.")),
    (ONE.partition("\n\nStack")[0], ("current memory size (1048576 bytes) and maxmem (1048576 "
                                    "bytes) should in range of [134217728, 549755813888] bytes.")),
    ("error: Found argument '-bogus' which wasn't expected, or isn't valid in this context\n\n",
     "error: Found argument '-bogus' which wasn't expected, or isn't valid in this context"),
    ("Error: no luck\n\nStack backtrace:\n   0: main\n   1: start\n", "Error: no luck"),
    ("Stack backtrace:\n   0: main\n", "it exited without an error message"),
    ("", "it exited without an error message"), ("\n \n", "it exited without an error message"),
    ("\nCaused by:\n", "Caused by:"),
], ids=["numbered", "one", "twice", "cut-off", "clap", "backtrace", "only-backtrace", "empty",
        "blank", "empty-cause"])
def test_the_reason_of_a_failed_start_is_stratovirts_own(tmp_path, text, reason):
    (tmp_path / "stderr").write_text(text)
    assert process.exit_reason(tmp_path) == reason


def test_the_reason_is_found_behind_a_long_log_and_in_any_bytes(tmp_path):
    (tmp_path / "stderr").write_bytes(b"\xff line\n" * 100_000 + NUMBERED.encode())
    assert process.exit_reason(tmp_path).startswith("Failed to prepare boot source.; ")


def test_without_a_file_there_is_no_reason(tmp_path):
    assert process.exit_reason(tmp_path / "none") == "it exited without an error message"
