"""What keeps a decision from being carried out now, and until when. Pure; a part of the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.engine.decide.attempts import STALLED_AFTER, crash_loop
from reconciler.engine.decide.inputs import (
    STARTS,
    STOP,
    BlockedOn,
    Cause,
    Inputs,
    Now,
    RetryState,
    Verb,
    VmState,
    WindowState,
)
from reconciler.units import show_seconds

if TYPE_CHECKING:
    from reconciler.domain.model import Domain
    from reconciler.engine.decide.steps import Decision

UNKNOWN_AGAIN = 1.0  # seconds until a VM that does not answer is asked again, at least


@dataclass(frozen=True, slots=True)
class Blocker:
    """What keeps a decision from being carried out now. `until`: when it ends by itself."""

    on: BlockedOn
    reason: str
    message: str
    until: float | None = None
    stalled: bool = False


def blocker_of(inputs: Inputs, domain: Domain, decision: Decision, now: Now) -> Blocker | None:
    """The first thing that is in the way, if anything is."""
    # A VM that does not answer can be stopped; a lock that another process holds cannot.
    if inputs.vm.state is VmState.UNKNOWN and (
            STOP not in decision.steps or inputs.vm.pid is None):
        return _unanswering(inputs, now)
    if not decision.steps:
        return None
    attempts = inputs.attempts
    if now.clock < attempts.failures.retry_at:
        return backing_off(attempts.failures, now)
    starts = any(step.verb in STARTS for step in decision.steps)
    if starts and now.clock < attempts.crashes.retry_at:
        looping = crash_loop(attempts, domain.policy, now.clock)
        return Blocker(BlockedOn.BACKOFF, "CrashLoop" if looping else "BackOff",
                       _retrying(attempts.crashes, now), attempts.crashes.retry_at,
                       stalled=looping)
    return _on_others(inputs, decision, now) or _on_drift(inputs, decision, now)


def _on_others(inputs: Inputs, decision: Decision, now: Now) -> Blocker | None:
    """What other domains, the source, or the order of a boot have to do with it."""
    around, verbs = inputs.surroundings, {step.verb for step in decision.steps}
    by_command = decision.cause is Cause.COMMAND
    if verbs & STARTS and around.memory_shortage:
        return Blocker(BlockedOn.MEMORY, "WaitingForMemory", around.memory_shortage)
    if verbs & STARTS and STOP in decision.steps:
        if around.recreate_blocked_by and Verb.CHECK in verbs and not by_command:
            return Blocker(BlockedOn.TURN, "WaitingForSlot", around.recreate_blocked_by)
        if around.name_kept_by and Verb.CHECK in verbs:  # before the stop: it could not be started
            return Blocker(BlockedOn.NAME, "WaitingForSlot",
                           f"waiting for the VM of {around.name_kept_by} to be recreated or "
                           "stopped: the name that it runs under is needed")
        return None
    if verbs & STARTS:
        return _on_start(inputs, now)
    if STOP in decision.steps and around.dependents and not by_command:
        return stops_after(around.dependents)
    return None


def stops_after(dependents: tuple[str, ...]) -> Blocker:
    """Domains that depend on this one are stopped before it."""
    return Blocker(BlockedOn.DEPENDENTS, "WaitingForDependency",
                   f"waiting for {', '.join(dependents)} to stop first")


def _on_start(inputs: Inputs, now: Now) -> Blocker | None:
    around = inputs.surroundings
    if not around.start_allowed:
        return Blocker(BlockedOn.SOURCE, "WaitingForSlot",
                       "waiting for a complete read of the source")
    if around.name_taken_by:
        return Blocker(BlockedOn.NAME, "WaitingForSlot",
                       f"waiting for the VM of {around.name_taken_by} to stop, which still runs "
                       "under this name")
    # A recreate that has stopped its VM waits for no order of a boot, nor for a dependency: it did
    # not before the stop, and would leave the domain without a VM.
    if inputs.recreating:
        return None
    if not around.wave_ready:
        return Blocker(BlockedOn.WAVE, "WaitingForSlot",
                       "waiting for domains in earlier start waves")
    if now.clock < inputs.start_after:
        return Blocker(BlockedOn.DELAY, "WaitingForSlot", "start delay has not elapsed",
                       inputs.start_after)
    if around.unmet:
        return Blocker(BlockedOn.DEPENDENCY, "WaitingForDependency", ", ".join(around.unmet))
    return None


def _on_drift(inputs: Inputs, decision: Decision, now: Now) -> Blocker | None:
    drift = inputs.attempts.drift
    if decision.cause is Cause.DRIFT and now.clock < drift.retry_at:
        return Blocker(BlockedOn.DRIFT, "DriftFight", _retrying(drift, now), drift.retry_at)
    return None


def for_window(window: WindowState | None, now: Now) -> Blocker | None:
    """A disruptive step waits for the window that the file names."""
    if window is None or window.open:
        return None
    until = None if window.opens_at is None else now.clock + max(0.0, window.opens_at - now.wall)
    return Blocker(BlockedOn.WINDOW, "WaitingForWindow", opens(window), until)


def opens(window: WindowState) -> str:
    """When a window opens, for people."""
    when = "never opens" if window.opens_at is None else f"opens {window.shown}"
    return f"window {window.name} {when}"


def backing_off(failures: RetryState, now: Now) -> Blocker:
    """The time of the next attempt has not come."""
    stalled = failures.count >= STALLED_AFTER
    return Blocker(BlockedOn.BACKOFF, failures.reason if stalled else "BackOff",
                   _retrying(failures, now), failures.retry_at, stalled)


def _retrying(state: RetryState, now: Now) -> str:
    return (f"{state.message}; retrying in {show_seconds(state.retry_at - now.clock)} "
            f"(attempt {state.count + 1})")


def _unanswering(inputs: Inputs, now: Now) -> Blocker:
    silence = inputs.attempts.silence
    return Blocker(BlockedOn.ANSWER, inputs.vm.reason, inputs.vm.problem or "not observed yet",
                   max(silence.retry_at, now.clock + UNKNOWN_AGAIN),
                   stalled=silence.count >= STALLED_AFTER)
