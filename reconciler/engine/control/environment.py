"""What the controllers of all domains share: configuration, clocks, disk, and slots for actions."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.domain.chosen import restored
from reconciler.domain.claims import READ, WRITTEN
from reconciler.domain.devices import Interface
from reconciler.domain.model import InvalidDomain
from reconciler.engine.control.work_queue import PrioritySemaphore
from reconciler.engine.decide.inputs import Now
from reconciler.failpoints import Point, nothing
from reconciler.host import files, links
from reconciler.host.helper import Helper
from reconciler.host.names import Names
from reconciler.host.workers import Call, Worker
from reconciler.stratovirt.capabilities import Capabilities, program_identity
from reconciler.stratovirt.prepare import check, needed_files, off_network
from reconciler.stratovirt.twins import Twins, taken_by

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable
    from pathlib import Path

    from reconciler.domain.model import Domain, ReadingHost, RequiredFile
    from reconciler.engine.decide.inputs import Hold, Surroundings
    from reconciler.engine.decide.state import (
        DecisionConfig,
        DomainRecord,
        DomainState,
        StoredDefinition,
    )
    from reconciler.engine.records.archive import Archive
    from reconciler.engine.records.store import Store
    from reconciler.failpoints import Reached
    from reconciler.report.events import Journal
    from reconciler.settings import Settings
    from reconciler.stratovirt.vm import Listener, VirtualMachine

STOPS_AT_ONCE = 64  # a stop mostly waits; it must not use up the slots of starts


def clocks() -> Now:
    """Seconds since boot, suspended time included, and the time of day."""
    return Now(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


@dataclass(slots=True)
class Environment:
    """Made once by the daemon; a test makes it with a clock and machines of its own."""

    settings: Settings
    journal: Journal
    store: Store
    archive: Archive
    host: ReadingHost
    program: list[str]
    simulated: bool
    config: DecisionConfig
    machine: Callable[[str, str, Listener], VirtualMachine]  # of a name and a uuid
    parse: Callable[[bytes, str, ReadingHost], Domain]
    changed: Callable[[DomainState], None]  # a domain has another state now
    surroundings: Callable[[DomainState], Surroundings]
    watch_directories: Callable[[Iterable[Path], Callable[[], None]], list[Callable[[], None]]]
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    clocks: Callable[[], Now] = clocks
    reached: Reached = nothing
    # Uuids whose record could not be written, with the uuid that its file is named by.
    unsaved: dict[str, str] = field(default_factory=dict)
    saved: asyncio.Event = field(default_factory=asyncio.Event)  # a record is to be synced
    helper: Helper = field(init=False)
    names: Names = field(init=False)
    capabilities: Capabilities = field(init=False)
    twins: Twins = field(init=False)
    starts: PrioritySemaphore = field(init=False)
    stops: PrioritySemaphore = field(init=False)

    def __post_init__(self) -> None:
        self.helper = Helper()
        self.names = Names()
        self.capabilities = Capabilities(self.settings.state / "capabilities.json")
        self.twins = Twins()
        self.starts = PrioritySemaphore(self.settings.concurrency)
        self.stops = PrioritySemaphore(STOPS_AT_ONCE)

    def now(self) -> Now:
        """Both clocks, and a new random factor."""
        read = self.clocks()
        return Now(read.clock, read.wall, self._jitter())

    @property
    def manage_taps(self) -> bool:
        """Not for simulated VMs: they use none, and it would take root."""
        return self.settings.network.manage_taps and not self.simulated

    def program_of(self, domain: Domain) -> list[str]:
        """What starts a domain: its emulator with the configured arguments."""
        if domain.emulator is None or self.simulated:
            return self.program
        return [domain.emulator, *self.settings.hypervisor.arguments]

    def hold_of_all(self) -> Hold | None:
        """The hold of all domains, until its time is over."""
        hold = self.store.hold
        return hold if hold is not None and hold.in_force(self.clocks().wall) else None

    def read(self, stored: StoredDefinition | None) -> Domain | None:
        """A definition that was accepted once; None if today's code cannot read it any more."""
        if stored is None:
            return None
        try:
            return restored(
                self.parse(stored.data, stored.file, self.host.as_of(stored.read_with)),
                stored.read_with)
        except InvalidDomain as error:
            self.journal.write("domain.invalid", severity="warning", file=stored.file,
                               reason="InvalidDefinition",
                               error=f"an older definition cannot be read any more: {error}")
            return None

    def worker(self, answered: Callable[[], None]) -> Worker:
        """For the files of one domain; `answered`: a call that had hung has ended."""
        return Worker(self.helper, answered)

    async def check(self, worker: Worker, domain: Domain,
                    own: Collection[RequiredFile] = ()) -> None:
        """All that a definition needs is there; raises HostError.

        `own`: sockets and logs that its VM made, which it may replace.
        """
        needs = needed_files(domain, simulated=self.simulated)
        *problems, identity = await worker.run(
            [*(Call(files.problem, (need,), files.paths_of(need)) for need in needs),
             *(Call(files.made_problem, (need,), (need.path,)) for need in domain.made_files()
               if need not in own), self._look_at_program(domain)])
        files.refuse(problems)
        await worker.call(self._check_host, domain, identity)

    def _check_host(self, domain: Domain, identity: str) -> None:
        self.reached(Point.CHECK)
        check(domain, simulated=self.simulated, bridges=self.settings.admission.bridges)
        self.capabilities.check(self.program_of(domain), domain.machine, domain.features(),
                                identity)

    def _look_at_program(self, domain: Domain) -> Call:
        program = self.program_of(domain)
        return Call(program_identity, (program,),
                    tuple(word for word in program if word.startswith("/")))

    def check_alone(self, domain: Domain) -> None:
        """No VM of the same uuid runs anywhere on the host (blocking); raises LockTaken."""
        files = {r.value for r in domain.exclusive_resources() if r.kind in (READ, *WRITTEN)}
        twin = self.twins.of(domain.uuid, files)
        if twin is not None:
            raise taken_by(twin, self.settings.runtime)

    async def signature(self, worker: Worker, domain: Domain) -> tuple[object, ...]:
        """Changes with what the domain needs of the host: files, StratoVirt, bridges.

        Raises HostError where a file does not answer.
        """
        bridges = [card.bridge for card in domain.devices
                   if isinstance(card, Interface) and card.bridge] if self.manage_taps else []
        return tuple(await worker.run(
            [*(Call(files.signature, ((need,),), files.paths_of(need))
               for need in (*domain.required_files(), *domain.made_files())),
             self._look_at_program(domain), *(Call(links.is_bridge, (b,)) for b in bridges)]))

    def off_network(self, domain: Domain) -> tuple[str, ...]:
        """How the taps of its running VM differ from what it was given."""
        return off_network(domain) if self.manage_taps else ()

    def save(self, record: DomainRecord, before: str = "") -> bool:
        """Keep it; whether it is on disk. A full disk stops no VM, and is reported.

        `before`: the domain's uuid until now, if that may be another.
        """
        before = before or record.uuid
        file_of = self.unsaved.pop(before, before)
        try:
            self.store.save(record, file_of)
        except OSError as error:
            self.unsaved[record.uuid] = file_of
            self.journal.write("state.unwritable", severity="error", domain=record.name,
                               reason="StateUnwritable", error=str(error))
            return False
        self.saved.set()
        return True

    def resync(self) -> float:
        """Seconds until the next full look at a domain."""
        return self.settings.reconcile.resync * self._jitter()

    def _jitter(self) -> float:
        share = self.settings.reconcile.jitter
        return random.uniform(1 - share, 1 + share)  # noqa: S311  # spreads load, keeps no secret
