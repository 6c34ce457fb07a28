"""What is kept of a VM while it lives, for its end."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from reconciler.host.cgroup import OomKills, group_of
from reconciler.stratovirt.command_line import QMP_SOCKET
from reconciler.stratovirt.exit_evidence import EvidenceCollector
from reconciler.stratovirt.process import STDERR, Ended, Process, start_time
from reconciler.stratovirt.record import Record

ME = Process(os.getpid(), start_time(os.getpid()))
KILLED = Ended(signal=signal.SIGKILL)


@pytest.fixture
def kills(tmp_path):
    """Says how often the kernel killed in our own control group."""
    file = tmp_path / "tree" / group_of(os.getpid()).lstrip("/") / "memory.events"
    file.parent.mkdir(parents=True)

    def count(number):
        file.write_text(f"oom 0\noom_kill {number}\n")

    count(4)
    return count


@pytest.fixture
def clues(tmp_path, kills):
    return EvidenceCollector(tmp_path, OomKills(tmp_path / "tree"))


def test_the_record_says_what_its_end_is_compared_to(clues):
    assert clues.begin(ME, Record("a", "u")) == Record(
        "a", "u", pid=ME.pid, started=ME.started, cgroup=group_of(ME.pid), oom_kills=4)
    assert clues.begin(ME, None) is None


@pytest.mark.parametrize(("how", "socket", "told"), [
    (KILLED, True, True),
    (Ended(), True, True),  # nobody watched it; StratoVirt leaves its socket at no other end
    (Ended(), False, False), (Ended(code=0), True, False),
    (Ended(signal=signal.SIGSEGV), True, False), (Ended(code=1), False, False)], ids=str)
def test_a_kill_in_its_group_explains_an_end_by_sigkill_alone(clues, kills, tmp_path, how, socket,
                                                             told):
    kept = clues.begin(ME, Record("a", "u"))
    if socket:
        (tmp_path / QMP_SOCKET).touch()
    assert not clues.evidence(how, kept).out_of_memory  # nothing was killed since
    kills(5)
    assert clues.evidence(how, kept).out_of_memory is told


def test_without_a_record_or_a_count_nothing_is_told(clues, kills):
    kept = clues.begin(ME, Record("a", "u"))
    kills(5)
    assert not clues.evidence(KILLED, None).out_of_memory
    assert not clues.evidence(KILLED, replace(kept, oom_kills=None)).out_of_memory


def test_stratovirts_own_words_are_kept_until_the_next_process(clues):
    clues.begin(ME, None)
    clues.hear("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
    clues.hear("GUEST_PANICKED", {"action": "run"})
    clues.hear("STOP", {})
    found = clues.evidence(Ended(code=0), None)
    assert (found.shutdown, found.panicked) == ("host-qmp-quit", True)
    clues.begin(ME, None)
    found = clues.evidence(Ended(code=0), None)
    assert (found.shutdown, found.panicked) == (None, False)


def test_a_guest_that_booted_again_has_not_panicked(clues):
    clues.hear("GUEST_PANICKED", {})
    clues.hear("RESET", {"guest": True})
    assert not clues.evidence(Ended(code=0), None).panicked


def test_the_last_words_are_those_of_a_crash(clues, tmp_path):
    (tmp_path / STDERR).write_text("Caused by:\n    0: no luck\n")
    assert clues.evidence(Ended(code=1), None).error == "no luck"
    assert clues.evidence(Ended(code=0), None).error == ""
    assert clues.evidence(Ended(code=1), None).logged_signal is None


def test_the_signal_that_it_ended_by_stands_among_its_last_words(clues, tmp_path):
    (tmp_path / STDERR).write_bytes(b"a line\nReceived kill signal, signal number: 15 \r\nMore\n")
    assert clues.evidence(Ended(), None).logged_signal == signal.SIGTERM
    (tmp_path / STDERR).write_bytes(b"the guest: Received kill signal, signal number: 15 \r\n")
    assert clues.evidence(Ended(), None).logged_signal is None
