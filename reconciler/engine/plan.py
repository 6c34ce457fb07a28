"""The decision: one pure function from what is wanted and what is there to the steps to take.

All decisions are made here and nowhere else; no I/O, no clock, no randomness. The `plan` command
prints the very value that the engine executes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

from reconciler.domain.model import Domain, PrunePolicy, RestartPolicy, UpdatePolicy, Wanted


class VmState(StrEnum):
    """What a VM is observed to be."""

    ABSENT = "absent"
    RUNNING = "running"
    PAUSED = "paused"
    UNKNOWN = "unknown"


class Step(StrEnum):
    """What the engine can do."""

    START = "start"
    START_PAUSED = "start-paused"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is counted and survives our restart; times in seconds on the boot-time clock."""

    crashes: tuple[float, ...] = ()
    failures: int = 0
    retry_at: float = 0.0
    fights: tuple[float, ...] = ()
    stays_off: str = ""  # the reason why an exit left it down
    error: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a decision rests on."""

    domain: Domain | None
    applied: Domain | None
    vm: VmState
    gone: bool = False  # two complete listings without its file, and the breaker agreed
    invalid: str = ""
    ledger: Ledger = Ledger()
    restart_asked: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, why, and when to look again although nothing happened."""

    steps: tuple[Step, ...] = ()
    reason: str = "InSync"
    message: str = ""
    ready: bool = True
    stalled: bool = False
    look_again_at: float | None = None
    pending: tuple[str, ...] = field(default=())


def differences(old: Domain, new: Domain) -> tuple[str, ...]:
    """The names of the machine's parts that mean something else; each needs a new process."""
    return tuple(f.name for f in fields(new.machine)
                 if getattr(old.machine, f.name) != getattr(new.machine, f.name))


def make_plan(facts: Facts, now: float) -> Plan:
    """Decide."""
    domain, vm = facts.domain, facts.vm
    if facts.gone or domain is None:
        return _removal(facts, now)
    if vm is VmState.UNKNOWN:
        return Plan(reason="QmpTimeout", message=facts.ledger.error, ready=False,
                    look_again_at=max(now + 1, facts.ledger.retry_at))
    pending = () if facts.applied is None or vm is VmState.ABSENT else differences(
        facts.applied, domain)
    steps, reason = _steps(facts, domain, pending)
    if domain.policy.hold:
        return Plan(reason="HoldRequested", message=", ".join(steps), ready=not steps,
                    pending=pending)
    if steps and now < facts.ledger.retry_at and not facts.restart_asked:
        stalled = facts.ledger.failures >= 3 or _crash_loop(facts, now)
        return Plan(reason="CrashLoop" if _crash_loop(facts, now) else
                    "StartFailed" if stalled else "BackOff", message=facts.ledger.error,
                    ready=False, stalled=stalled, look_again_at=facts.ledger.retry_at,
                    pending=pending)
    if facts.invalid:
        return Plan(steps, "InvalidDefinition", facts.invalid, ready=False, stalled=True)
    if steps:
        return Plan(steps, reason, ready=False, pending=pending)
    if facts.ledger.stays_off and domain.policy.state is not Wanted.STOPPED:
        off = facts.ledger.stays_off
        return Plan(reason=off, message="stays down until its file changes or somebody starts it",
                    ready=off == "PoweredOff")
    if pending:
        return Plan(reason="ChangesDeferred", message=f"{', '.join(pending)} wait for a restart",
                    pending=pending)
    return Plan()


def _removal(facts: Facts, now: float) -> Plan:
    policy = facts.applied.policy if facts.applied else None
    if not facts.gone:
        return Plan(reason="InvalidDefinition", message=facts.invalid, ready=False, stalled=True)
    if policy and policy.prune is not PrunePolicy.DESTROY and facts.vm is not VmState.ABSENT:
        return Plan(reason="Orphaned", message=f"prune policy is {policy.prune}")
    if now < facts.ledger.retry_at:
        return Plan(reason="StopFailed", message=facts.ledger.error, ready=False,
                    stalled=facts.ledger.failures >= 3, look_again_at=facts.ledger.retry_at)
    if facts.vm is VmState.ABSENT:
        return Plan((Step.FORGET,), "Stopping", ready=False)
    return Plan((Step.STOP, Step.FORGET), "Stopping", ready=False)


def _steps(facts: Facts, domain: Domain, pending: tuple[str, ...]) -> tuple[tuple[Step, ...], str]:
    wanted, vm, policy = domain.policy.state, facts.vm, domain.policy
    if wanted is Wanted.STOPPED:
        return ((), "InSync") if vm is VmState.ABSENT else ((Step.STOP,), "Stopping")
    start = Step.START if wanted is Wanted.RUNNING else Step.START_PAUSED
    if vm is VmState.ABSENT:
        return ((), "InSync") if facts.ledger.stays_off else ((start,), "Starting")
    if facts.restart_asked or (
            pending and policy.update in (UpdatePolicy.AUTO, UpdatePolicy.RECREATE)):
        return (Step.STOP, start), "Recreating"
    if wanted is Wanted.RUNNING and vm is VmState.PAUSED:
        return (Step.RESUME,), "Resuming"
    if wanted is Wanted.PAUSED and vm is VmState.RUNNING:
        return (Step.PAUSE,), "Pausing"
    return (), "InSync"


def _crash_loop(facts: Facts, now: float) -> bool:
    policy = facts.domain.policy if facts.domain else None
    return policy is not None and sum(
        now - at < policy.restart_window for at in facts.ledger.crashes) > policy.restart_limit


def after_exit(domain: Domain, ledger: Ledger, code: int | None, now: float) -> Ledger:
    """What an exit that nobody asked for leads to; `code` None: not known."""
    policy = domain.policy
    clean = code == 0
    if policy.restart is RestartPolicy.NEVER or (
            policy.restart is RestartPolicy.ON_FAILURE and clean):
        return Ledger(ledger.crashes, stays_off="PoweredOff" if clean else "Killed")
    recent = (*(at for at in ledger.crashes if now - at < policy.restart_window), now)
    wait = 0.1 if len(recent) == 1 else min(
        policy.restart_delay * 2 ** (len(recent) - 2), policy.restart_max_delay)
    if len(recent) > policy.restart_limit:
        wait = policy.restart_max_delay
    error = f"the process ended by itself, exit code {code}, {len(recent)} times in the window"
    return Ledger(recent[-(policy.restart_limit + 1):], retry_at=now + wait, error=error,
                  fights=ledger.fights)


def after_failure(ledger: Ledger, error: str, now: float, jitter: float) -> Ledger:
    """A failed action: 1 s, doubled up to 5 minutes, times `jitter` (0.9 to 1.1)."""
    wait = min(2.0 ** ledger.failures, 300.0) * jitter
    return Ledger(ledger.crashes, ledger.failures + 1, now + wait, ledger.fights, error=error)
