"""The counters, on values alone."""

from dataclasses import replace

import pytest

from reconciler.domain.policy import Policy
from reconciler.engine.decide import attempts
from reconciler.engine.decide.attempts import BackoffPolicy
from reconciler.engine.decide.inputs import Attempts, Exit, ExitKind
from tests.domain.making import read

PATIENCE = BackoffPolicy()


def exits(count, kind=ExitKind.KILLED, policy=None, gap=1.0):
    book, waits = Attempts(), []
    for number in range(count):
        at = 1000.0 + number * gap
        book = attempts.exited(book, Exit(kind, at), policy or Policy(), jitter=1.0)
        waits.append(round(book.crashes.retry_at - at, 3))
    return book, waits


def test_failed_actions_wait_one_second_doubled_to_five_minutes():
    book, waits = Attempts(), []
    for _ in range(12):
        book = attempts.failed(book, "StartFailed", "x", PATIENCE, now=0.0, jitter=1.0)
        waits.append(book.failures.retry_at)
    assert waits[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == 300.0
    assert attempts.succeeded(book).failures.count == 0


def test_a_lone_crash_waits_for_nothing_then_delay_doubled_then_the_longest():
    _, waits = exits(8)
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 300.0, 300.0, 300.0]


def test_old_crashes_count_no_more():
    _, waits = exits(4, gap=700.0)
    assert waits == [0.0, 0.0, 0.0, 0.0]


def test_pain_8_the_policy_decides_what_stays_down():
    off = Policy(restart_on_poweroff=False)
    assert exits(1, ExitKind.POWEROFF, off)[0].down_reason == "PoweredOff"
    assert exits(1, ExitKind.KILLED, off)[0].down_reason == ""
    never = Policy(restart_on_poweroff=False, restart_on_failure=False)
    assert exits(1, ExitKind.CRASHED, never)[0].down_reason == "Killed"


@pytest.mark.parametrize(("kind", "reason"), [
    (ExitKind.OUT_OF_MEMORY, "OutOfMemory"), (ExitKind.PANIC, "GuestPanicked"),
    (ExitKind.KILLED, "Killed")])
def test_pain_8_each_kind_has_its_reason(kind, reason):
    assert exits(1, kind)[0].crashes.reason == reason
    assert exits(1, kind, Policy(restart_on_failure=False))[0].down_reason == reason


@pytest.mark.parametrize("kind", ExitKind)
def test_pain_8_every_kind_is_known_and_counted_whatever_follows(kind):
    for policy in (Policy(), Policy(restart_on_failure=False, restart_on_poweroff=False,
                                    destroy_on_reboot=True)):
        assert exits(2, kind, policy)[0].exits == {str(kind): 2}
    book = attempts.exited(exits(2, kind)[0], Exit(ExitKind.KILLED, 2000.0), Policy(), jitter=1.0)
    assert sum(book.exits.values()) == 3
    assert attempts.changed(book).exits == book.exits


def test_pain_8_a_reboot_of_the_host_is_no_crash():
    book, _ = exits(3, ExitKind.REBOOT)
    assert book.crashes.times == ()
    assert book.restarts == 0


@pytest.mark.parametrize(("before", "was_up"), [
    (Attempts(last_settled_state="running"), True), (Attempts(last_settled_state="paused"), True),
    (Attempts(last_settled_state="stopped"), False), (Attempts(), False),
    (Attempts(last_settled_state="running", down_reason="PoweredOff"), False)])
def test_a_reboot_of_the_host_ends_what_was_up_and_once(before, was_up):
    assert not attempts.was_up_at_reboot(before)
    after = attempts.after_reboot(before)
    assert attempts.was_up_at_reboot(after) is was_up
    counted = attempts.exited(after, Exit(ExitKind.REBOOT, 5.0), Policy(), jitter=1.0)
    assert not attempts.was_up_at_reboot(counted)


def test_pain_7_the_third_correction_in_ten_minutes_is_a_fight_with_tripled_waits():
    book, waits = Attempts(), []
    for number in range(8):
        book = attempts.drifted(book, "state", PATIENCE, now=float(number), jitter=1.0)
        waits.append(max(0.0, book.drift.retry_at - number))
    assert waits == [0.0, 0.0, 2.0, 6.0, 18.0, 54.0, 162.0, 300.0]
    assert book.drift.message


def test_a_new_generation_begins_anew_and_quiet_time_forgets():
    book, _ = exits(3)
    assert attempts.changed(book).crashes.count == 0
    assert attempts.changed(book).restarts == 3
    assert attempts.quiet(book, Policy(), PATIENCE, now=1100.0) is book
    assert attempts.quiet(book, Policy(), PATIENCE, now=2000.0).crashes.count == 0


def test_the_four_limiters_are_apart():
    book = attempts.failed(exits(2)[0], "StartFailed", "x", PATIENCE, now=0.0, jitter=1.0)
    book = attempts.drifted(book, "state", PATIENCE, now=0.0, jitter=1.0)
    assert (book.failures.count, book.crashes.count, len(book.drift.times)) == (1, 2, 1)
    assert replace(attempts.succeeded(book)).crashes.count == 2


def test_pain_7_a_fight_is_forgotten_after_a_quiet_time_of_twice_its_wait_or_a_new_definition():
    book = Attempts()
    for number in range(8):
        book = attempts.drifted(book, "state", PATIENCE, now=float(number), jitter=1.0)
    short = replace(PATIENCE, fight_window=10.0)  # the wait, 300 s, is longer than that
    assert attempts.quiet(book, Policy(), short, now=7.0 + 599.0).drift == book.drift
    assert attempts.quiet(book, Policy(), short, now=7.0 + 600.0).drift.count == 0
    assert attempts.quiet(book, Policy(), PATIENCE, now=7.0 + 599.0).drift == book.drift
    assert attempts.changed(book).drift.count == 0


# What an end leads to, by the words of the file.

POWEROFFS, CRASHES = (ExitKind.POWEROFF,), (
    ExitKind.PANIC, ExitKind.CRASHED, ExitKind.KILLED, ExitKind.OUT_OF_MEMORY, ExitKind.TERMINATED,
    ExitKind.QUIT)


@pytest.mark.parametrize(("written", "stays_down"), [
    ("", ()),
    ("<on_poweroff>destroy</on_poweroff><on_crash>restart</on_crash>", POWEROFFS),
    ("<on_poweroff>restart</on_poweroff><on_crash>destroy</on_crash>", CRASHES),
    ("<on_reboot>destroy</on_reboot><on_poweroff>restart</on_poweroff><on_crash>restart</on_crash>",
     (ExitKind.RESET,)),
    ("<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>",
     (*POWEROFFS, ExitKind.RESET, *CRASHES))])
def test_pain_8_each_end_leads_to_what_the_file_says_of_it(written, stays_down):
    policy = read(written).policy
    for kind in (*POWEROFFS, ExitKind.RESET, *CRASHES):
        book = exits(1, kind, policy)[0]
        assert bool(book.down_reason) is (kind in stays_down), kind
        assert book.restarts == (0 if book.down_reason else 1)
    # The host went down, or its own probe asks for it: neither is the guest's word.
    assert not exits(1, ExitKind.REBOOT, policy)[0].down_reason
    assert not exits(1, ExitKind.UNHEALTHY, policy)[0].down_reason
