"""One VM: its process, its QMP connection and its directory, behind one interface.

The engine calls `observe` and the actions; the kernel and StratoVirt report through `Listener`.
No decision is made here. Every wait has a limit. A launch cannot be interrupted, a wait can.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.domain.policy import StopMode
from reconciler.errors import HostError, NameTaken, QmpError, StartFailed, StopFailed
from reconciler.failpoints import Point, nothing
from reconciler.stratovirt import agent, process, record
from reconciler.stratovirt.command_line import Start, arguments
from reconciler.stratovirt.exit_evidence import EvidenceCollector
from reconciler.stratovirt.hotplug_client import EventWaiters, HotplugClient, save_definition
from reconciler.stratovirt.observation import EndedBy, ExitEvidence, Vm, VmState, ptys
from reconciler.stratovirt.prepare import HostResources, prepare, release
from reconciler.stratovirt.qmp_session import QmpSession
from reconciler.stratovirt.recognition import Programs, executable_of, find
from reconciler.stratovirt.stderr_log import move

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.hot_change import Adjustment
    from reconciler.failpoints import Reached
    from reconciler.host.cgroup import OomKills
    from reconciler.host.notify import Notifier
    from reconciler.stratovirt.prepare import StartRequest
    from reconciler.stratovirt.record import Record

AGENT_PATIENCE = 3.0  # seconds; a guest without the agent never answers
NEVER_UP_PATIENCE = 0.5  # seconds; before the VM is up, the guest has no data to lose
SIGNAL_PATIENCE = 5.0  # seconds for quit, SIGTERM and SIGKILL each; quit normally takes 20 ms

# Starts a coroutine as a named task. The owner of the VM keeps the task and reports its exception.
Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Listener(Protocol):
    """Receives what happens to a VM on its own. All calls come from the event loop."""

    def on_event(self, name: str, data: dict[str, Any]) -> None:
        """StratoVirt sent a QMP event."""

    def on_disconnect(self) -> None:
        """The QMP connection closed; the VM may still be running."""

    def on_end(self, evidence: ExitEvidence, *, requested: bool) -> None:
        """The process ended, if `requested` by `stop`. Called once for each process."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds: for one QMP command, and for a start until QMP answers."""

    qmp: float = 10.0
    start: float = 30.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What the VMs of all domains have in common."""

    notifier: Notifier
    oom_kills: OomKills
    spawn: Spawn
    limits: Limits = Limits()
    programs: Programs = Programs()
    logs: Path | None = None  # where the directory of each VM's stderr is, by uuid
    reached: Reached = nothing


class VirtualMachine:
    """The VM of the domain `uuid` in the directory `home`.

    The directory may still be in use by another domain, which was renamed: then this VM is absent,
    and cannot be launched. `unlocked`: its process, if it runs but its directory, and with it the
    lock, was deleted.
    """

    def __init__(self, home: Path, uuid: str, listener: Listener, shared: Shared,
                 unlocked: process.Process | None = None) -> None:
        self.home = home
        self.reached = shared.reached
        self._uuid = uuid
        self.record: Record | None = self._load()
        self.process: process.Process | None = None
        self._listener = listener
        self._limits = shared.limits
        self._programs = shared.programs
        self._logs = shared.logs
        self._spawn = shared.spawn
        self._unlocked = unlocked
        self._end_watch: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._stop_requested = False
        self._evidence = EvidenceCollector(home, shared.oom_kills)
        self._waiters = EventWaiters()
        self._qmp = QmpSession(home, shared.notifier, self._ended, self._on_event,
                               listener.on_disconnect, shared.reached)

    def _load(self) -> Record | None:
        """The record in the directory, unless it is another domain's."""
        found = record.load(self.home)
        return found if found is not None and found.uuid == self._uuid else None

    # Observing

    def adopt(self) -> bool:
        """Find the process that holds the lock, and follow it; whether there is one."""
        if self.process is None:
            found, self._unlocked = self._unlocked, None
            if found is None and process.locked(self.home) and not self._reassigned():
                if self.record is None or self.record.pid is None:
                    self.record = self._load()  # `reconciler adopt` may have written it
                found = find(self.home, self.record, self._programs)
            kept = self.record
            if found is None and kept is not None and kept.foreign and (
                    kept.boot_id == record.boot_id()):
                found = process.restore_lock_holder(kept.pid, kept.started, self.home)
            if found is not None:
                self._follow(found)
        return self.process is not None

    def occupied(self) -> bool:
        """Whether any process holds the lock of this directory."""
        return process.locked(self.home)

    def _reassigned(self) -> bool:
        """Whether the directory is another domain's: one of the two was renamed."""
        now = record.load(self.home)
        return now is not None and now.uuid != self._uuid

    async def observe(self) -> Vm:
        """The current state: of the process from the kernel, of the guest from QMP."""
        if not self.adopt() or self.process is None:
            if process.locked(self.home) and not self._reassigned():
                return Vm(problem=str(process.lock_taken(self.home)), reason="Conflict")
            return Vm(VmState.ABSENT)
        pid = self.process.pid
        if self.record is not None and self.record.pending_action == "start":
            return Vm(VmState.STARTING, pid)  # QMP has not answered yet
        try:
            status = await self._qmp.execute("query-status", self._limits.qmp)
        except QmpError as error:
            alive = bool(self.process)  # it may have ended in the meantime
            return Vm(VmState.UNKNOWN, pid, str(error)) if alive else Vm(VmState.ABSENT)
        if not isinstance(status, dict) or not isinstance(status.get("running"), bool):
            return Vm(VmState.UNKNOWN, pid, f"query-status returned {status!r:.80}")
        kept = self.record or record.Record("", "")
        return Vm(VmState.RUNNING if status["running"] else VmState.PAUSED, pid,
                  least_vcpus=kept.vcpus, uncertain=kept.uncertain, foreign=kept.foreign,
                  generation=kept.generation)

    async def consoles(self) -> dict[str, str]:
        """Pty paths of the consoles and the serial port, by label; raises QmpError."""
        return ptys(await self.execute("query-chardev"))

    def foreign_client_seen(self) -> bool:
        """Whether another client connected to the second monitor since the last call.

        That client gets the QMP events now; `reconnect` takes them back.
        """
        return self.process is not None and self._qmp.foreign_client_seen()

    def reconnect(self) -> None:
        """Close the connection, so that the next command opens a new one, which gets the events."""
        self._qmp.close()

    def exit_evidence(self) -> ExitEvidence:
        """The evidence left by a process that ended while the reconciler was not running."""
        return self._evidence.collect(process.Ended(), self.record)

    def mark_ended(self) -> None:
        """Clean up after the process in the record, which has ended."""
        self._clean_up()

    # Acting

    def prepare(self, request: StartRequest) -> HostResources:
        """Create the host resources for a start (blocking); raises HostError, and keeps none."""
        self.reached(Point.MAKE_DIRECTORY)
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return prepare(request, str(self.home), self.reached)

    def launch(self, request: StartRequest, made: HostResources, started_at: str) -> int:
        """Start the process, after the record on disk says so; returns the pid.

        Raises LockTaken if another process holds the lock, NameTaken if that is the VM of another
        domain, StartFailed if the start fails.
        """
        domain = request.domain
        if self.occupied():  # before the record of that process is overwritten
            if self._reassigned():
                raise NameTaken(f"another VM still runs as '{self.home.name}'",
                                hint="it is attempted again until that VM has ended")
            raise process.lock_taken(self.home)
        kept = record.Record(domain.name, domain.uuid, request.generation, record.boot_id(),
                             pending_action="start", places=dict(request.layout.places),
                             read_with=request.read_with, file=domain.file, taps=made.taps,
                             attached=made.attached, host_devices=made.host_devices,
                             started_at=started_at,
                             ports={port.index: port.place for port in request.layout.ports
                                    if port.place is not None},
                             vcpus=domain.current_vcpus or domain.vcpus)
        # It may have been removed since `prepare`, with a domain that had the name before.
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.reached(Point.WRITE_DEFINITION)
        record.save_definition(self.home, request.text)
        self.reached(Point.NOTE_START)
        record.save(self.home, kept)
        argv = [*request.program,
                *arguments(domain, Start(self.home, request.layout, request.paused,
                                         made.hugepages))]
        self.record = kept
        try:
            vm = process.launch(argv, self.home, self.reached, self._log(self._uuid))
        except StartFailed:
            self._clean_up()
            raise
        self._follow(vm)
        return vm.pid

    async def wait_until_up(self) -> None:
        """Wait until a launched VM answers QMP; raises StartFailed with StratoVirt's reason.

        A VM that does not answer in time is ended. Cancelling leaves it as it is.
        """
        try:
            await self._qmp.connect(self._limits.start)
        except QmpError as error:
            if self.process is None:
                raise StartFailed(process.exit_reason(self.home)) from error
            await self.stop(StopMode.FORCE, 0.0)
            message = f"the VM did not answer QMP within {self._limits.start:g} s: {error}"
            raise StartFailed(message) from error
        # Only now: a script that is configured as the program has executed it by now.
        executable = "" if self.process is None else executable_of(self.process.pid)
        self.update_record(Point.NOTE_UP, pending_action="", executable=executable)

    async def pause(self) -> None:
        """Stop the vCPUs; raises QmpError."""
        self.reached(Point.PAUSE)
        await self.execute("stop")

    async def resume(self) -> None:
        """Let the vCPUs run; raises QmpError."""
        self.reached(Point.RESUME)
        await self.execute("cont")

    async def adjust(self, change: Adjustment, text: bytes, *, manage_taps: bool) -> None:
        """Carry out one live change; `text` is the definition of the VM after it.

        Raises QmpInactive or GuestUnwilling while the guest does not cooperate, and QmpRefused if
        StratoVirt refuses it. After another QmpError the outcome is unknown: the record says so.
        """
        await HotplugClient(self, self._waiters, manage_taps=manage_taps).adjust(change, text)

    async def execute(self, command: str, **arguments: object) -> Any:
        """Run one QMP command; raises QmpError."""
        return await self._qmp.execute(command, self._limits.qmp, **arguments)

    def save_definition(self, text: bytes) -> None:
        """Store the definition of the VM after the guest released a device on its own."""
        save_definition(self, text)

    def update_record(self, point: Point, **values: Any) -> None:
        """Change fields of the record, and save it."""
        if self.record is not None:
            self.record = replace(self.record, **values)
            self._save_record(point)

    async def stop(self, mode: StopMode, patience: float, *, agent_socket: str | None = None,
                   power_button: bool = False) -> EndedBy:
        """End the process: by the guest if it can be asked, then by quit, SIGTERM, SIGKILL.

        The guest gets `patience` seconds. Returns what ended it, at once if there is no process.
        Raises StopFailed if the process survives SIGKILL, or another process holds the lock.
        """
        if self.process is None:
            if process.locked(self.home) and not self._reassigned():
                message = f"{process.lock_taken(self.home)}; it was not stopped"
                raise StopFailed(message)
            return EndedBy.NOTHING
        self._stop_requested = True
        never_up = self.record is not None and self.record.pending_action == "start"
        limit = NEVER_UP_PATIENCE if never_up else SIGNAL_PATIENCE
        self.update_record(Point.NOTE_STOP, pending_action="stop")
        if mode is StopMode.GRACEFUL and await self._ask_guest(
                agent_socket, power_button=power_button) and (
                await self._ended_within(patience)):
            return EndedBy.GUEST
        self.reached(Point.QUIT)
        if await self._qmp.execute_if_connected(
                "quit", min(SIGNAL_PATIENCE, self._limits.qmp)) and (
                await self._ended_within(limit)):
            return EndedBy.QUIT
        for number, point, by in ((signal.SIGTERM, Point.SIGTERM, EndedBy.TERM),
                                  (signal.SIGKILL, Point.SIGKILL, EndedBy.KILL)):
            self.reached(point)
            if self.process is not None:
                process.send_signal(self.process, number)
            if await self._ended_within(SIGNAL_PATIENCE if number is signal.SIGKILL else limit):
                return by
        message = "the process did not end, even after SIGKILL"
        raise StopFailed(message)

    def forget(self) -> None:
        """Remove the directory of a VM that has ended; disks and nvram are kept."""
        if self.process is None and not process.locked(self.home) and not self._reassigned():
            self.reached(Point.FORGET_VM)
            shutil.rmtree(self.home, ignore_errors=True)
            log = self._log(self._uuid)
            if log is not None:
                shutil.rmtree(log, ignore_errors=True)
            self.record = None

    def _log(self, uuid: str) -> Path | None:
        return None if self._logs is None else self._logs / uuid

    def change_uuid(self, uuid: str) -> None:
        """The domain has another uuid now; its process keeps running."""
        before, after = self._log(self._uuid), self._log(uuid)
        if before is not None and after is not None:
            move(before, after, self.home)
        self._uuid = uuid
        self.update_record(Point.NOTE_UUID, uuid=uuid)

    def abandon(self) -> None:
        """Remove the directory, unless another domain uses it by now."""
        if self.process is None and self._load() is not None and not self.occupied():
            self.reached(Point.LEAVE_DIRECTORY)
            shutil.rmtree(self.home, ignore_errors=True)

    def close(self) -> None:
        """Stop following the process, which keeps running."""
        if self._end_watch is not None:
            self._end_watch.cancel()
        self._qmp.close()

    # Following the process

    def _on_event(self, name: str, data: dict[str, Any]) -> None:
        self._evidence.note_event(name, data)
        self._waiters.notify(name, str(data.get("device") or ""))
        self._listener.on_event(name, data)

    def _follow(self, vm: process.Process) -> None:
        self.process = vm
        self._stop_requested = self.record is not None and self.record.pending_action == "stop"
        before = self.record
        self.record = self._evidence.begin(vm, before)
        if self.record != before:
            self._save_record(Point.NOTE_PROCESS)
        self._ended.clear()
        self._end_watch = self._spawn(self._until_end(vm), f"end of {self.home.name}")

    async def _until_end(self, vm: process.Process) -> None:
        """Wait for the end of the process, and report it, even if cleaning up after it fails."""
        how = await process.ended(vm)
        evidence, failure = ExitEvidence(how.code, how.signal), None
        try:
            evidence = self._evidence.collect(how, self.record)
            if self.record is not None and self.record.foreign:
                await process.wait_until_unlocked(self.home, SIGNAL_PATIENCE)
        except Exception as error:  # noqa: BLE001  # raised again, to the owner of this task
            failure = error
        self.process = None
        requested, self._stop_requested = self._stop_requested, False
        self.reached(Point.REPORT_END)
        try:
            # Before the record forgets the process: a reconciler that is killed in between must
            # find the exit that was not counted.
            self._listener.on_end(evidence, requested=requested)
        finally:
            try:
                self._clean_up()
            except Exception as error:  # noqa: BLE001  # the same
                failure = failure or error
            self._ended.set()
        if failure is not None:
            raise failure

    def _clean_up(self) -> None:
        """Release the host resources of a VM that has ended, and reset its record."""
        if self.record is None:
            return
        kept = self.record
        release(HostResources(kept.taps, kept.attached, kept.host_devices), self.reached)
        self.record = replace(self.record, pid=None, started=None, pending_action="", taps=(),
                              attached=(), host_devices=(), updated=False, uncertain=False,
                              foreign=False)
        self._save_record(Point.NOTE_END)

    def _save_record(self, point: Point) -> None:
        """Save the record; on a full disk, the facts from the kernel have to suffice."""
        if self.record is not None:
            with suppress(OSError):
                self.reached(point)
                record.save(self.home, self.record)

    async def _ask_guest(self, agent_socket: str | None, *, power_button: bool) -> bool:
        """Ask the guest to shut down; whether the request was delivered."""
        if agent_socket is not None:
            with suppress(HostError):
                self.reached(Point.ASK_GUEST)
                await agent.shut_down(self.home / agent_socket, AGENT_PATIENCE)
                return True
        return power_button and await self._qmp.execute_if_connected(
            "system_powerdown", self._limits.qmp)

    async def _ended_within(self, limit: float) -> bool:
        try:
            async with asyncio.timeout(limit):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True
