"""The limits of the counters: what is kept of each, and when it is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.policy import Health, Policy, Probe
from reconciler.engine.decide import attempts
from reconciler.engine.decide.attempts import BackoffPolicy, RetryState
from reconciler.engine.decide.inputs import (
    Attempts,
    Exit,
    ExitKind,
    HealthStatus,
    Hold,
    Now,
    ProbeResult,
    Removal,
)
from reconciler.engine.decide.probe_threshold import count_probe
from reconciler.engine.decide.prune_evidence import (
    Absences,
    Rules,
    approve,
    judge,
    next_look,
    seen,
    token,
)
from reconciler.engine.decide.state import StoredDefinition, as_text
from reconciler.units import timestamp

POLICY = BackoffPolicy()
FULL = RetryState((1.0,), 1, 9.0, "x", "y")


def test_the_times_of_the_last_ten_failures_are_kept():
    book = Attempts()
    for number in range(12):
        book = attempts.failed(book, "StartFailed", f"error {number}", POLICY, now=float(number),
                               jitter=1.0)
    assert book.failures == RetryState(tuple(map(float, range(2, 12))), 12, 311.0, "StartFailed",
                                       "error 11")


def test_the_times_of_one_more_exit_than_the_limit_are_kept():
    book, policy = Attempts(), Policy(restart_limit=2)
    for number in range(5):
        book = attempts.exited(book, Exit(ExitKind.KILLED, float(number)), policy, jitter=1.0)
    assert book.crashes.times == (2.0, 3.0, 4.0)
    assert book.crashes.count == 4  # as many as could be seen; the delay is the longest anyway


@pytest.mark.parametrize(("gap", "count"), [(599.0, 2), (600.0, 1)])
def test_an_exit_counts_within_the_window(gap, count):
    book = attempts.exited(Attempts(), Exit(ExitKind.KILLED, 0.0), Policy(), jitter=1.0)
    book = attempts.exited(book, Exit(ExitKind.KILLED, gap), Policy(), jitter=1.0)
    assert book.crashes.count == count
    assert book.crashes.message == f"; {count} such exits within the window"


@pytest.mark.parametrize(("gap", "count"), [(599.0, 1), (600.0, 0)])
def test_a_correction_counts_within_the_window(gap, count):
    book = Attempts(drift=RetryState((0.0, gap - 1)))
    book = attempts.drifted(book, "state", POLICY, now=gap, jitter=1.0)
    assert book.drift.count == count
    assert bool(book.drift.message) is bool(count)


def test_the_times_of_the_last_twenty_corrections_are_kept():
    book = Attempts()
    for number in range(25):
        book = attempts.drifted(book, "state", POLICY, now=float(number), jitter=1.0)
    assert book.drift.times == tuple(map(float, range(5, 25)))


@pytest.mark.parametrize(("policy", "retry_at", "quiet_after"), [
    (Policy(restart_window=600.0), 10.1, 600.0), (Policy(restart_window=60.0), 110.0, 200.0)])
def test_exits_are_forgotten_after_the_window_or_twice_their_delay(policy, retry_at, quiet_after):
    """Whichever is longer: a slow crash loop is not forgiven between two of its exits."""
    book = Attempts(crashes=RetryState((1.0, 10.0), 2, retry_at))

    def after(seconds):
        return attempts.quiet(book, policy, POLICY, now=10.0 + seconds)

    assert after(quiet_after - 0.01) is book
    assert after(quiet_after) == Attempts()


def test_what_is_quiet_is_forgotten_and_what_is_not_stays():
    book = Attempts(crashes=RetryState((0.0,), 1, 0.1), drift=RetryState((500.0,), 1, 502.0))
    assert attempts.quiet(book, Policy(), POLICY, now=600.0) == replace(book, crashes=RetryState())
    assert attempts.quiet(book, Policy(), POLICY, now=1100.0) == Attempts()


def test_after_a_reboot_of_the_host_no_time_of_the_old_clock_counts():
    worn = Attempts(failures=FULL, crashes=FULL, drift=FULL, silence=FULL, restarts=3,
                    down_reason="PoweredOff", observed_generation=4)
    assert attempts.after_reboot(worn) == Attempts(
        restarts=3, down_reason="PoweredOff", observed_generation=4,
        last_exit=Exit(ExitKind.REBOOT, 0.0, message="the host was rebooted"))


@pytest.mark.parametrize("end", [Exit(ExitKind.KILLED, 0.0), Exit(ExitKind.REBOOT, 5.0), None])
def test_only_a_reboot_that_was_not_counted_yet_ended_what_was_up(end):
    assert not attempts.was_up_at_reboot(Attempts(last_settled_state="running", last_exit=end))


def test_a_new_definition_keeps_the_last_exit_and_the_counts():
    worn = Attempts(last_exit=Exit(ExitKind.PANIC, 1.0), exits={"panic": 1}, restarts=2,
                    observed_generation=3, last_settled_state="paused", crashes=FULL,
                    down_reason="GuestPanicked")
    assert attempts.changed(worn) == replace(worn, crashes=RetryState(), down_reason="")


# Missing files


def test_what_was_obeyed_counts_no_more_for_the_removal_of_many():
    """Of 6 domains 3 go, each by itself: the share of those that are left decides."""
    absences, known, rules = Absences(), ("a", "b", "c", "d", "e", "f"), Rules(settle=0.0)
    for number, gone in enumerate(("a", "ab", "abc"), 1):
        absences = seen(absences, gone, float(number))
        found, absences = judge(absences, known, rules, float(number))
        assert set(found.values()) == {Removal.PROVEN}
        assert absences.obeyed == set(gone)
    # Three more of three: not a share of the six.
    absences = seen(absences, "abcdef", 4.0)
    found, absences = judge(absences, known, rules, 4.0)
    assert [found[key] for key in "abcdef"] == [Removal.PROVEN] * 3 + [Removal.HELD] * 3
    assert (absences.obeyed, absences.held) == (set("abc"), set("def"))


def test_the_share_is_that_of_the_domains_that_are_not_removed_already():
    gone = {"a": 0.0, "b": 0.0, "c": 0.0}
    absences = Absences(gone, gone, obeyed=frozenset({"x", "y", "z"}))
    known = ("a", "b", "c", "d", "e", "x", "y", "z")
    assert judge(absences, known, Rules(), 2.0)[0]["a"] is Removal.HELD  # 3 of 5, not of 8


def test_a_removal_that_is_disabled_believes_nothing_and_keeps_the_evidence():
    absences = Absences({"a": 0.0}, {"a": 0.0})
    assert judge(absences, "a", Rules(enabled=False), 9.0) == ({}, absences)


def test_the_next_look_is_when_the_first_absence_is_old_enough():
    absences = Absences({"a": 1.0, "b": 1.5, "c": 0.0}, {"a": 1.0, "b": 1.5, "c": 0.0})
    assert next_look(absences, Rules(settle=2.0), 2.0) == 1.0
    assert next_look(absences, Rules(settle=2.0), 3.5) is None


def test_a_removal_is_approved_by_the_name_of_exactly_its_set():
    assert token("ab") == token("ba") == "p-" + token("ab")[2:]
    assert token(["a b"]) == token("ab") != token(["ab"])
    assert len(token("a")) == 8
    absences = approve(Absences({"a": 0.0}, {"a": 0.0}, held=frozenset("a")), "ab")
    assert absences.approved == {"a"}
    found, absences = judge(absences, "ab", Rules(settle=0.0), 0.0)
    assert (found, absences.held) == ({"a": Removal.APPROVED}, frozenset())


# Values


def test_a_file_in_any_encoding_is_kept_byte_by_byte():
    data = b"<domain>\xff\xfe</domain>"
    assert StoredDefinition(as_text(data)).data == data


def test_a_hold_says_who_until_when_and_why():
    assert Hold("", "me").description == "held by me"
    until = 1_800_000_000.0
    assert Hold("repair", "me", until).description == (
        f"held by me until {timestamp(until)}: repair")
    assert Hold("", "me", until).in_force(until - 1)
    assert not Hold("", "me", until).in_force(until)
    assert Now(1.0, 2.0).jitter == 1.0


def test_a_healthy_guest_has_nothing_to_say():
    found = count_probe(ProbeResult(), "", Health(Probe.TCP, "a:1"), 0.0)
    assert found == ProbeResult(HealthStatus.HEALTHY, 0, "")
