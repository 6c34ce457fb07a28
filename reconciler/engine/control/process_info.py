"""The process of a VM as the status shows it: from the kernel and the record beside its lock."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.engine.decide.state import ProcessInfo
from reconciler.stratovirt.command_line import MONITOR_SOCKET
from reconciler.stratovirt.process import command_line

if TYPE_CHECKING:
    from reconciler.engine.decide.inputs import Vm
    from reconciler.stratovirt.vm import VirtualMachine


def info_of(vm: Vm, machine: VirtualMachine, before: ProcessInfo | None) -> ProcessInfo | None:
    """Of an observed VM; its command line is read once a process."""
    if vm.pid is None:
        return None
    record = machine.record
    known = before is not None and before.pid == vm.pid and before.memory is not None
    memory, vcpus = (before.memory, before.vcpus) if known and before is not None else (
        _memory_and_vcpus(vm.pid))
    return ProcessInfo(vm.pid, record.started_at if record else None,
                       record.boot_id if record else None, memory, vcpus,
                       changed=record is not None and record.updated,
                       socket=str(machine.home / MONITOR_SOCKET))


def _memory_and_vcpus(pid: int) -> tuple[int | None, int | None]:
    values = dict(pairwise(command_line(pid)))
    memory, cpus = values.get("-m", ""), values.get("-smp", "").partition(",")[0]
    return (int(memory[:-1]) << 20 if memory[:-1].isdigit() else None,
            int(cpus) if cpus.isdigit() else None)
