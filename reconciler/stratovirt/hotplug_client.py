"""Carries out one live change of a VM: the host's part, its QMP commands, what is kept of it.

Before the first command the record says that a change is under way; whoever finds it so later, and
was not there, knows only that the VM is not known.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from reconciler.errors import GuestUnwilling, QmpRefused
from reconciler.host import taps
from reconciler.host.files import write_whole
from reconciler.stratovirt.prepare import wire
from reconciler.stratovirt.record import DEFINITION, Record

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.hot_change import Adjustment
    from reconciler.domain.model import Command

UNPLUG_PATIENCE = 10.0  # seconds; a guest that can let a device go takes one or two


class EventWaiters:
    """Who waits for an event of a device, or of the processors (of no device)."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}

    def expect(self, event: str, device: str) -> asyncio.Event:
        """Begin to wait; from before the command, since the event may be the first to come."""
        return self._waiting.setdefault((event, device), asyncio.Event())

    def tell(self, event: str, device: str) -> None:
        """It came."""
        waiting = self._waiting.pop((event, device), None)
        if waiting is not None:
            waiting.set()

    def forget(self, event: str, device: str) -> None:
        """Nobody waits any more."""
        self._waiting.pop((event, device), None)


class LiveVm(Protocol):
    """What a live change needs of stratovirt.machine."""

    home: Path
    record: Record | None

    async def execute(self, command: str, **arguments: object) -> object:
        """One QMP command."""

    def update_record(self, **values: object) -> None:
        """Change the record."""


class HotplugClient:
    """One change of one VM."""

    def __init__(self, machine: LiveVm, waits: EventWaiters, *, manage_taps: bool) -> None:
        self._machine = machine
        self._waits = waits
        self._manage_taps = manage_taps

    async def adjust(self, change: Adjustment, text: bytes) -> None:
        """Carry it out; `text` is the definition of what the VM then has got."""
        await self._wire(change)
        if change.commands:
            self._machine.update_record(uncertain=True)
            try:
                await self._tell(change)
            except QmpRefused:
                self._machine.update_record(uncertain=False)
                raise
            except GuestUnwilling:
                # It has the device until DEVICE_DELETED says otherwise; of a processor that was
                # asked for, nobody knows.
                self._machine.update_record(uncertain=not _asks_to_go(change))
                raise
            except asyncio.CancelledError:
                # We are ended while the guest makes up its mind: the next reconciler asks again.
                self._machine.update_record(uncertain=not _asks_to_go(change))
                raise
        save_definition(self._machine, text)
        if change.tap:
            await self._unwire(change.tap)

    async def _tell(self, change: Adjustment) -> None:
        for number, command in enumerate(change.commands):
            try:
                await self._command(command)
            except QmpRefused:
                if command.anyway:
                    continue
                if number:
                    for undoing in change.undo:
                        with suppress(QmpRefused):
                            await self._command(undoing)
                raise

    async def _command(self, command: Command) -> None:
        device = "" if command.until == "CPU_RESIZE" else str(command.arguments.get("id", ""))
        over = self._waits.expect(command.until, device) if command.until else None
        try:
            await self._machine.execute(command.name, **command.arguments)
            if over is not None:
                async with asyncio.timeout(UNPLUG_PATIENCE):
                    await over.wait()
        except TimeoutError:
            if await self._gone(command):
                return
            message = (f"{command.name}: the guest did not agree within {UNPLUG_PATIENCE:g} s")
            raise GuestUnwilling(message) from None
        finally:
            if over is not None:
                self._waits.forget(command.until, device)

    async def _gone(self, command: Command) -> bool:
        """Whether it has gone although nobody told us: events go to the latest client alone."""
        if command.until != "DEVICE_DELETED":
            return False
        try:
            await self._machine.execute(command.name, **command.arguments)
        except QmpRefused:
            return True  # there is no such device any more
        return False

    async def _wire(self, change: Adjustment) -> None:
        card, record = change.card, self._machine.record
        if card is None or record is None or not self._manage_taps:
            return
        if await asyncio.to_thread(wire, card, str(self._machine.home)):
            self._machine.update_record(taps=(*record.taps, card.tap))

    async def _unwire(self, tap: str) -> None:
        record = self._machine.record
        if record is not None and tap in record.taps:
            await asyncio.to_thread(taps.remove, tap)
            self._machine.update_record(taps=tuple(t for t in record.taps if t != tap))


def save_definition(machine: LiveVm, text: bytes) -> None:
    """From now on this is what it has got.

    On a full disk it stays uncertain there, for the next reconciler; we know.
    """
    try:
        write_whole(machine.home / DEFINITION, text)
    except OSError:
        if machine.record is not None:
            machine.record = replace(machine.record, uncertain=False)
    else:
        machine.update_record(uncertain=False, updated=True)


def _asks_to_go(change: Adjustment) -> bool:
    """Whether a device is to go: until its event says so, it is there."""
    return change.commands[0].until == "DEVICE_DELETED"
