"""The daemon: makes everything, owns every task, and ends them. Stopping it leaves the VMs running.

The way of a file: source/ reads the source, domains.py gives each domain its definition, control/
keeps the domain's VM as its file says, status/ publishes what is known.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.engine.api.handlers import Handlers
from reconciler.engine.composition import (
    decision_config,
    gate_of,
    loader_of,
    memory_limit,
    programs_of,
    unusable_secrets,
)
from reconciler.engine.control.coordinator import Coordinator
from reconciler.engine.control.environment import Environment, clocks
from reconciler.engine.control.work_queue import WorkQueue
from reconciler.engine.decide.constraints import Limits
from reconciler.engine.decide.events import Priority
from reconciler.engine.domains import Domains
from reconciler.engine.ownership import check_runtime, take_locks
from reconciler.engine.records.archive import Archive
from reconciler.engine.records.leftovers import remove_leftovers
from reconciler.engine.records.store import Store
from reconciler.engine.records.syncer import keep_synced
from reconciler.engine.rollout.announcer import Announcer
from reconciler.engine.rollout.revisions import Revisions
from reconciler.engine.source.source_sync import SourceListeners, SourceSync
from reconciler.engine.status.heartbeat import Heartbeat
from reconciler.engine.status.publisher import Reported, StatusPublisher
from reconciler.engine.tasks import Tasks
from reconciler.engine.watches import HostWatch, UnmanagedWatch, shorten_logs, watch_monitors
from reconciler.errors import ReconcilerError
from reconciler.failpoints import nothing
from reconciler.host.cgroup import OomKills
from reconciler.host.notify import Notifier
from reconciler.host.ports import free_on_host
from reconciler.report.metrics import Metrics
from reconciler.report.server import Server
from reconciler.settings import Settings, changed_keys, load
from reconciler.sources.kinds import KINDS
from reconciler.stratovirt import process, vm
from reconciler.stratovirt.prepare import remove_stale_taps
from reconciler.stratovirt.recognition import running_below
from reconciler.stratovirt.record import boot_id
from reconciler.stratovirt.stderr_log import LOGS, remove_others
from reconciler.stratovirt.unmanaged import Search
from reconciler.stratovirt.vm import Listener, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.model import Domain, ReadingHost
    from reconciler.engine.decide.inputs import Now
    from reconciler.engine.decide.state import DomainState
    from reconciler.engine.rollout.revisions import Outcome
    from reconciler.failpoints import Reached
    from reconciler.report.events import Journal
    from reconciler.stratovirt.binary import Binary

PATIENCE = 0.8  # seconds that running passes get at a stop; the next start sees what is there
FAULT_PAUSE = 30.0  # seconds until a domain is looked at after an error of the reconciler


class Daemon:
    """Everything together; `run` until a signal, or `once`.

    `reopen_log` is called at SIGHUP. `now` and `machine` are what it knows of the host; a model of
    a host overrides them.
    """

    def __init__(self, settings: Settings, binary: Binary, journal: Journal, host: ReadingHost,
                 parse: Callable[[bytes, str, ReadingHost], Domain],
                 reopen_log: Callable[[], None] = lambda: None,
                 reached: Reached = nothing) -> None:
        self._settings = settings
        self._binary = binary
        self._journal = journal
        self.vms = settings.runtime / "vms"
        self.vms.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._locks = take_locks(settings)
        self._programs = programs_of(settings, binary)
        check_runtime(settings, boot_id(), self._programs)
        self._limits_reported: set[str] = set()
        self._running_here = running_below(self.vms, self._programs)
        self._unlocked = {found.home.name: found.process for found in self._running_here
                          if not process.locked(found.home)}
        self._notifier = Notifier(self._limited)
        self.oom_kills = OomKills()
        self._tasks = Tasks(self._task_fault)
        self._over = asyncio.Event()
        self._reopen_log = reopen_log
        limits = Limits(settings.max_unavailable,
                        memory_limit(settings, simulated=binary.simulated))
        self.coordinator = Coordinator(limits, self._wake_waiting, self._changed_uuid,
                                       self._start_allowed)
        self.environment = Environment(
            settings=settings, journal=journal, store=Store(settings.state / "domains", reached),
            archive=Archive(settings.state), host=host,
            program=[*binary.program, *settings.hypervisor.arguments],
            simulated=binary.simulated,
            config=decision_config(settings, boot_id(), self.now().clock),
            machine=self.machine, parse=parse, changed=self._changed,
            surroundings=self.coordinator.surroundings,
            watch_directories=self._notifier.watch_directories, spawn=self._tasks.spawn,
            clocks=self.now, reached=reached)
        self.queue = WorkQueue(self._pass, self._pass_fault, self._tasks.spawn)
        self.domains = Domains(self.environment, self.coordinator, self.queue, self._removed)
        self.source = SourceSync(
            KINDS[settings.source.kind](settings), loader_of(settings, free_on_host),
            self.environment, self.domains,
            SourceListeners(self._revision_accepted, self._changed_uuid,
                            self.coordinator.wake_waiting))
        self.announcer = Announcer(settings, journal, self.source.source.where, self._announced)
        self.revisions = Revisions(settings.state, self.announcer.announce)
        self.metrics = Metrics()
        journal.subscribe(self.metrics.note)
        self._host = HostWatch(self.domains, self.source.wake, links=self.environment.manage_taps)
        self._unmanaged = UnmanagedWatch(
            self.domains, Search(self.vms, binary.program, self._programs))
        self.publisher = StatusPublisher(Reported(
            self.environment, binary, self.domains, self.source, self.coordinator,
            self.revisions, lambda: self._unmanaged.found))
        self.server = Server(settings.api_socket, Handlers(
            self.environment, self.domains, self.source, self.publisher, self.queue,
            self.metrics), self._request_fault)

    # The host

    def now(self) -> Now:
        """Both clocks of the host."""
        return clocks()

    def machine(self, name: str, uuid: str, listener: Listener) -> VirtualMachine:
        """The VM of a domain, in the directory of this name."""
        limits = self._settings.reconcile
        shared = vm.Shared(self._notifier, self.oom_kills, self._tasks.spawn,
                           vm.Limits(limits.qmp_timeout, limits.start_timeout),
                           self._programs, self._settings.state / LOGS,
                           self.environment.reached)
        return VirtualMachine(self.vms / name, uuid, listener, shared,
                              self._unlocked.pop(name, None))

    # Running

    async def run(self) -> None:
        """Until SIGTERM, SIGINT or `stop`. The VMs keep running (rule 2)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self.source.start()
        try:
            await self.begin()
            await self.server.start()
            await self._listen()
            tasks = self._tasks
            tasks.spawn_essential(self.source.source.run(), "source")
            tasks.spawn_essential(self.source.run(), "reads the source")
            tasks.spawn_essential(self._heartbeat().run(), "heartbeat")
            tasks.spawn_essential(shorten_logs(self._settings.state / LOGS), "logs")
            tasks.spawn_essential(watch_monitors(self.domains, self._settings.runtime), "monitors")
            tasks.spawn_essential(self._unmanaged.run(
                self._changed_uuid, self.environment.resync, self.publisher.next), "unmanaged")
            self.revisions.announce_again()
            tasks.spawn_essential(self.announcer.run(), "announcer")
            await tasks.wait(self._over)
        finally:
            self.source.source.stop()
            await self.end()

    def _hang_up(self) -> None:
        """SIGHUP: the log's file was moved away, or a terminal closed. It ends nothing."""
        self._reopen_log()
        try:
            changed = changed_keys(self._settings, load(self._settings.file))
        except ReconcilerError as error:
            self._journal.write("config.invalid", severity="error", reason="InvalidConfiguration",
                                error=str(error), hint="what was read at the start stays in force")
            return
        self._journal.write("config.read", message=f"changed since the start: {', '.join(changed)}"
                            if changed else "unchanged since the start",
                            hint="a restart of the reconciler applies it" if changed else "")

    def stop(self) -> None:
        """End `run`."""
        self._over.set()

    async def once(self) -> bool:
        """Converge, as far as that needs no waiting, and end; whether everything is Ready."""
        await self.begin()
        try:
            await self.source.once()
            await self.queue.rest()
            self.publisher.write()
            await self.announcer.flush()
            source = self.source.state
            return all(c.state.plan.is_ready for c in self.domains) and not (
                source.rejected or source.error or self.source.held)
        finally:
            await self.end()

    async def begin(self) -> None:
        """Know the domains again, and look at each."""
        self._tasks.spawn_essential(self._notifier.run(), "inotify")
        self._tasks.spawn_essential(keep_synced(self.environment.store, self.environment.saved,
                                                self._journal), "syncs records")
        self._journal.write("reconciler.started", version=__version__, pid=os.getpid(),
                            hypervisor=self._binary.program[0], simulated=self._binary.simulated)
        if self._binary.simulated:
            self._journal.write(
                "hypervisor.simulated", severity="warning",
                message="there is no stratovirt on PATH: VMs are simulated, and no guest runs")
        with suppress(OSError):  # a full disk: a start that needs it reports that
            self.environment.host.nvram.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(self.environment.archive.sweep,
                                self._settings.prune.keep_definitions)
        if self.environment.manage_taps:
            for tap in await asyncio.to_thread(remove_stale_taps, self.vms):
                self._journal.write("tap.removed", tap=tap, message="its VM is gone")
        for text in self.domains.recover(self.vms, self._running_here):
            self._journal.write("state.unreadable", severity="error", reason="StateUnreadable",
                                error=text, hint="its domain is held, or all of them, until "
                                                 "`reconciler release`")
        homes = {c.machine.home.name for c in self.domains} | {c.name for c in self.domains}
        await asyncio.to_thread(remove_leftovers, self._settings.state, self.vms, homes,
                                self._programs)
        await asyncio.to_thread(remove_others, self._settings.state / LOGS,
                                {c.uuid for c in self.domains})
        self._host.start()
        for controller in self.domains:
            self.queue.wake(controller.uuid, Priority.RESYNC)

    async def end(self, patience: float = PATIENCE) -> None:
        """End everything but the VMs. Passes that run get `patience` seconds."""
        await self.queue.close(patience)
        await self.server.stop()
        await self._tasks.close()
        self._host.close()
        self.domains.close()
        self.publisher.close()
        with suppress(OSError):  # reported where the records were saved
            self.environment.store.sync()
        self._notifier.close()
        self.environment.helper.close()
        self._journal.write("reconciler.stopped", pid=os.getpid())
        for lock in self._locks:
            os.close(lock)

    async def _listen(self) -> None:
        """Over TCP, too, if configured; a port that is taken stops no VM."""
        where = self._settings.http.listen
        if where is None:
            return
        host, _, port = where.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        for problem, hint in unusable_secrets(self._settings):
            self._journal.write("http.remarked", severity="warning", message=problem, hint=hint)
        try:
            await self.server.listen(host, int(port), lambda: gate_of(self._settings, host))
        except OSError as error:
            self._journal.write("http.failed", severity="error", reason="ListenFailed",
                                error=f"{where}: {error.strerror or error}",
                                hint="webhooks do not arrive; set http.listen to a free address")

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(self._settings, self._journal, self.source.source.answers)

    # What the parts report to each other

    async def _pass(self, uuid: str, priority: Priority) -> float | None:
        return await self.domains.run_pass(uuid, priority)

    def _changed(self, state: DomainState) -> None:
        self.coordinator.update(state)
        self.publisher.changed(state.uuid)

    def _changed_uuid(self, uuid: str = "") -> None:
        self.publisher.changed(uuid)

    def _removed(self, _uuid: str) -> None:
        self.publisher.changed()
        self.source.wake()  # its file may be back already

    def _start_allowed(self, uuid: str) -> bool:
        return self.source.start_allowed(uuid)

    def _wake_waiting(self, uuid: str) -> None:
        self.queue.wake(uuid, Priority.FILE)

    def _revision_accepted(self, revision: str) -> None:
        self.revisions.accept(revision)

    def _announced(self, outcome: Outcome) -> None:
        self.revisions.note_announced(outcome)

    # Errors of the reconciler

    def _limited(self, text: str) -> None:
        """Report once what there is not enough of; VMs run without it."""
        if text not in self._limits_reported:
            self._limits_reported.add(text)
            self._journal.write("host.limited", severity="warning", reason="WatcherLimited",
                                message=f"{text}; until then, files are looked at instead")

    def _pass_fault(self, uuid: str, error: Exception) -> float:
        """An error in one domain's pass is reported with all that helps to find it."""
        name = self.domains.fault(uuid, f"internal error: {error!r}; the traceback is in "
                                        "`reconciler events`")
        self._journal.write("domain.stalled", severity="error", reason="InternalError",
                            domain=name, uuid=uuid, error=repr(error), traceback=_trace(error))
        return FAULT_PAUSE

    def _request_fault(self, error: Exception) -> None:
        self._journal.write("request.failed", severity="error", reason="InternalError",
                            error=repr(error), traceback=_trace(error))

    def _task_fault(self, name: str, error: Exception) -> None:
        self._journal.write("task.failed", severity="error", reason="InternalError",
                            message=name, error=repr(error), traceback=_trace(error))


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


