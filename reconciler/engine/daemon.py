"""The reconciler: the source in, a keeper for each domain, commands, the status out.

Owns every task. One reconciler has its directories: a lock says so. Stopping it leaves the VMs.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.engine.api.handlers import Handlers
from reconciler.engine.composition import gate_of, memory_limit, unusable_secrets
from reconciler.engine.control.controller import DomainController
from reconciler.engine.control.coordinator import Coordinator
from reconciler.engine.control.environment import Environment
from reconciler.engine.control.work_queue import Priority, WorkQueue
from reconciler.engine.decide.constraints import Limits
from reconciler.engine.decide.inputs import Condition, Plan, Truth
from reconciler.engine.records.store import DomainRecord, Store
from reconciler.engine.rollout.announcer import Announcer
from reconciler.engine.rollout.revisions import Revisions
from reconciler.engine.source.source_sync import SourceSync
from reconciler.engine.status.publisher import Publisher
from reconciler.errors import AlreadyRunning, HostError
from reconciler.host.cgroup import OomKills
from reconciler.host.notify import Notifier
from reconciler.report.server import Server
from reconciler.stratovirt import monitors, process, vm
from reconciler.stratovirt.prepare import remove_stale_taps
from reconciler.stratovirt.record import boot_id, load
from reconciler.stratovirt.unmanaged import find_unmanaged
from reconciler.stratovirt.vm import Listener, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from reconciler.domain.model import Domain, ReadingHost
    from reconciler.engine.rollout.revisions import Outcome
    from reconciler.report.events import Journal
    from reconciler.settings import Settings
    from reconciler.stratovirt.binary import Binary
    from reconciler.stratovirt.unmanaged import UnmanagedProcess

PATIENCE = 0.8  # seconds that running steps get at a stop; what is cut short is looked at next time
FAULT_PAUSE = 30.0


class Daemon:
    """Everything together; `run` until a signal, or `once`."""

    def __init__(self, settings: Settings, binary: Binary, journal: Journal, host: ReadingHost,
                 read: Callable[[bytes, str, ReadingHost], Domain]) -> None:
        self.settings = settings
        self.binary = binary
        self.journal = journal
        self.vms = settings.runtime / "vms"
        self.vms.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._locks = take_locks(settings)
        self._unlocked = process.find_unlocked(self.vms)
        self.notifier = Notifier()
        self.oom_kills = OomKills()
        self.keepers: dict[str, DomainController] = {}  # by uuid
        limits = Limits(settings.max_unavailable,
                        memory_limit(settings, simulated=binary.simulated))
        self.neighbours = Coordinator(limits, self._wake_waiting, self._listed,
                                        self._touched)
        self.unmanaged: tuple[UnmanagedProcess, ...] = ()
        self.context = Environment(
            settings=settings, journal=journal, store=Store(settings.state / "domains"), host=host,
            program=[*binary.program, *settings.hypervisor.arguments],
            simulated=binary.simulated, boot_id=boot_id(),
            machine=self._machine, read_text=read, changed=self._changed,
            around=self.neighbours.around,
            dependencies=self.neighbours.dependencies,
            watch_files=self.notifier.watch_files)
        self.queue = WorkQueue(self._pass, self._fault)
        self.sync = SourceSync(self)
        self.announcer = Announcer(settings, journal, self.sync.source.where,
                                   self._note_told)
        self.revisions = Revisions(settings.state, self.announcer.tell)
        self.publisher = Publisher(self)
        self.server = Server(settings.api_socket, Handlers(self), self._request_fault)
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. The VMs live on (rule 2)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        source = self.sync.source
        source.start(self._wake_source)
        try:
            await self._begin()
            await self.server.start()
            await self._listen()
            self._own(source.run(), "source")
            self._own(self.sync.forever(), "looks at the source")
            self._own(self.publisher.heartbeat(), "heartbeat")
            self._own(self._watch_monitors(), "monitors")
            self._own(self._watch_unmanaged(), "unmanaged")
            self.revisions.tell_again()
            self._own(self.announcer.forever(), "announcer")
            stop = asyncio.create_task(self._over.wait(), name="until a signal")
            done, _ = await asyncio.wait({stop, *self._tasks},
                                         return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            for task in done - {stop}:
                task.result()  # a task that ended by itself has a fault: let it be seen
        finally:
            source.stop()
            await self._end()

    async def _listen(self) -> None:
        """Over TCP, too, where the configuration says so; a port that is taken stops no VM."""
        where = self.settings.http.listen
        if where is None:
            return
        host, _, port = where.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        for problem, hint in unusable_secrets(self.settings):
            self.journal.write("http.remarked", severity="warning", message=problem, hint=hint)
        try:
            await self.server.listen(host, int(port), lambda: gate_of(self.settings, host))
        except OSError as error:
            self.journal.write("http.failed", severity="error", reason="ListenFailed",
                               error=f"{where}: {error.strerror or error}",
                               hint="webhooks do not arrive; set http.listen to a free address")

    async def once(self) -> bool:
        """Converge, as far as it goes without waiting, and leave; whether all is Ready."""
        await self._begin()
        try:
            await self.sync.once(settle=True)
            await self.queue.rest()
            self.publisher.write()
            await self.announcer.flush()
            return all(k.plan.ready.status == "True" for k in self.keepers.values()) and (
                not self.sync.rejected and not self.sync.error and not self.sync.held)
        finally:
            await self._end()

    async def _begin(self) -> None:
        self._own(self.notifier.run(), "inotify")
        self.journal.write("reconciler.started", version=__version__, pid=os.getpid(),
                           hypervisor=self.binary.program[0], simulated=self.binary.simulated)
        if self.binary.simulated:
            self.journal.write(
                "hypervisor.simulated", severity="warning",
                message="no stratovirt on PATH: a simulator stands in, and no guest really runs")
        await asyncio.to_thread(self.context.archive.sweep, self.settings.prune.keep_definitions)
        for tap in (await asyncio.to_thread(remove_stale_taps, self.vms)
                    if self.context.manage_taps else ()):
            self.journal.write("tap.removed", tap=tap, message="its VM is gone")
        self._remember_all()
        for keeper in tuple(self.keepers.values()):
            self.queue.wake(keeper.uuid, Priority.RESYNC)

    def _remember_all(self) -> None:
        """A keeper for each domain that was kept before, or whose process is there."""
        memories = {m.uuid: m for m in self.context.store.all(self.context.boot_id)}
        names = {m.name for m in memories.values()}
        for home in sorted(self.vms.iterdir()):
            record = load(home)
            if record is not None and record.uuid in memories:
                memory = memories[record.uuid]
                if record.name != memory.name:  # renamed, and not yet recreated
                    keeper = self._add(memory)
                    keeper.machine = self.context.machine(record.name, keeper)
                    keeper.adopt_home()
            elif record is not None and home.name not in names:
                self._add(DomainRecord(record.uuid, record.name, record.generation,
                                 places=record.places))
        for memory in memories.values():
            if memory.uuid not in self.keepers:
                self._add(memory)

    async def _end(self) -> None:
        await self.queue.close(PATIENCE)
        await self.server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for keeper in self.keepers.values():
            keeper.close()
        self.publisher.write()
        self.journal.write("reconciler.stopped", pid=os.getpid())
        for lock in self._locks:
            os.close(lock)

    # Keepers

    def keep(self, memory: DomainRecord) -> DomainController:
        """A new domain."""
        return self._add(memory)

    def rename(self, old: str, keeper: DomainController) -> None:
        """A domain got another uuid: it is the same one, by its name."""
        del self.keepers[old]
        self.neighbours.update(old, None)
        self.queue.forget(old)
        self.context.store.remove(old)
        with suppress(OSError):  # a full disk: what was is not listed any more, and lost
            self.context.archive.move(old, keeper.uuid)
        self.keepers[keeper.uuid] = keeper
        self.queue.wake(keeper.uuid, Priority.FILE)  # what woke it before had another key

    def _add(self, memory: DomainRecord) -> DomainController:
        keeper = DomainController(memory, self.context, lambda urgency: self._wake(keeper, urgency))
        self.keepers[memory.uuid] = keeper
        self.neighbours.update(memory.uuid, keeper)
        return keeper

    def _wake(self, keeper: DomainController, urgency: Priority) -> None:
        if self.keepers.get(keeper.uuid) is keeper:
            self.neighbours.update(keeper.uuid, keeper)
            self.queue.wake(keeper.uuid, urgency)

    async def _pass(self, uuid: str, urgency: Priority) -> float | None:
        keeper = self.keepers.get(uuid)
        if keeper is None:
            return None
        delay = await keeper.reconcile(urgency)
        if keeper.forgotten:
            self.keepers.pop(uuid, None)
            keeper.close()
            self.queue.forget(uuid)
            self._changed(uuid)
            self.sync.wake()  # its file may be back already
        return delay

    def _fault(self, uuid: str, error: Exception) -> float:
        """A fault of ours in one domain's pass: told with all that helps to mend it."""
        keeper = self.keepers.get(uuid)
        self.journal.write("domain.stalled", severity="error", reason="InternalError",
                           domain=keeper.name if keeper else uuid, uuid=uuid, error=repr(error),
                           traceback=_traceback(error))
        if keeper is not None:  # rule 9: what was true before this pass is not known to be
            message = f"a fault of ours: {error!r}; `reconciler events` has where it happened"
            keeper.plan = Plan(conditions=(
                Condition("Ready", Truth.UNKNOWN, "InternalError", message),
                Condition("Stalled", Truth.TRUE, "InternalError", message)))
            self.publisher.changed(uuid)
        return FAULT_PAUSE

    def _request_fault(self, error: Exception) -> None:
        self.journal.write("request.failed", severity="error", reason="InternalError",
                           error=repr(error), traceback=_traceback(error))

    def _machine(self, name: str, listener: Listener) -> VirtualMachine:
        limits = self.settings.reconcile
        return VirtualMachine(self.vms / name, listener, self.notifier,
                              vm.Limits(limits.qmp_timeout, limits.start_timeout),
                              self.oom_kills, self._spawn, self._unlocked.pop(name, None))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name)

    def _changed(self, uuid: str) -> None:
        self.publisher.changed(uuid)
        self.neighbours.update(uuid, self.keepers.get(uuid))

    def _touched(self, uuid: str) -> None:
        self.publisher.changed(uuid)

    def _listed(self, uuid: str) -> bool:
        return self.sync.listed(uuid)

    def _wake_waiting(self, uuid: str) -> None:
        self.queue.wake(uuid, Priority.FILE)

    def save_again(self) -> None:
        """What a full disk did not take, now that there may be room."""
        for uuid in tuple(self.context.unsaved):
            keeper = self.keepers.get(uuid)
            self.context.unsaved.discard(uuid)
            if keeper is not None and not keeper.forgotten:
                self.context.save(keeper.memory)

    def _note_told(self, outcome: Outcome) -> None:
        self.revisions.note_told(outcome)

    # The outside

    def _wake_source(self, delay: float) -> None:
        """From watchdog's thread."""
        loop = self.sync.loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(self.sync.wake, delay)

    async def _watch_monitors(self) -> None:
        """Nobody tells us when a person takes our QMP events away; see stratovirt.monitors."""
        times = monitors.access_times_work(self.settings.runtime)
        while True:
            await asyncio.sleep(monitors.POLL_INTERVAL if times else monitors.FALLBACK_INTERVAL)
            for keeper in tuple(self.keepers.values()):
                if not times and keeper.vm.pid is not None:
                    self._wake(keeper, Priority.DRIFT)
                elif keeper.machine.foreign_client_seen():
                    keeper.machine.reconnect()
                    self._wake(keeper, Priority.DRIFT)

    async def _watch_unmanaged(self) -> None:
        """Whether there are VMs that are not ours: nobody tells us, and it is only for the eye."""
        while True:
            ours = {k.vm.pid for k in self.keepers.values() if k.vm.pid is not None}
            found = await asyncio.to_thread(find_unmanaged, self.vms, self.binary.program, ours)
            now = {k.vm.pid for k in self.keepers.values()}
            found = tuple(one for one in found if one.pid not in now)
            if found != self.unmanaged:
                self.unmanaged = found
                self.publisher.changed("")
            await asyncio.sleep(self.context.resync())

    def _own(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))


def _traceback(error: Exception) -> str:
    import traceback  # noqa: PLC0415  # only when something is wrong

    return "".join(traceback.format_exception(error))


def _check_owner(settings: Settings) -> None:
    """Where we chose the directory, nobody else may have made it first (as below /tmp one can)."""
    if settings.paths.runtime != "auto":
        return
    for place in (settings.runtime, settings.runtime.parent):
        if place.stat().st_uid not in (0, os.geteuid()):
            message = f"{place} belongs to another user"
            raise HostError(message, hint="set XDG_RUNTIME_DIR, or paths.runtime in config.yaml")


def take_locks(settings: Settings) -> list[int]:
    """One reconciler for its directories; raises AlreadyRunning."""
    for directory in (settings.runtime, settings.state):
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            message = f"{directory} cannot be made: {error.strerror}"
            raise HostError(message, hint="set paths.runtime and paths.state in config.yaml to "
                                          "directories that you may write") from error
    _check_owner(settings)
    handles: list[int] = []
    for directory in (settings.runtime, settings.state):
        handle = os.open(directory / "reconciler.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                         0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 20).decode(errors="replace").strip()
            message = f"another reconciler (process {owner or 'unknown'}) has {directory}"
            raise AlreadyRunning(message, hint="`reconciler status` shows what it does; two need "
                                               "their own paths.runtime and paths.state") from None
        with suppress(OSError):  # a full disk: who has it is only told, the lock is the kernel's
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        handles.append(handle)
    return handles
