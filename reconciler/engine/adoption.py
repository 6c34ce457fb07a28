"""What a keeper knows of a process that ran before us (rule 2): adopted, or gone meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.engine import applied
from reconciler.engine.case import Exit, ExitKind, VmState
from reconciler.stratovirt.observation import classify

if TYPE_CHECKING:
    from reconciler.engine.keeper import Keeper


def note(keeper: Keeper) -> None:
    """The first look at what ran before us."""
    record = keeper.machine.record
    if keeper.vm.pid is not None:
        keeper.tell("domain.adopted")
    elif keeper.vm.state is VmState.ABSENT and record is not None and record.pid is not None:
        now = keeper.context.now().clock
        if record.boot_id != keeper.context.boot_id:
            keeper.count_exit(Exit(ExitKind.REBOOT, now, message="the host was started anew"))
        elif not record.intent:
            keeper.count_exit(classify(keeper.machine.traces(), now))
        keeper.machine.note_gone()


def load(keeper: Keeper) -> None:
    """What the process that runs was started with, read by today's code (rule 4)."""
    record, kept = keeper.machine.record, keeper.memory.definition
    keeper.applied, keeper.applied_text = applied.load(keeper.context, keeper.machine.home, record,
                                                       kept)
    if keeper.applied is None:  # its record is lost: what came up last is what runs
        keeper.applied, keeper.applied_text = keeper.good, keeper.memory.good
    if record is None:
        return
    if record.places and not keeper.memory.places:
        keeper.memory = replace(keeper.memory, places=record.places)
    if record.generation > keeper.memory.generation:
        keeper.memory = replace(keeper.memory, generation=record.generation)
