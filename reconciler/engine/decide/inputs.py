"""The values that a decision rests on and leads to: Attempts, Inputs, Step, Plan. Nothing else.

Times are seconds on the boot-time clock (it goes on across our own restarts and a suspended host);
`wall` is the only time of day, and serves `hold/@until` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.stratovirt.observation import Exit, ExitKind, Vm, VmState
from reconciler.units import timestamp

if TYPE_CHECKING:
    from reconciler.domain.difference import Change
    from reconciler.domain.model import Domain, Health

GUEST = "guest:"  # what the reason begins with, where a change waits for the guest alone
__all__ = ["Exit", "ExitKind", "Vm", "VmState"]


@dataclass(frozen=True, slots=True)
class RetryState:
    """BackoffPolicy with one kind of trouble: how often it came, and when to try again."""

    times: tuple[float, ...] = ()
    count: int = 0
    retry_at: float = 0.0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is counted for a domain, and survives our restart.

    Three of the four limiters are here, each for its own trouble: actions that failed, exits that
    nobody asked for, drift that comes back. The fourth, of the source, is the source's.
    """

    failures: RetryState = RetryState()
    crashes: RetryState = RetryState()
    drift: RetryState = RetryState()
    down: str = ""  # the reason why an exit left it down, until its file changes or it is started
    refused: int = 0  # the generation that did not come up and was rolled back
    refused_because: str = ""
    not_live: int = 0  # the generation of which a live change failed: it needs a new process
    recreating: int = 0  # the generation whose recreate began and did not end yet
    replaced: int = 0  # the process that this recreate is to replace, 0 if there was none
    settled: int = 0  # observedGeneration: the last that ended Ready or Stalled
    in_force: str = ""  # the desired state that was last reached: what differs later is drift
    restarts: int = 0
    last_exit: Exit | None = None
    exits: dict[str, int] = field(default_factory=dict)  # by kind, also of what stayed down


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave it alone: from the file, or from `reconciler hold`."""

    reason: str
    by: str
    until: float | None = None  # time of day, seconds since 1970

    @property
    def told(self) -> str:
        """Who, until when, and why, for people."""
        until = "" if self.until is None else f" until {timestamp(self.until)}"
        return f"held by {self.by}{until}{f': {self.reason}' if self.reason else ''}"


class Removal(StrEnum):
    """What is known of a domain whose file is not there."""

    NONE = "none"  # its file is there, or its absence is not proven
    HELD = "held"  # proven, but too many at once, or the policy wants a confirmation
    PROVEN = "proven"  # two complete listings without it, and the breaker agreed
    APPROVED = "approved"  # and somebody approved it by name


@dataclass(frozen=True, slots=True)
class Now:
    """Both clocks, read once a pass."""

    clock: float
    wall: float


class HealthStatus(StrEnum):
    """What its probe says of a guest."""

    UNKNOWN = "unknown"  # not well yet, and its time for that is not over
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of the probes of one process so far; pulse.py counts."""

    verdict: HealthStatus = HealthStatus.UNKNOWN
    failures: int = 0  # in a row, and only those that count
    message: str = "not asked yet"


@dataclass(frozen=True, slots=True)
class Opening:
    """The maintenance window that a file names, as of now."""

    name: str
    open: bool
    opens_at: float | None = None  # time of day of the next opening; None: it never opens
    shown: str = ""  # the same for people, in the window's own time zone


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the others have to do with a domain. Each text says why, and is empty if nothing is."""

    listed: bool = True  # whether the source was looked at, and does not just miss its file
    wave_open: bool = True  # whether everything of a lower start wave is at rest
    unmet: tuple[str, ...] = ()  # what it depends on and is not there yet
    dependents: tuple[str, ...] = ()  # what depends on it and has to stop before
    turn: str = ""  # why it must not be recreated just now
    room: str = ""  # why there is no memory for it just now


@dataclass(frozen=True, slots=True)
class DeferredChange:
    """A live change that the guest cannot make yet: why, and when it is asked again."""

    path: str
    reason: str
    retry_at: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a decision about one domain rests on."""

    domain: Domain | None  # the definition in force: the newest one that was valid
    vm: Vm
    generation: int = 0
    applied: Domain | None = None  # what the process that runs was started with
    good: Domain | None = None  # the last definition that came up
    ledger: Attempts = Attempts()
    invalid: str = ""  # what is wrong with the newest file; then the last good one is in force
    invalid_reason: str = "InvalidDefinition"
    removal: Removal = Removal.NONE
    removal_since: float = 0.0
    hold: Hold | None = None
    restart_asked: bool = False
    start_after: float = 0.0  # start/@delay after a boot of the host: not before this
    around: Surroundings = Surroundings()
    opening: Opening | None = None  # None: no window is named, and it is always open
    pulse: ProbeResult = ProbeResult()  # of the running process; unused without health
    unwilling: tuple[DeferredChange, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether its newest definition was gone back on, and there is one to go back to."""
        return self.ledger.refused == self.generation and self.good is not None

    @property
    def health(self) -> Health | None:
        """The probe that counts."""
        return health_in_force(self.domain, self.good, refused=self.refused)


def health_in_force(domain: Domain | None, good: Domain | None, *,
                    refused: bool) -> Health | None:
    """The file's probe; after a rollback that of the definition that runs, which passed it."""
    counts = good if refused else domain
    return counts.policy.health if counts is not None else None


class Verb(StrEnum):
    """What the engine can do to a VM."""

    CHECK = "check"  # that all a new definition needs is there, before the old one is stopped
    START = "start"
    START_PAUSED = "start-paused"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"  # tell the VM that runs each change that it can be told
    STOP = "stop"
    FORGET = "forget"


class Cause(StrEnum):
    """Why something is done; goes into the journal with it."""

    FILE = "file"
    DRIFT = "drift"
    EXIT = "exit"
    BOOT = "boot"
    COMMAND = "command"
    APPROVAL = "approval"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Step:
    """One act, whole or not at all. `rollback`: with the last definition that came up."""

    verb: Verb
    rollback: bool = False


class Truth(StrEnum):
    """A condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """As in Kubernetes; when it last changed is the status' business, not the decision's."""

    type: str
    status: Truth
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that is not applied, and what it waits for."""

    change: Change
    blocked_by: str = ""
    late: bool = False  # no start has it: it is told afterwards, so a new process would not help

    @property
    def waits_for_guest(self) -> bool:
        """Whether nobody but the guest can help."""
        return self.blocked_by.startswith(GUEST)


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision: what to do now, why, what is true of it, and when to look again."""

    steps: tuple[Step, ...] = ()
    cause: Cause = Cause.FILE
    conditions: tuple[Condition, ...] = ()
    pending: tuple[Pending, ...] = ()
    look_again_at: float | None = None
    blocked: tuple[Step, ...] = field(default=())  # what would be done, were nothing in the way
    no_effect: tuple[Change, ...] = ()  # what the newest file changes that nothing running notices

    @property
    def ready(self) -> Condition:
        """The condition that everybody asks for."""
        return self.conditions[0]

    @property
    def changes_anything(self) -> bool:
        """Whether the world is not as it should be: exit status 1 of `plan`."""
        return bool(self.steps or self.blocked or not all(p.waits_for_guest for p in self.pending))

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, where it applies."""
        return next((c for c in self.conditions if c.type == kind), None)
