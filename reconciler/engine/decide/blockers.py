"""What keeps an intent from being carried out now, and until when. Pure; a part of the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide.attempts import STALLED_AFTER, crash_loop
from reconciler.engine.decide.inputs import Cause, Inputs, Now, Opening, RetryState, Verb, VmState
from reconciler.engine.decide.steps import STOP, Decision
from reconciler.units import show_seconds

if TYPE_CHECKING:
    from reconciler.domain.model import Domain

STARTS = {Verb.START, Verb.START_PAUSED}
# Waits that end when another domain's state does: that one's change is a reason to look again.
FOR_OTHERS = ("WaitingForSlot", "WaitingForDependency", "WaitingForMemory")
UNKNOWN_AGAIN = 1.0  # seconds until a VM that does not answer is asked again, at least


@dataclass(frozen=True, slots=True)
class Blocker:
    """What keeps an intent from being carried out now."""

    reason: str
    message: str
    until: float | None
    stalled: bool = False


def wait_of(case: Inputs, domain: Domain, intent: Decision, now: Now) -> Blocker | None:
    """The first thing that is in the way, if anything is."""
    if case.vm.state is VmState.UNKNOWN and STOP not in intent.steps:
        return _unanswering(case, now)
    if not intent.steps:
        return None
    ledger = case.ledger
    silent = case.vm.state is VmState.UNKNOWN and ledger.failures.reason == "QmpTimeout"
    if now.clock < ledger.failures.retry_at and not silent:  # silence is no reason not to stop it
        return backing_off(ledger.failures, "try", now)
    verbs = {step.verb for step in intent.steps}
    if verbs & STARTS and now.clock < ledger.crashes.retry_at:
        looping = crash_loop(ledger, domain.policy, now.clock)
        wait = backing_off(ledger.crashes, "start", now)
        return replace(wait, reason="CrashLoop" if looping else "BackOff", stalled=looping)
    return _for_others(case, intent, now) or _fighting(case, intent, now)


def _for_others(case: Inputs, intent: Decision, now: Now) -> Blocker | None:
    """What has to do with other domains, or with the order of a boot."""
    around, verbs = case.around, {step.verb for step in intent.steps}
    by_hand = intent.cause is Cause.COMMAND
    if verbs & STARTS and around.room:
        return Blocker("WaitingForMemory", around.room, None)
    if verbs & STARTS and STOP in intent.steps:
        if around.turn and Verb.CHECK in verbs and not by_hand:
            return Blocker("WaitingForSlot", around.turn, None)
        return None
    if verbs & STARTS:
        return _to_start(case, now)
    if STOP in intent.steps and around.dependents and not by_hand:
        return Blocker("WaitingForDependency", f"first stops {', '.join(around.dependents)}", None)
    return None


def _to_start(case: Inputs, now: Now) -> Blocker | None:
    around = case.around
    if not around.listed:
        return Blocker("WaitingForSlot", "the source is read first", None)
    if not around.wave_open:
        return Blocker("WaitingForSlot", "domains of a lower start wave are not at rest yet", None)
    if now.clock < case.start_after:
        return Blocker("WaitingForSlot", "its start delay is not over", case.start_after)
    if around.unmet:
        return Blocker("WaitingForDependency", ", ".join(around.unmet), None)
    return None


def _fighting(case: Inputs, intent: Decision, now: Now) -> Blocker | None:
    if intent.cause is Cause.DRIFT and now.clock < case.ledger.drift.retry_at:
        wait = backing_off(case.ledger.drift, "correction", now)
        return replace(wait, reason="DriftFight", stalled=False)
    return None


def for_window(opening: Opening | None, now: Now) -> Blocker | None:
    """What is disruptive waits for the window that the file names."""
    if opening is None or opening.open:
        return None
    until = None if opening.opens_at is None else now.clock + max(
        0.0, opening.opens_at - now.wall)
    return Blocker("WaitingForWindow", opens(opening), until)


def opens(opening: Opening) -> str:
    """When a window opens, for people."""
    when = "never opens" if opening.opens_at is None else f"opens {opening.shown}"
    return f"window {opening.name} {when}"


def backing_off(limiter: RetryState, what: str, now: Now) -> Blocker:
    """Wait for the next try."""
    stalled = limiter.count >= STALLED_AFTER
    message = (f"{limiter.message}; {what} {limiter.count + 1} follows in "
               f"{show_seconds(limiter.retry_at - now.clock)}")
    return Blocker(limiter.reason if stalled else "BackOff", message, limiter.retry_at, stalled)


def _unanswering(case: Inputs, now: Now) -> Blocker:
    failures = case.ledger.failures
    return Blocker(case.vm.reason, case.vm.problem or "not observed yet",
                max(failures.retry_at, now.clock + UNKNOWN_AGAIN),
                stalled=failures.count >= STALLED_AFTER)
