"""The evidence that is collected about the end of a VM."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import pytest

from reconciler.host.cgroup import OomKills, group_of
from reconciler.stratovirt.command_line import QMP_SOCKET
from reconciler.stratovirt.exit_evidence import EvidenceCollector
from reconciler.stratovirt.process import Ended, Process, start_time
from reconciler.stratovirt.record import Record
from reconciler.stratovirt.stderr_log import STDERR

ME = Process(os.getpid(), start_time(os.getpid()))
KILLED = Ended(signal=signal.SIGKILL)


@pytest.fixture
def kills(tmp_path):
    """Sets the number of OOM kills in the control group of the tests."""
    file = tmp_path / "tree" / group_of(os.getpid()).lstrip("/") / "memory.events"
    file.parent.mkdir(parents=True)

    def count(number):
        file.write_text(f"oom 0\noom_kill {number}\n")

    count(4)
    return count


@pytest.fixture
def collector(tmp_path, kills):
    return EvidenceCollector(tmp_path, OomKills(tmp_path / "tree"))


def test_the_record_keeps_the_number_of_oom_kills_at_the_start(collector):
    assert collector.begin(ME, Record("a", "u")) == Record(
        "a", "u", pid=ME.pid, started=ME.started, cgroup=group_of(ME.pid), oom_kills=4,
        uid=os.geteuid(), executable=os.path.realpath(sys.executable))
    assert collector.begin(ME, None) is None


@pytest.mark.parametrize(("how", "socket", "expected"), [
    (KILLED, True, True),
    (Ended(), True, True),  # not our child; StratoVirt removes its socket unless killed
    (Ended(), False, False), (Ended(code=0), True, False),
    (Ended(signal=signal.SIGSEGV), True, False), (Ended(code=1), False, False)], ids=str)
def test_an_oom_kill_in_its_group_explains_only_an_end_by_sigkill(collector, kills, tmp_path, how,
                                                                  socket, expected):
    kept = collector.begin(ME, Record("a", "u"))
    if socket:
        (tmp_path / QMP_SOCKET).touch()
    assert not collector.collect(how, kept).out_of_memory  # no kill since the start
    kills(5)
    assert collector.collect(how, kept).out_of_memory is expected


def test_without_a_record_or_a_count_no_oom_kill_is_reported(collector, kills):
    kept = collector.begin(ME, Record("a", "u"))
    kills(5)
    assert not collector.collect(KILLED, None).out_of_memory
    assert not collector.collect(KILLED, replace(kept, oom_kills=None)).out_of_memory


def test_events_are_kept_until_the_next_process(collector):
    collector.begin(ME, None)
    collector.note_event("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
    collector.note_event("GUEST_PANICKED", {"action": "run"})
    collector.note_event("STOP", {})
    found = collector.collect(Ended(code=0), None)
    assert (found.shutdown, found.panicked) == ("host-qmp-quit", True)
    collector.begin(ME, None)
    found = collector.collect(Ended(code=0), None)
    assert (found.shutdown, found.panicked) == (None, False)


def test_a_reset_clears_a_panic(collector):
    collector.note_event("GUEST_PANICKED", {})
    collector.note_event("RESET", {"guest": True})
    assert not collector.collect(Ended(code=0), None).panicked


def test_the_error_on_stderr_is_kept_after_a_crash_only(collector, tmp_path):
    (tmp_path / STDERR).write_text("Caused by:\n    0: no luck\n")
    assert collector.collect(Ended(code=1), None).error == "no luck"
    assert collector.collect(Ended(code=0), None).error == ""
    assert collector.collect(Ended(code=1), None).logged_signal is None


def test_the_signal_that_stratovirt_logged_is_found(collector, tmp_path):
    (tmp_path / STDERR).write_bytes(b"a line\nReceived kill signal, signal number: 15 \r\nMore\n")
    assert collector.collect(Ended(), None).logged_signal == signal.SIGTERM
    (tmp_path / STDERR).write_bytes(b"the guest: Received kill signal, signal number: 15 \r\n")
    assert collector.collect(Ended(), None).logged_signal is None
