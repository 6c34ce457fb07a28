"""What should be done about a domain if nothing were in the way. Pure; a part of the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.difference import differences
from reconciler.domain.hot_change import as_started
from reconciler.domain.model import Impact
from reconciler.domain.policy import DesiredState
from reconciler.engine.decide.attempts import POWERED_OFF
from reconciler.engine.decide.changes import needs_new_process
from reconciler.engine.decide.inputs import (
    STOP,
    Cause,
    ExitKind,
    HealthStatus,
    Inputs,
    Pending,
    Step,
    Verb,
    VmState,
)

if TYPE_CHECKING:
    from reconciler.domain.model import Domain

RECREATE_FIRST = (Step(Verb.CHECK), STOP)


@dataclass(frozen=True, slots=True)
class Decision:
    """The steps, and the reason under which the conditions show them."""

    steps: tuple[Step, ...] = ()
    reason: str = "InSync"
    cause: Cause = Cause.FILE
    message: str = ""
    changing: bool = False  # the VM starts or stops by itself: nothing is to be done but wait
    down: bool = False  # it stays down, since an exit left it so
    as_wanted: bool = True  # of what is down: its guest wanted so
    unhealthy: bool = False  # it runs as it should, and its guest is not healthy


def decision_of(inputs: Inputs, domain: Domain, pending: tuple[Pending, ...]) -> Decision:
    """The steps that make the domain what it should be."""
    wanted, state = domain.policy.state, inputs.vm.state
    if state is VmState.STOPPING:
        return Decision(reason="Stopping", changing=True)
    if wanted is DesiredState.STOPPED:
        if state is VmState.ABSENT:
            return Decision()
        return Decision((STOP,), "Stopping", _cause(inputs, wanted))
    if state is VmState.ABSENT:
        return _to_start(inputs, domain)
    return _of_live_vm(inputs, domain, pending)


def _of_live_vm(inputs: Inputs, domain: Domain, pending: tuple[Pending, ...]) -> Decision:
    wanted, state = domain.policy.state, inputs.vm.state
    if inputs.attempts.down_reason and domain.policy.destroy_on_reboot and (
            not inputs.restart_asked):
        return Decision((STOP,), "Stopping", Cause.EXIT, "its guest rebooted; on_reboot: destroy")
    start = Step(_start_verb(wanted))
    if inputs.restart_asked:
        return Decision((*RECREATE_FIRST, start), "Recreating", Cause.COMMAND)
    if _runs_what_was_rolled_back(inputs):
        return Decision((STOP, Step(start.verb, rollback=True)), "Recreating", Cause.ROLLBACK,
                        inputs.attempts.rolled_back_because)
    allowed = tuple(p for p in pending if p.waits_for is None)
    if needs_new_process(allowed, domain.policy.update):
        return Decision((*RECREATE_FIRST, start), "Recreating", Cause.FILE, changes(pending))
    if state is VmState.STARTING:
        return Decision(reason="Starting", changing=True)
    if wanted is DesiredState.RUNNING and state is VmState.PAUSED:
        return Decision((Step(Verb.RESUME),), "Resuming", _cause(inputs, wanted))
    if wanted is DesiredState.PAUSED and state is VmState.RUNNING:
        return Decision((Step(Verb.PAUSE),), "Pausing", _cause(inputs, wanted))
    if allowed:
        return Decision((Step(Verb.UPDATE),), "Updating", Cause.FILE, changes(allowed))
    if inputs.vm.off_network:
        return Decision((Step(Verb.RECONNECT),), "Updating", Cause.DRIFT,
                        "; ".join(inputs.vm.off_network))
    return _for_its_health(inputs)


def _for_its_health(inputs: Inputs) -> Decision:
    """Everything is as the file says: what remains is the health of the guest."""
    health = inputs.health
    if health is None or inputs.vm.state is not VmState.RUNNING or (
            inputs.probe.status is not HealthStatus.UNHEALTHY):
        return Decision()
    if health.restart:
        again = Step(Verb.START, rollback=inputs.is_rolled_back)
        return Decision((STOP, again), "Recreating", Cause.EXIT,
                        f"its guest is not healthy: {inputs.probe.message}")
    return Decision(reason="HealthCheckFailed", message=inputs.probe.message, unhealthy=True)


def _runs_what_was_rolled_back(inputs: Inputs) -> bool:
    """Whether the new definition came up, was not healthy, and is still what runs."""
    good = inputs.last_known_good
    if not inputs.newest_rolled_back or good is None or inputs.running is None or (
            inputs.vm.generation != inputs.generation):
        return False
    late = {change.path for change in differences(as_started(good), good)}
    return any(change.impact is not Impact.NONE and change.path not in late
               for change in differences(inputs.running, good))


def _to_start(inputs: Inputs, domain: Domain) -> Decision:
    down, verb = inputs.attempts.down_reason, _start_verb(domain.policy.state)
    if down and not inputs.restart_asked:
        return Decision(reason=down, down=True, as_wanted=down == POWERED_OFF)
    if inputs.is_rolled_back:
        return Decision((Step(verb, rollback=True),), "Starting", Cause.ROLLBACK)
    return Decision((Step(verb),), "Starting", _cause(inputs, domain.policy.state))


def _start_verb(wanted: DesiredState) -> Verb:
    return Verb.START_PAUSED if wanted is DesiredState.PAUSED else Verb.START


def _cause(inputs: Inputs, wanted: DesiredState) -> Cause:
    """Why: the file changed since the domain was last settled, or something else did."""
    attempts = inputs.attempts
    if inputs.restart_asked:
        return Cause.COMMAND
    if attempts.observed_generation != inputs.generation or attempts.last_settled_state != wanted:
        return Cause.FILE
    if inputs.vm.state is VmState.ABSENT and attempts.last_exit is not None:
        return Cause.BOOT if attempts.last_exit.kind is ExitKind.REBOOT else Cause.EXIT
    return Cause.DRIFT


def changes(pending: tuple[Pending, ...]) -> str:
    """The changes, for a message."""
    return ", ".join(f"{p.change.path}: {p.change.old} → {p.change.new}" for p in pending)
