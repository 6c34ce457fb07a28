"""One VM as a thing that can be looked at and acted on: its process, its QMP, its directory.

The engine calls `observe` and the acts; the kernel and StratoVirt call back through `Listener`.
Nothing is decided here. Every wait has a limit; launching is not interruptible, waiting is.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.domain.model import StopMode
from reconciler.errors import HostError, QmpClosed, QmpError, StartFailed, StopFailed
from reconciler.host import files
from reconciler.stratovirt import agent, process, record
from reconciler.stratovirt.command_line import QMP_SOCKET, Start, arguments
from reconciler.stratovirt.exit_evidence import EvidenceCollector
from reconciler.stratovirt.hotplug_client import EventWaiters, HotplugClient, save_definition
from reconciler.stratovirt.monitors import Monitor
from reconciler.stratovirt.observation import Vm, VmState, ptys
from reconciler.stratovirt.prepare import give_back, prepare
from reconciler.stratovirt.qmp import Qmp

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.hot_change import Adjustment
    from reconciler.host.cgroup import OomKills
    from reconciler.host.notify import Notifier
    from reconciler.stratovirt.observation import ExitEvidence
    from reconciler.stratovirt.prepare import HostResources, StartRequest
    from reconciler.stratovirt.record import Record

REFUSED_PAUSE = 0.001  # between a socket's bind and its listen, which nothing announces
LONGEST_PAUSE = 0.2  # between tries on a socket that is there and lets nobody in
AGENT_PATIENCE = 3.0  # a guest without the agent never answers
NEVER_UP_PATIENCE = 0.5  # there is no guest yet that could lose anything
SIGNAL_PATIENCE = 5.0  # for quit, SIGTERM and SIGKILL each; quit takes 20 ms when all is well


class Listener(Protocol):
    """Who hears of what happens by itself."""

    def on_event(self, name: str, data: dict[str, Any]) -> None:
        """A QMP event."""

    def on_disconnect(self) -> None:
        """The QMP connection closed."""

    def on_end(self, evidence: ExitEvidence, *, requested: bool) -> None:
        """The process ended; `requested`: because it was stopped here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that things may take."""

    qmp: float = 10.0
    start: float = 30.0


class VirtualMachine:
    """The VM that lives in the directory `home`."""

    def __init__(self, home: Path, listener: Listener, notifier: Notifier, limits: Limits,
                 oom_kills: OomKills, unlocked: process.Process | None = None) -> None:
        self.home = home
        self._unlocked = unlocked  # its process, where its directory and so its lock was deleted
        self.record: Record | None = record.load(home)
        self.process: process.Process | None = None
        self._listener = listener
        self._notifier = notifier
        self._limits = limits
        self._qmp: Qmp | None = None
        self._watching: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._connecting = asyncio.Lock()  # StratoVirt lets a second client wait without a word
        self._asked = False
        self._clues = EvidenceCollector(home, oom_kills)
        self._monitor = Monitor(home)
        self._waits = EventWaiters()

    # Looking

    def adopt(self) -> bool:
        """Find the process that holds our lock (rule 2); whether there is one now."""
        if self.process is None:
            found, self._unlocked = self._unlocked, None
            if found is None and process.locked(self.home) and not self._left():
                if self.record is None or self.record.pid is None:
                    self.record = record.load(self.home)  # somebody adopted one by hand
                found = self._find()
            kept = self.record
            if found is None and kept is not None and kept.foreign and (
                    kept.boot_id == record.boot_id()):
                found = process.restore_lock_holder(kept.pid, kept.started, self.home)
            if found is not None:
                self._follow(found)
        return self.process is not None

    def _find(self) -> process.Process | None:
        kept = self.record
        if kept is None:
            return process.find(self.home, None, None)
        return process.find(self.home, kept.pid, kept.started, foreign=kept.foreign)

    def occupied(self) -> bool:
        """Whether a process holds its lock, whoever that is."""
        return process.locked(self.home)

    def _left(self) -> bool:
        """Whether another domain has this directory now: ours was renamed, and has ended."""
        now = record.load(self.home)
        return now is not None and self.record is not None and now.uuid != self.record.uuid

    async def observe(self) -> Vm:
        """What is there now: the kernel's word, then QMP's."""
        if not self.adopt() or self.process is None:
            if process.locked(self.home) and not self._left():
                return Vm(problem="a process holds its lock and cannot be recognised")
            return Vm(VmState.ABSENT)
        pid = self.process.pid
        if self.record is not None and self.record.pending_action == "start":
            return Vm(VmState.STARTING, pid)  # nobody has seen it up yet
        try:
            qmp = await self._connected(self._limits.qmp)
            status = await qmp.execute("query-status", self._limits.qmp)
        except QmpError as error:
            alive = bool(self.process)  # it may have ended meanwhile
            return Vm(VmState.UNKNOWN, pid, str(error)) if alive else Vm(VmState.ABSENT)
        if not isinstance(status, dict) or not isinstance(status.get("running"), bool):
            return Vm(VmState.UNKNOWN, pid, f"query-status answered {status!r:.80}")
        kept = self.record or record.Record("", "")
        return Vm(VmState.RUNNING if status["running"] else VmState.PAUSED, pid,
                  least_vcpus=kept.vcpus, uncertain=kept.uncertain, foreign=kept.foreign,
                  generation=kept.generation)

    async def consoles(self) -> dict[str, str]:
        """Label to pty path, of consoles and the serial port."""
        return ptys(await self.execute("query-chardev"))

    def foreign_client_seen(self) -> bool:
        """Whether somebody came to the monitor for people: then our events go to them."""
        return self.process is not None and self._monitor.touched()

    def reconnect(self) -> None:
        """Connect anew at the next look: the one that connected last gets the events."""
        if self._qmp is not None:
            self._qmp.close()

    def exit_evidence(self) -> ExitEvidence:
        """What a process that ended while nobody watched has left."""
        return self._clues.evidence(process.Ended(), self.record)

    def mark_ended(self) -> None:
        """Its record says that it runs, and it does not: clean up after it."""
        self._clean()

    # Acting

    def prepare(self, order: StartRequest) -> HostResources:
        """Make what the start needs (blocking); all of it, or nothing is left."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return prepare(order, str(self.home))

    def launch(self, order: StartRequest, made: HostResources, started_at: str) -> int:
        """Start the process and know it; the intent is on disk before it. Returns the pid."""
        domain = order.domain
        if self.occupied():  # what is written about that one stays as it is
            raise StartFailed(process.TAKEN)
        kept = record.Record(domain.name, domain.uuid, order.generation, record.boot_id(),
                             pending_action="start", places=dict(order.layout.places),
                             read_with=order.read_with, file=domain.file, taps=made.taps,
                             host_devices=made.host_devices, started_at=started_at,
                             ports={port.index: port.place for port in order.layout.ports
                                    if port.place is not None},
                             vcpus=domain.current_vcpus or domain.vcpus)
        files.write_whole(self.home / record.DEFINITION, order.text)
        record.save(self.home, kept)
        words = [*order.program,
                 *arguments(domain, Start(self.home, order.layout, order.paused, made.hugepages))]
        self.record = kept
        try:
            vm = process.launch(words, self.home)
        except StartFailed:
            self._clean()
            raise
        self._follow(vm)
        return vm.pid

    async def wait_until_up(self) -> None:
        """Wait until the VM that was launched answers; raises StartFailed with its own reason.

        One that never answers is ended: it was never up. Cancelling leaves it as it is.
        """
        try:
            await self._connected(self._limits.start)
        except QmpError as error:
            if self.process is None:
                raise StartFailed(process.exit_reason(self.home)) from error
            await self.stop(StopMode.FORCE, 0.0)
            message = f"it was not up within {self._limits.start:g} s: {error}"
            raise StartFailed(message) from error
        if self.record is not None:
            self.record = replace(self.record, pending_action="")
            self._save_record()

    async def pause(self) -> None:
        """QMP stop."""
        await self.execute("stop")

    async def resume(self) -> None:
        """QMP cont."""
        await self.execute("cont")

    async def adjust(self, change: Adjustment, text: bytes, *, manage_taps: bool) -> None:
        """One live change, whole; `text` is what the VM then has got.

        Raises QmpInactive or GuestUnwilling when the guest does not go along yet, QmpRefused when
        it cannot be; after another QmpError nobody knows how far it came, and the record says so.
        """
        await HotplugClient(self, self._waits, manage_taps=manage_taps).adjust(change, text)

    async def execute(self, command: str, **arguments: object) -> Any:
        """One QMP command."""
        qmp = await self._connected(self._limits.qmp)
        return await qmp.execute(command, self._limits.qmp, **arguments)

    def save_definition(self, text: bytes) -> None:
        """What the VM has got by now, after something went that nobody here asked for."""
        save_definition(self, text)

    def update_record(self, **values: Any) -> None:
        """Change its record, and keep it."""
        if self.record is not None:
            self.record = replace(self.record, **values)
            self._save_record()

    async def stop(self, mode: StopMode, patience: float, *, agent_socket: str | None = None,
                   power_button: bool = False) -> None:
        """End the process: the guest is asked if it can be, then quit, SIGTERM, SIGKILL.

        Raises StopFailed when it outlives even that. Stopping what is not there is done.
        """
        if self.process is None:
            if process.locked(self.home) and not self._left():
                message = "a process holds its lock and cannot be recognised; see `status`"
                raise StopFailed(message)
            return
        self._asked = True
        never_up = self.record is not None and self.record.pending_action == "start"
        limit = NEVER_UP_PATIENCE if never_up else SIGNAL_PATIENCE
        if self.record is not None:
            self.record = replace(self.record, pending_action="stop")
            self._save_record()
        if mode is StopMode.GRACEFUL and await self._ask_guest(
                agent_socket, power_button=power_button) and (
                await self._ended_within(patience)):
            return
        with suppress(QmpError):
            if self._qmp is not None and not self._qmp.closed:
                await self._qmp.execute("quit", min(SIGNAL_PATIENCE, self._limits.qmp))
                if await self._ended_within(limit):
                    return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process is not None:
                process.send_signal(self.process, number)
            if await self._ended_within(SIGNAL_PATIENCE if number is signal.SIGKILL else limit):
                return
        message = "the process does not end, not even by SIGKILL"
        raise StopFailed(message)

    def forget(self) -> None:
        """Take the directory of a VM that is gone away; disks and nvram are never touched."""
        if self.process is None and not process.locked(self.home):
            shutil.rmtree(self.home, ignore_errors=True)
            self.record = None

    def abandon(self, uuid: str) -> None:
        """Leave this directory to whoever has its name now: only what is of this domain goes."""
        kept = record.load(self.home)
        if self.process is None and kept is not None and kept.uuid == uuid:
            (self.home / record.RECORD).unlink(missing_ok=True)
            (self.home / record.DEFINITION).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it; the VM lives on."""
        if self._watching is not None:
            self._watching.cancel()
        if self._qmp is not None:
            self._qmp.close()

    # Inside

    async def _connected(self, limit: float) -> Qmp:
        """Our QMP connection; waits for the socket, at most `limit` seconds. Raises QmpError."""
        try:
            async with asyncio.timeout(limit), self._connecting:
                if self._qmp is not None and not self._qmp.closed:
                    return self._qmp
                return await self._connect(limit)
        except TimeoutError:
            message = f"no QMP socket within {limit:g} s"
            raise QmpError(message) from None
        except OSError as error:
            message = f"{self.home}: {error.strerror}"
            raise QmpError(message) from error

    async def _connect(self, limit: float) -> Qmp:
        path, pause = self.home / QMP_SOCKET, REFUSED_PAUSE
        with self._notifier.appearing(path) as made:
            while not self._over.is_set():
                with suppress(QmpClosed):
                    self._qmp = await Qmp.connect(path, self._event, self._disconnected, limit)
                    self._monitor.arm()
                    return self._qmp
                if made.is_set() or path.exists():
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    await self._made_or_over(made)
        message = "the process ended"
        raise QmpClosed(message)

    async def _made_or_over(self, made: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(made.wait()), asyncio.ensure_future(self._over.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _event(self, name: str, data: dict[str, Any]) -> None:
        self._clues.hear(name, data)
        self._waits.tell(name, str(data.get("device") or ""))
        self._listener.on_event(name, data)

    def _disconnected(self) -> None:
        self._qmp = None
        self._listener.on_disconnect()

    def _follow(self, vm: process.Process) -> None:
        self.process = vm
        self._asked = self.record is not None and self.record.pending_action == "stop"
        before = self.record
        self.record = self._clues.begin(vm, before)
        if self.record != before:
            self._save_record()
        self._over.clear()
        self._watching = asyncio.create_task(self._until_end(vm), name=f"end of {self.home.name}")

    async def _until_end(self, vm: process.Process) -> None:
        how = await process.ended(vm)
        traces = self._clues.evidence(how, self.record)
        self.process = None
        asked, self._asked = self._asked, False
        if self.record is not None and self.record.foreign:
            await process.wait_until_unlocked(self.home, SIGNAL_PATIENCE)
        self._clean()
        self._over.set()
        self._listener.on_end(traces, requested=asked)

    def _clean(self) -> None:
        """What an ended VM leaves on the host: taps and devices, if we made or bound them."""
        if self.record is None:
            return
        give_back(self.record.taps, self.record.host_devices)
        self.record = replace(self.record, pid=None, started=None, pending_action="", taps=(),
                              host_devices=(), updated=False, uncertain=False, foreign=False)
        self._save_record()

    def _save_record(self) -> None:
        """Keep its record; the kernel's facts must do where the disk is full."""
        if self.record is not None:
            with suppress(OSError):
                record.save(self.home, self.record)

    async def _ask_guest(self, agent_socket: str | None, *, power_button: bool) -> bool:
        """Whether the guest could be asked to shut down."""
        if agent_socket is not None:
            with suppress(HostError):
                await agent.shut_down(self.home / agent_socket, AGENT_PATIENCE)
                return True
        if power_button and self._qmp is not None and not self._qmp.closed:
            with suppress(QmpError):
                await self._qmp.execute("system_powerdown", self._limits.qmp)
                return True
        return False

    async def _ended_within(self, limit: float) -> bool:
        try:
            async with asyncio.timeout(limit):
                await self._over.wait()
        except TimeoutError:
            return False
        return True
