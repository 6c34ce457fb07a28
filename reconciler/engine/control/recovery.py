"""What a keeper knows of a process that ran before us (rule 2): adopted, or gone meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.engine.control import exits, running_definition
from reconciler.engine.decide.attempts import was_up_at_reboot
from reconciler.engine.decide.inputs import VmState

if TYPE_CHECKING:
    from reconciler.engine.control.controller import DomainController


def note(keeper: DomainController) -> None:
    """The first look at what ran before us."""
    record = keeper.machine.record
    if keeper.vm.pid is not None:
        keeper.tell("domain.adopted")
    elif keeper.vm.state is VmState.ABSENT and record is not None and record.pid is not None:
        if record.boot_id != keeper.context.boot_id:
            exits.went_with_the_host(keeper)
        elif not record.pending_action:
            exits.ended(keeper, keeper.machine.exit_evidence())
        keeper.machine.mark_ended()
    elif keeper.vm.state is VmState.ABSENT and record is None and was_up_at_reboot(keeper.ledger):
        exits.went_with_the_host(keeper)  # and its record with the run-time directory


def load(keeper: DomainController) -> None:
    """What the process that runs was started with, read by today's code (rule 4)."""
    record, kept = keeper.machine.record, keeper.memory.definition
    keeper.applied, keeper.applied_text = running_definition.load(keeper.context,
                                                                  keeper.machine.home, record,
                                                       kept)
    if keeper.applied is None:  # its record is lost: what came up last is what runs
        keeper.applied, keeper.applied_text = keeper.good, keeper.memory.good
    if record is None:
        return
    if record.places and not keeper.memory.places:
        keeper.memory = replace(keeper.memory, places=record.places)
    if record.generation > keeper.memory.generation:
        keeper.memory = replace(keeper.memory, generation=record.generation)
