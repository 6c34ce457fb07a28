"""What a controller finds of a process that ran before it: still there, or ended since (rule 2).

Reads the record beside the VM's lock; what it means is for the transitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.control.running_definition import load
from reconciler.engine.decide.attempts import was_up_at_reboot
from reconciler.engine.decide.events import Adopted, ExitFound, RunningFound
from reconciler.engine.decide.inputs import Exit, ExitKind, Now, Vm, VmState
from reconciler.stratovirt.observation import classify

if TYPE_CHECKING:
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.decide.state import DomainState
    from reconciler.stratovirt.vm import VirtualMachine


def running_found(state: DomainState, machine: VirtualMachine, environment: Environment,
                  now: Now) -> RunningFound:
    """What its process has, if there is one, by the record beside its lock."""
    record = machine.record
    running = load(machine.home, record, state.record.definition, environment.read)
    if record is None:
        return RunningFound(now, running)
    return RunningFound(now, running, record.places, record.generation)


def first_look(state: DomainState, machine: VirtualMachine,
               now: Now) -> Adopted | ExitFound | None:
    """What the first observation says of the time before it."""
    vm = state.vm
    if vm.pid is not None:
        return Adopted(now)
    if vm.state is not VmState.ABSENT:
        return None
    record = machine.record
    if record is not None and ended_before(vm, machine):
        if record.boot_id != state.config.boot_id:
            return _with_the_host(now)
        if not record.pending_action:  # else the reconciler was stopping or starting it
            return ExitFound(now, classify(machine.exit_evidence(), now.clock, now.wall))
        return None
    if record is None and was_up_at_reboot(state.attempts):
        return _with_the_host(now)  # its record went with the run-time directory
    return None


def ended_before(vm: Vm, machine: VirtualMachine) -> bool:
    """Whether the record is of a process that ended, and that was not cleaned up after."""
    record = machine.record
    return vm.state is VmState.ABSENT and record is not None and record.pid is not None


def _with_the_host(now: Now) -> ExitFound:
    return ExitFound(now, Exit(ExitKind.REBOOT, now.clock, message="the host was rebooted",
                               wall=now.wall))
