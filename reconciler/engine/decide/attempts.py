"""What is counted for a domain: failures, exits, drift, silence, and when to try again. Pure.

Each function makes the next `Attempts` from what happened. The numbers are those of the field
(systemd, Argo CD, Nomad): failed actions wait 1 s doubled to 5 min; after a lone crash the VM is
started at once, after further ones it waits `restart/@delay` doubled to `@max-delay`; drift waits
2 s tripled to 300 s. Times are seconds on the boot-time clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.backoff import Backoff
from reconciler.stratovirt.observation import Exit, ExitKind

if TYPE_CHECKING:
    from reconciler.domain.policy import Policy

STALLED_AFTER = 3  # failed attempts until a domain is Stalled; the attempts go on
_DRIFT = Backoff(2.0, 300.0, 3.0)
_FAILURES_KEPT, _DRIFTS_KEPT = 10, 20  # times that are kept of each


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """What the configuration says of retries; seconds."""

    failures: Backoff = Backoff(1.0, 300.0)
    fight_limit: int = 3
    fight_window: float = 600.0


@dataclass(frozen=True, slots=True)
class RetryState:
    """One kind of trouble: how often it came, and when the next attempt is allowed."""

    times: tuple[float, ...] = ()
    count: int = 0
    retry_at: float = 0.0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """The counters of a domain; they survive a restart of the reconciler."""

    failures: RetryState = RetryState()  # actions that failed
    crashes: RetryState = RetryState()  # exits that were not asked for
    drift: RetryState = RetryState()  # changes from outside that were corrected
    silence: RetryState = RetryState()  # a VM that does not answer QMP
    down_reason: str = ""  # why an exit left it down, until its file changes or it is started
    rolled_back_generation: int = 0  # the generation that did not come up and was rolled back
    rolled_back_because: str = ""
    needs_restart_generation: int = 0  # the generation of which a live change failed
    recreating_generation: int = 0  # the generation whose recreate began and has not ended
    replaced_pid: int = 0  # the process that this recreate is to replace, 0 if there was none
    observed_generation: int = 0  # the last generation that ended Ready or Stalled
    last_settled_state: str = ""  # the desired state last reached: a difference later is drift
    restarts: int = 0
    last_exit: Exit | None = None
    exits: dict[str, int] = field(default_factory=dict)  # by kind, also of what stayed down


def failed(attempts: Attempts, reason: str, message: str, policy: BackoffPolicy, *,
           now: float, jitter: float) -> Attempts:
    """An action failed."""
    return replace(attempts, failures=_next(attempts.failures, reason, message, policy,
                                            now=now, jitter=jitter))


def silent(attempts: Attempts, message: str, policy: BackoffPolicy, *, now: float,
           jitter: float) -> Attempts:
    """The VM did not answer, and the time of the next attempt had come."""
    return replace(attempts, silence=_next(attempts.silence, "QmpTimeout", message, policy,
                                           now=now, jitter=jitter))


def _next(before: RetryState, reason: str, message: str, policy: BackoffPolicy, *, now: float,
          jitter: float) -> RetryState:
    count = before.count + 1
    return RetryState((*before.times[-(_FAILURES_KEPT - 1):], now), count,
                      now + policy.failures.delay(count, jitter), reason, message)


def answered(attempts: Attempts) -> Attempts:
    """The VM answers, or has ended: its silence is over."""
    return replace(attempts, silence=RetryState()) if attempts.silence.count else attempts


def succeeded(attempts: Attempts) -> Attempts:
    """All steps of a plan were done."""
    return replace(attempts, failures=RetryState(), recreating_generation=0)


def rolled_back(attempts: Attempts, generation: int, message: str) -> Attempts:
    """The new definition of a recreate did not come up: the last known good one is started."""
    return replace(attempts, rolled_back_generation=generation, rolled_back_because=message,
                   recreating_generation=0, failures=RetryState())


def exited(attempts: Attempts, end: Exit, policy: Policy, *, jitter: float) -> Attempts:
    """The VM ended and was not asked to: it stays down, or is started again after a delay."""
    attempts = replace(attempts, last_exit=end, exits={
        **attempts.exits, str(end.kind): attempts.exits.get(end.kind, 0) + 1})
    if end.kind is not ExitKind.UNHEALTHY and not _restarts(end.kind, policy):
        return replace(attempts, down_reason=_DOWN[end.kind])
    if end.kind is ExitKind.REBOOT:
        return attempts  # the host went down, not the VM: no crash
    recent = (*(t for t in attempts.crashes.times if end.at - t < policy.restart_window), end.at)
    count = len(recent)
    message = f"{end.message}; {count} such exits within the window"
    kept = recent[-(policy.restart_limit + 1):]
    return replace(attempts, restarts=attempts.restarts + 1, crashes=RetryState(
        kept, count, end.at + _crash_delay(count, policy) * jitter, _DOWN[end.kind], message))


def _crash_delay(count: int, policy: Policy) -> float:
    if count > policy.restart_limit:
        return policy.restart_max_delay
    if count == 1:  # the cause of a lone crash is not known to come back
        return 0.0
    return Backoff(policy.restart_delay, policy.restart_max_delay).delay(count - 1)


_DOWN = {ExitKind.POWEROFF: "PoweredOff", ExitKind.RESET: "PoweredOff",
         ExitKind.PANIC: "GuestPanicked", ExitKind.OUT_OF_MEMORY: "OutOfMemory",
         ExitKind.QUIT: "Killed", ExitKind.TERMINATED: "Killed", ExitKind.KILLED: "Killed",
         ExitKind.CRASHED: "Killed", ExitKind.UNHEALTHY: "HealthCheckFailed",
         ExitKind.REBOOT: "PoweredOff"}
POWERED_OFF = _DOWN[ExitKind.POWEROFF]  # down because its guest wanted so: as it should be


def after_reboot(attempts: Attempts) -> Attempts:
    """The boot-time clock began again at zero: times counted by the old one mean nothing."""
    return replace(attempts, failures=RetryState(), crashes=RetryState(), drift=RetryState(),
                   silence=RetryState(),
                   last_exit=Exit(ExitKind.REBOOT, 0.0, message="the host was rebooted"))


def was_up_at_reboot(attempts: Attempts) -> bool:
    """Whether it ran when the host went down, and that exit is not counted yet."""
    end = attempts.last_exit
    return end is not None and end.kind is ExitKind.REBOOT and end.at == 0.0 and (
        attempts.last_settled_state in ("running", "paused") and not attempts.down_reason)


def _restarts(kind: ExitKind, policy: Policy) -> bool:
    if kind is ExitKind.REBOOT:
        return True
    if kind is ExitKind.RESET:
        return not policy.destroy_on_reboot
    clean = kind is ExitKind.POWEROFF
    return policy.restart_on_poweroff if clean else policy.restart_on_failure


def drifted(attempts: Attempts, what: str, policy: BackoffPolicy, *, now: float,
            jitter: float) -> Attempts:
    """Drift was corrected; from the third time within the window on, corrections wait."""
    recent = (*(t for t in attempts.drift.times if now - t < policy.fight_window), now)
    fights = max(0, len(recent) - policy.fight_limit + 1)
    retry_at = now + _DRIFT.delay(fights, jitter) if fights else 0.0
    message = f"{what} was changed from outside {len(recent)} times within the window"
    return replace(attempts, drift=RetryState(recent[-_DRIFTS_KEPT:], fights, retry_at,
                                              "DriftFight", message if fights else ""))


def changed(attempts: Attempts) -> Attempts:
    """A new generation, or a user's command: every delay is over."""
    return Attempts(observed_generation=attempts.observed_generation,
                    last_settled_state=attempts.last_settled_state, restarts=attempts.restarts,
                    last_exit=attempts.last_exit, exits=attempts.exits)


def settled(attempts: Attempts, generation: int, state: str) -> Attempts:
    """A plan ended Ready or Stalled."""
    return replace(attempts, observed_generation=generation, last_settled_state=state)


def quiet(attempts: Attempts, policy: Policy, backoff: BackoffPolicy, *, now: float) -> Attempts:
    """Forget crashes and drift that have not come back for long enough (Ready all the while)."""
    crashes, drift = attempts.crashes, attempts.drift
    if crashes.times and now - crashes.times[-1] >= max(
            policy.restart_window, 2 * (crashes.retry_at - crashes.times[-1])):
        crashes = RetryState()
    if drift.times and now - drift.times[-1] >= max(
            backoff.fight_window, 2 * (drift.retry_at - drift.times[-1])):
        drift = RetryState()
    if crashes is attempts.crashes and drift is attempts.drift:
        return attempts
    return replace(attempts, crashes=crashes, drift=drift)


def crash_loop(attempts: Attempts, policy: Policy, now: float) -> bool:
    """Whether more exits than the limit lie within the window."""
    recent = sum(now - t < policy.restart_window for t in attempts.crashes.times)
    return recent > policy.restart_limit
