"""What is known of one domain, as frozen values; decide/transition.py alone makes the next one.

`DomainState` is everything; `DomainRecord` inside it is the part that is kept on disk
(records/store.py). Times are seconds on the boot-time clock, which goes on across restarts of the
reconciler and a suspended host; `wall` is the time of day in seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide.attempts import Attempts, BackoffPolicy
from reconciler.engine.decide.inputs import (
    STARTS,
    STOP,
    DeferredChange,
    HealthStatus,
    Hold,
    Plan,
    ProbeResult,
    Removal,
    Step,
    Vm,
    VmState,
    health_in_force,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.model import Domain
    from reconciler.domain.place import Place
    from reconciler.domain.policy import Health
    from reconciler.windows import Window

EXPANDED = "expanded"  # key of `read_with`: what the text was made from besides its own file


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """A definition as text, and what it must be read with to mean the same again."""

    text: str
    file: str = ""
    revision: str = ""
    read_with: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        return self.text.encode(errors="surrogateescape")


def as_text(data: bytes) -> str:
    """A file's bytes as a string, whatever encoding it declares; `data` gives them back."""
    return data.decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """Everything that is kept of a domain across restarts of the reconciler and reboots."""

    uuid: str
    name: str
    generation: int = 0
    definition: StoredDefinition | None = None  # the last one that was accepted
    last_known_good: StoredDefinition | None = None  # the last one that came up
    attempts: Attempts = Attempts()
    boot_id: str = ""  # the boot whose clock the attempts' times are on
    places: Mapping[str, Place] = field(default_factory=dict)
    accepted_at: float = 0.0  # time of day of this generation: a hold's duration counts from it
    prune_held: bool = False  # its file went together with many others
    hold: Hold | None = None  # from `reconciler hold`; the file's own is in its definition
    last_healthy: str = ""  # the process (pid:start time) that its probe found healthy last
    history: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class DecisionConfig:
    """What decisions and transitions need of the configuration and of this run."""

    backoff: BackoffPolicy = BackoffPolicy()
    history: int = 20  # definitions that are kept of each domain
    boot_id: str = ""
    began: float = 0.0  # when this reconciler began, on the boot-time clock
    windows: Mapping[str, Window] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """What a VM's process has, or is launched with.

    `domain`: with every address, and every change made since; `definition`: as `stored` says it.
    """

    domain: Domain
    stored: StoredDefinition | None = None
    definition: Domain | None = None


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """The process of a VM, as the status shows it. Memory in bytes, of its own command line."""

    pid: int
    started_at: str | None = None
    boot_id: str | None = None
    memory: int | None = None
    vcpus: int | None = None
    changed: bool = False  # it was changed while it ran: its command line is out of date
    socket: str = ""  # the QMP monitor for users


@dataclass(frozen=True, slots=True)
class LastAction:
    """The newest action that ended. `at`: RFC 3339; `duration` in milliseconds.

    `ended_by` and `message` of a stop: what ended the VM, and why not its guest.
    """

    name: str
    at: str
    cause: str
    result: str
    revision: str | None = None
    duration: float | None = None
    error: str | None = None
    ended_by: str | None = None
    message: str | None = None

    def value(self) -> dict[str, Any]:
        """As the status has it."""
        found = {"name": self.name, "at": self.at, "cause": self.cause, "result": self.result,
                 "revision": self.revision, "durationMs": self.duration, "error": self.error,
                 "endedBy": self.ended_by, "message": self.message}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class DomainState:
    """Everything known of one domain. Owned by its controller, control/controller.py."""

    record: DomainRecord
    config: DecisionConfig = DecisionConfig()
    domain: Domain | None = None  # record.definition, parsed
    last_known_good: Domain | None = None  # record.last_known_good, parsed
    running: Running | None = None
    launching: Running | None = None  # what was launched and is not observed yet
    starting: bool = False  # until it is up, an end is a failed start and no exit
    vm: Vm = Vm()
    process: ProcessInfo | None = None
    home: str = ""  # the name that its VM runs under
    consoles: Mapping[str, str] = field(default_factory=dict)  # label -> pty
    consoles_of: int | None = None  # the process that they were asked of
    invalid: str = ""
    invalid_reason: str = "InvalidDefinition"
    removal: Removal = Removal.NONE
    removal_since: float = 0.0
    removal_reason: str = ""  # why a removal is not believed, or held
    removal_message: str = ""
    restart_asked: bool = False
    deferred_changes: tuple[DeferredChange, ...] = ()
    probe: ProbeResult = ProbeResult()
    unhealthy_counted: bool = False  # this process's being unhealthy was counted as an exit
    plan: Plan = Plan()
    planned_for: Removal = Removal.NONE  # what was believed of its file when the plan was made
    planned_invalid: str = ""  # `invalid` when it was made
    planned_definition: StoredDefinition | None = None  # record.definition when it was made
    executing: tuple[Step, ...] = ()  # the plan that is being carried out
    condition_since: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    last_action: LastAction | None = None
    forgotten: bool = False

    @property
    def name(self) -> str:
        """The domain's name, of the newest accepted file."""
        return self.record.name

    @property
    def uuid(self) -> str:
        """The domain's identity."""
        return self.record.uuid

    @property
    def attempts(self) -> Attempts:
        """The counters."""
        return self.record.attempts

    @property
    def revision(self) -> str:
        """The revision of the newest accepted file."""
        return self.record.definition.revision if self.record.definition else ""

    @property
    def newest_rolled_back(self) -> bool:
        """Whether the newest definition was rolled back."""
        return self.attempts.rolled_back_generation == self.record.generation

    @property
    def health(self) -> Health | None:
        """The probe that counts."""
        return health_in_force(
            self.domain, self.last_known_good,
            rolled_back=self.newest_rolled_back and self.last_known_good is not None)

    @property
    def recreating(self) -> bool:
        """Whether the plan that is being carried out replaces the VM."""
        return STOP in self.executing and any(step.verb in STARTS for step in self.executing)

    @property
    def is_healthy(self) -> bool:
        """Whether the guest runs and its probe, if it has one, finds it healthy."""
        return self.vm.state is VmState.RUNNING and (
            self.health is None or self.probe.status is HealthStatus.HEALTHY)
