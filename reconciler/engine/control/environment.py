"""What all keepers of one reconciler share: the configuration, the clock, the disk, the lanes."""

from __future__ import annotations

import datetime
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.domain.model import InvalidDomain
from reconciler.domain.numbers import complete, of_text
from reconciler.engine.composition import opening
from reconciler.engine.control.work_queue import PrioritySemaphore
from reconciler.engine.decide.attempts import BackoffPolicy
from reconciler.engine.decide.inputs import Now
from reconciler.engine.records.history import Archive
from reconciler.host import files
from reconciler.stratovirt.capabilities import Capabilities, identity
from reconciler.stratovirt.prepare import check
from reconciler.units import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.domain.model import Domain, ReadingHost
    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.decide.inputs import Hold, Opening, Surroundings
    from reconciler.engine.records.store import DomainRecord, Store, StoredDefinition
    from reconciler.report.events import Journal
    from reconciler.settings import Settings
    from reconciler.stratovirt.vm import Listener, VirtualMachine

STOPS_AT_ONCE = 64  # a stop mostly waits; it must not use up what starts need


def clocks() -> Now:
    """Seconds since boot, suspended time included, and the time of day."""
    return Now(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


@dataclass(slots=True)
class Environment:
    """Built once by the loop; tests build it with a world of their own."""

    settings: Settings
    journal: Journal
    store: Store
    host: ReadingHost
    program: list[str]
    simulated: bool
    boot_id: str
    machine: Callable[[str, Listener], VirtualMachine]
    read_text: Callable[[bytes, str, ReadingHost], Domain]
    changed: Callable[[str], None]
    watch_files: Callable[[Iterable[str], Callable[[], None]], list[Callable[[], None]]]
    around: Callable[[DomainController],
                     Surroundings]  # what the other domains have to do with this one
    dependencies: Callable[[DomainController],
                           list[dict[str, object]]]  # each with whether it is met
    now: Callable[[], Now] = clocks
    unsaved: set[str] = field(default_factory=set)  # what a full disk did not take, by uuid
    began: float = field(init=False)
    patience: BackoffPolicy = field(init=False)
    capabilities: Capabilities = field(init=False)
    archive: Archive = field(init=False)
    starts: PrioritySemaphore = field(init=False)
    stops: PrioritySemaphore = field(init=False)

    def __post_init__(self) -> None:
        reconcile = self.settings.reconcile
        self.began = self.now().clock
        self.patience = BackoffPolicy(reconcile.backoff.initial, reconcile.backoff.maximum,
                                 reconcile.drift.fight_limit, reconcile.drift.window)
        self.capabilities = Capabilities(self.settings.state / "capabilities.json")
        self.archive = Archive(self.settings.state)
        self.starts = PrioritySemaphore(self.settings.concurrency)
        self.stops = PrioritySemaphore(STOPS_AT_ONCE)

    @property
    def manage_taps(self) -> bool:
        """Not for simulated VMs: they use none, and it would take root."""
        return self.settings.network.manage_taps and not self.simulated

    def program_of(self, domain: Domain) -> list[str]:
        """What starts a domain: its emulator with our arguments, where a real one runs at all."""
        if domain.emulator is None or self.simulated:
            return self.program
        return [domain.emulator, *self.settings.hypervisor.arguments]

    def opening(self, domain: Domain | None) -> Opening | None:
        """The window that the file names, as of now; None where it names none."""
        return opening(self.settings, domain, self.now().wall)

    def hold_of_all(self) -> Hold | None:
        """The hold of all domains, until its time is over."""
        hold = self.store.hold
        over = hold is not None and hold.until is not None and self.now().wall >= hold.until
        return None if over else hold

    def read(self, text: StoredDefinition | None) -> Domain | None:
        """A definition that was accepted once; None when today's code can no longer read it."""
        if text is None:
            return None
        try:
            return complete(self.read_text(text.data, text.file, self.host.as_of(text.read_with)),
                            of_text(text.read_with.get("numbers", "")))
        except InvalidDomain as error:
            self.journal.write("domain.invalid", severity="warning", file=text.file,
                               reason="InvalidDefinition",
                               error=f"an older definition cannot be read any more: {error}")
            return None

    def check(self, domain: Domain) -> None:
        """All that a definition needs is there (blocking); raises HostError."""
        check(domain, simulated=self.simulated)
        self.capabilities.check(self.program_of(domain), domain.machine, domain.features())

    def signature(self, domain: Domain) -> tuple[object, ...]:
        """Changes with the files that the domain needs, StratoVirt's own among them."""
        return (*files.signature(domain.required_files()), identity(self.program_of(domain)))

    def save(self, memory: DomainRecord) -> None:
        """Keep it; a full disk stops nothing, and is told."""
        try:
            self.store.save(memory)
            self.unsaved.discard(memory.uuid)
        except OSError as error:
            self.unsaved.add(memory.uuid)
            self.journal.write("state.unwritable", severity="error", domain=memory.name,
                               reason="StateUnwritable", error=str(error))

    def jitter(self) -> float:
        """A factor around 1."""
        share = self.settings.reconcile.jitter
        return random.uniform(1 - share, 1 + share)  # noqa: S311  # spreads load, keeps no secret

    def resync(self) -> float:
        """Seconds until the next full look at a domain."""
        return self.settings.reconcile.resync * self.jitter()

    @staticmethod
    def moment(text: str, accepted: float) -> float | None:
        """RFC 3339, or a duration from when its file was accepted, as seconds since 1970."""
        with suppress(ValueError):
            return accepted + seconds(text)
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except ValueError:
            return None
