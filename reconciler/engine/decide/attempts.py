"""The counters: pure functions from what happened to the next Attempts.

Numbers and their reasons are those of the field (systemd, Argo CD, Nomad): failed actions 1 s
doubled to 5 min; crashes 100 ms, then `delay` doubled to `max-delay`; drift 2 s tripled to 300 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide.inputs import Attempts, Exit, ExitKind, RetryState

if TYPE_CHECKING:
    from reconciler.domain.model import Policy

STALLED_AFTER = 3  # failed tries until it is said that somebody is needed; tries go on
FIRST_CRASH_DELAY = 0.1
DRIFT_DELAY = 2.0
DRIFT_LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """The configuration's part of the limiters; seconds."""

    initial: float = 1.0
    maximum: float = 300.0
    fight_limit: int = 3
    fight_window: float = 600.0


def failed(ledger: Attempts, reason: str, message: str, patience: BackoffPolicy, *,
           now: float, jitter: float) -> Attempts:
    """An action failed; `jitter` is a factor around 1."""
    count = ledger.failures.count + 1
    wait = min(patience.initial * 2.0 ** min(count - 1, 30), patience.maximum) * jitter
    return replace(ledger,
                   failures=RetryState((*ledger.failures.times[-9:], now), count, now + wait,
                                            reason, message))


def succeeded(ledger: Attempts) -> Attempts:
    """All steps of a plan were done."""
    return replace(ledger, failures=RetryState(), recreating=0)


def refused(ledger: Attempts, generation: int, message: str) -> Attempts:
    """A recreate whose new definition did not come up: the old one is to be started again."""
    return replace(ledger, refused=generation, refused_because=message, recreating=0,
                   failures=RetryState())


def exited(ledger: Attempts, end: Exit, policy: Policy, *, jitter: float) -> Attempts:
    """The VM ended though nobody here asked: down it stays, or when it is started again."""
    ledger = replace(ledger, last_exit=end, exits={
        **ledger.exits, str(end.kind): ledger.exits.get(end.kind, 0) + 1})
    if end.kind is not ExitKind.UNHEALTHY and not _restarts(end.kind, policy):
        return replace(ledger, down=_DOWN[end.kind])
    if end.kind is ExitKind.REBOOT:
        return ledger  # the host went down, not the VM: no crash
    recent = (*(t for t in ledger.crashes.times if end.at - t < policy.restart_window), end.at)
    count = len(recent)
    if count > policy.restart_limit:
        wait = policy.restart_max_delay
    elif count == 1:
        wait = FIRST_CRASH_DELAY
    else:
        wait = min(policy.restart_delay * 2.0 ** (count - 2), policy.restart_max_delay)
    message = f"{end.message}; {count} such exits within the window"
    kept = recent[-(policy.restart_limit + 1):]
    return replace(ledger, restarts=ledger.restarts + 1, crashes=RetryState(
        kept, count, end.at + wait * jitter, _DOWN[end.kind], message))


_DOWN = {ExitKind.POWEROFF: "PoweredOff", ExitKind.RESET: "PoweredOff",
         ExitKind.PANIC: "GuestPanicked", ExitKind.OUT_OF_MEMORY: "OutOfMemory",
         ExitKind.QUIT: "Killed", ExitKind.TERMINATED: "Killed", ExitKind.KILLED: "Killed",
         ExitKind.CRASHED: "Killed", ExitKind.UNHEALTHY: "HealthCheckFailed",
         ExitKind.REBOOT: "PoweredOff"}


def after_reboot(ledger: Attempts) -> Attempts:
    """The boot-time clock began anew: what was counted by it means nothing now."""
    return replace(ledger, failures=RetryState(), crashes=RetryState(), drift=RetryState(),
                   last_exit=Exit(ExitKind.REBOOT, 0.0, message="the host was started anew"))


def was_up_at_reboot(ledger: Attempts) -> bool:
    """Whether it ran when the host went down, and nobody has counted that yet."""
    end = ledger.last_exit
    return end is not None and end.kind is ExitKind.REBOOT and end.at == 0.0 and (
        ledger.in_force in ("running", "paused") and not ledger.down)


def _restarts(kind: ExitKind, policy: Policy) -> bool:
    if kind is ExitKind.REBOOT:
        return True
    if kind is ExitKind.RESET:
        return not policy.destroy_on_reboot
    clean = kind is ExitKind.POWEROFF
    return policy.restart_on_poweroff if clean else policy.restart_on_failure


def drifted(ledger: Attempts, what: str, patience: BackoffPolicy, *, now: float,
            jitter: float) -> Attempts:
    """Drift is about to be corrected: the third time within the window it is a fight."""
    recent = (*(t for t in ledger.drift.times if now - t < patience.fight_window), now)
    fights = max(0, len(recent) - patience.fight_limit + 1)
    wait = min(DRIFT_DELAY * 3.0 ** min(fights - 1, 10), DRIFT_LONGEST) * jitter if fights else 0.0
    message = f"{what} was changed from outside {len(recent)} times within the window"
    return replace(ledger, drift=RetryState(recent[-20:], fights, now + wait if wait else 0.0,
                                         "DriftFight", message if fights else ""))


def changed(ledger: Attempts) -> Attempts:
    """A new generation, or somebody's command: every patience begins anew."""
    return Attempts(settled=ledger.settled, in_force=ledger.in_force, restarts=ledger.restarts,
                  last_exit=ledger.last_exit, exits=ledger.exits)


def settled(ledger: Attempts, generation: int, state: str) -> Attempts:
    """A pass ended Ready or Stalled."""
    return replace(ledger, settled=generation, in_force=state)


def quiet(ledger: Attempts, policy: Policy, patience: BackoffPolicy, *, now: float) -> Attempts:
    """Forget troubles that have not come back for long enough (Ready all the while)."""
    crashes, drift = ledger.crashes, ledger.drift
    if crashes.times and now - crashes.times[-1] >= max(
            policy.restart_window, 2 * (crashes.retry_at - crashes.times[-1])):
        crashes = RetryState()
    if drift.times and now - drift.times[-1] >= max(
            patience.fight_window, 2 * (drift.retry_at - drift.times[-1])):
        drift = RetryState()
    if crashes is ledger.crashes and drift is ledger.drift:
        return ledger
    return replace(ledger, crashes=crashes, drift=drift)


def crash_loop(ledger: Attempts, policy: Policy, now: float) -> bool:
    """Whether more exits than the limit lie within the window."""
    return sum(now - t < policy.restart_window for t in ledger.crashes.times) > policy.restart_limit
