"""Carries out one live change of a VM: its taps, its QMP commands, and its new definition.

Before the first command, the record says that a change is under way. A reconciler that finds it so
after a crash knows that the devices of the VM are uncertain.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from reconciler.errors import GuestUnwilling, QmpRefused
from reconciler.failpoints import Point
from reconciler.host import taps
from reconciler.stratovirt import record
from reconciler.stratovirt.prepare import HostResources, release, tap_of, with_tap

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.hot_change import Adjustment
    from reconciler.domain.model import Command
    from reconciler.failpoints import Reached
    from reconciler.stratovirt.record import Record

UNPLUG_PATIENCE = 10.0  # seconds; a guest that releases a device takes one or two


class EventWaiters:
    """Waits for QMP events of one device, or of the processors (with an empty device name)."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}

    def expect(self, event: str, device: str) -> asyncio.Event:
        """Start waiting. To be called before the command: its event may precede its answer."""
        return self._waiting.setdefault((event, device), asyncio.Event())

    def notify(self, event: str, device: str) -> None:
        """The event arrived."""
        waiting = self._waiting.pop((event, device), None)
        if waiting is not None:
            waiting.set()

    def forget(self, event: str, device: str) -> None:
        """Stop waiting."""
        self._waiting.pop((event, device), None)


class LiveVm(Protocol):
    """The part of stratovirt.vm.VirtualMachine that a live change uses."""

    home: Path
    record: Record | None
    reached: Reached

    async def execute(self, command: str, **arguments: object) -> object:
        """Run one QMP command; raises QmpError."""

    def update_record(self, point: Point, **values: object) -> None:
        """Change fields of the record, and save it."""


class HotplugClient:
    """One live change of one VM."""

    def __init__(self, machine: LiveVm, waiters: EventWaiters, *, manage_taps: bool) -> None:
        self._machine = machine
        self._waiters = waiters
        self._manage_taps = manage_taps

    async def adjust(self, change: Adjustment, text: bytes) -> None:
        """Carry it out; `text` is the definition of the VM afterwards.

        Raises HostError, GuestUnwilling, QmpRefused or another QmpError.
        """
        await self._add_tap(change)
        if change.commands:
            self._machine.update_record(Point.NOTE_CHANGE, uncertain=True)
            try:
                await self._run(change)
            except QmpRefused:
                self._machine.update_record(Point.NOTE_CHANGED, uncertain=False)
                if change.plugged and change.card is not None:
                    await self._remove_tap(change.card.tap)
                raise
            except (GuestUnwilling, asyncio.CancelledError):
                # The VM keeps a device until DEVICE_DELETED. Whether a processor was added, or
                # how many, is unknown.
                self._machine.update_record(Point.NOTE_CHANGED,
                                            uncertain=not _is_removal(change))
                raise
        save_definition(self._machine, text)
        if change.tap:
            await self._remove_tap(change.tap)

    async def _run(self, change: Adjustment) -> None:
        for number, command in enumerate(change.commands):
            try:
                await self._execute(command)
            except QmpRefused:
                if command.anyway:
                    continue
                if number:
                    for undoing in change.undo:
                        with suppress(QmpRefused):
                            await self._execute(undoing)
                raise

    async def _execute(self, command: Command) -> None:
        device = "" if command.until == "CPU_RESIZE" else str(command.arguments.get("id", ""))
        done = self._waiters.expect(command.until, device) if command.until else None
        try:
            self._machine.reached(Point.CHANGE)
            await self._machine.execute(command.name, **command.arguments)
            if done is not None:
                async with asyncio.timeout(UNPLUG_PATIENCE):
                    await done.wait()
        except TimeoutError:
            if await self._already_removed(command):
                return
            message = f"{command.name}: the guest did not respond within {UNPLUG_PATIENCE:g} s"
            raise GuestUnwilling(message) from None
        finally:
            if done is not None:
                self._waiters.forget(command.until, device)

    async def _already_removed(self, command: Command) -> bool:
        """Whether the device is gone though its event was sent to another QMP client."""
        if command.until != "DEVICE_DELETED":
            return False
        try:
            await self._machine.execute(command.name, **command.arguments)
        except QmpRefused:
            return True  # there is no such device
        return False

    async def _add_tap(self, change: Adjustment) -> None:
        card, kept = change.card, self._machine.record
        if card is None or kept is None or not self._manage_taps:
            return
        tap = tap_of(card, str(self._machine.home))
        if not change.plugged:  # only its place on the host's network changes
            await asyncio.to_thread(taps.change, tap, self._machine.reached,
                                    attached=card.tap in kept.attached)
            return
        made = with_tap(HostResources(kept.taps, kept.attached), card.tap,
                        await asyncio.to_thread(taps.take, tap, self._machine.reached))
        self._machine.update_record(Point.NOTE_TAPS, taps=made.taps, attached=made.attached)

    async def _remove_tap(self, tap: str) -> None:
        kept = self._machine.record
        if kept is not None and tap in (*kept.taps, *kept.attached):
            theirs = tuple(t for t in kept.attached if t == tap)
            await asyncio.to_thread(release, HostResources(
                tuple(t for t in kept.taps if t == tap), theirs), self._machine.reached)
            self._machine.update_record(Point.NOTE_TAPS,
                                        taps=tuple(t for t in kept.taps if t != tap),
                                        attached=tuple(t for t in kept.attached if t != tap))


def save_definition(machine: LiveVm, text: bytes) -> None:
    """Store the current definition of a VM.

    If the disk is full, the record on disk keeps saying that the devices are uncertain, for the
    next reconciler; this one knows them.
    """
    try:
        machine.reached(Point.WRITE_CHANGED)
        record.save_definition(machine.home, text)
    except OSError:
        if machine.record is not None:
            machine.record = replace(machine.record, uncertain=False)
    else:
        machine.update_record(Point.NOTE_CHANGED, uncertain=False, updated=True)


def _is_removal(change: Adjustment) -> bool:
    """Whether a device is removed: until its event arrives, the VM still has it."""
    return change.commands[0].until == "DEVICE_DELETED"
