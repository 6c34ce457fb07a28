"""The values that a decision rests on (`Inputs`) and that it is (`Plan`). Nothing else.

Times are seconds on the boot-time clock (it goes on across restarts of the reconciler and a
suspended host); `wall` is the time of day in seconds since 1970, for windows and `hold/@until`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import TYPE_CHECKING

from reconciler.engine.decide.attempts import Attempts, RetryState
from reconciler.stratovirt.observation import Exit, ExitKind, Vm, VmState
from reconciler.units import timestamp

if TYPE_CHECKING:
    from reconciler.domain.difference import Change
    from reconciler.domain.model import Domain
    from reconciler.domain.policy import Health

__all__ = ["Attempts", "Exit", "ExitKind", "RetryState", "Vm", "VmState"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave the domain alone: from its file, or from `reconciler hold`."""

    reason: str
    by: str
    until: float | None = None  # time of day

    def in_force(self, wall: float) -> bool:
        """Whether its time is not over."""
        return self.until is None or wall < self.until

    @property
    def description(self) -> str:
        """Who holds it, until when, and why."""
        until = "" if self.until is None else f" until {timestamp(self.until)}"
        return f"held by {self.by}{until}{f': {self.reason}' if self.reason else ''}"


class Removal(StrEnum):
    """What is believed of a domain whose file is not there."""

    NONE = "none"  # its file is there, or its absence is not proven
    UNPROVEN = "unproven"  # missing for long, but what was read does not prove it
    HELD = "held"  # proven, but many at once, which needs an approval
    PROVEN = "proven"  # two complete listings without it, and not too many at once
    APPROVED = "approved"  # proven, and a user approved it

    @property
    def believed(self) -> bool:
        """Whether the domain is to be removed."""
        return self in (Removal.PROVEN, Removal.APPROVED)


@dataclass(frozen=True, slots=True)
class Now:
    """Both clocks, read once; and a random factor around 1 that spreads retries."""

    clock: float
    wall: float
    jitter: float = 1.0


class HealthStatus(StrEnum):
    """What the probe of a guest says."""

    UNKNOWN = "unknown"  # not healthy yet, within its start period
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The probes of one process so far; probe_threshold.py counts them."""

    status: HealthStatus = HealthStatus.UNKNOWN
    failures: int = 0  # in a row, and only those that count
    message: str = "not probed yet"


@dataclass(frozen=True, slots=True)
class WindowState:
    """The maintenance window that a file names, as of now."""

    name: str
    open: bool
    opens_at: float | None = None  # time of day of the next opening; None: it never opens
    shown: str = ""  # the same for people, in the window's own time zone


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the other domains, and the source, allow this one. Each text says why not, or is empty.

    Only plans that have steps are made with it: others cost nothing while nothing is to be done.
    """

    start_allowed: bool = True  # the source was read, and the domain's file is not missing from it
    wave_ready: bool = True  # every domain of an earlier start wave is at rest
    unmet: tuple[str, ...] = ()  # dependencies that are not met
    dependents: tuple[str, ...] = ()  # domains that depend on it and are to be stopped before it
    recreate_blocked_by: str = ""
    memory_shortage: str = ""
    name_taken_by: str = ""  # a VM that still runs in the directory of this domain's name
    name_kept_by: str = ""  # the same, or one that this VM waits for, and it is not to move or stop


@dataclass(frozen=True, slots=True)
class DeferredChange:
    """A live change that the guest cannot make yet: why, and when it is asked again."""

    path: str
    reason: str
    retry_at: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a decision about one domain rests on; gather.py makes it."""

    domain: Domain | None  # the definition in force: the newest valid one
    vm: Vm
    generation: int = 0
    running: Domain | None = None  # what the VM's process has: at its start, and changed since
    last_known_good: Domain | None = None  # the last definition that came up
    attempts: Attempts = Attempts()
    invalid: str = ""  # what is wrong with the newest file; the definition before it is in force
    invalid_reason: str = "InvalidDefinition"
    removal: Removal = Removal.NONE
    removal_since: float = 0.0
    removal_reason: str = ""  # why a removal is not believed, or held
    removal_message: str = ""
    hold: Hold | None = None
    restart_asked: bool = False
    recreating: bool = False  # this very plan stopped the VM, and is about to start the new one
    start_after: float = 0.0  # start/@delay after a boot of the host: not before this
    surroundings: Surroundings = Surroundings()
    window: WindowState | None = None  # None: the file names none, and it is always open
    probe: ProbeResult = ProbeResult()  # of the running process; unused without health
    deferred_changes: tuple[DeferredChange, ...] = ()

    @property
    def is_rolled_back(self) -> bool:
        """Whether its newest definition was rolled back, and there is one to go back to."""
        return self.newest_rolled_back and self.last_known_good is not None

    @property
    def newest_rolled_back(self) -> bool:
        """Whether its newest definition did not come up, or was not healthy."""
        return self.attempts.rolled_back_generation == self.generation

    @property
    def health(self) -> Health | None:
        """The probe that counts."""
        return health_in_force(self.domain, self.last_known_good, rolled_back=self.is_rolled_back)


def health_in_force(domain: Domain | None, last_known_good: Domain | None, *,
                    rolled_back: bool) -> Health | None:
    """The file's probe; after a rollback that of the definition that runs, which passed it."""
    counts = last_known_good if rolled_back else domain
    return counts.policy.health if counts is not None else None


class Verb(StrEnum):
    """What the engine can do to a VM."""

    CHECK = "check"  # that all a new definition needs is there, before the old VM is stopped
    START = "start"
    START_PAUSED = "start-paused"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"  # make each change that the running VM can be given
    RECONNECT = "reconnect"  # attach its taps to their bridges again
    STOP = "stop"
    FORGET = "forget"


STARTS = frozenset({Verb.START, Verb.START_PAUSED})


class Cause(StrEnum):
    """Why an action is taken; recorded in the journal with it."""

    FILE = "file"
    DRIFT = "drift"
    EXIT = "exit"
    BOOT = "boot"
    COMMAND = "command"
    APPROVAL = "approval"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Step:
    """One action, done completely or not at all. `rollback`: of the last known good definition."""

    verb: Verb
    rollback: bool = False


STOP = Step(Verb.STOP)


class Truth(StrEnum):
    """A condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """As in Kubernetes; lastTransitionTime is kept by the state, not by the decision."""

    type: str
    status: Truth
    reason: str
    message: str = ""


class WaitsFor(StrEnum):
    """Whom a change waits for that is not made."""

    GUEST = auto()  # it has to do its part, and is asked again
    WINDOW = auto()  # a maintenance window
    POLICY = auto()  # a user's restart: the update policy does not allow it by itself
    ROLLBACK = auto()  # a new file: this definition was rolled back


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that is not applied, and what it waits for."""

    change: Change
    blocked_by: str = ""  # for people: `pending[].blockedBy` of the status
    waits_for: WaitsFor | None = None
    late: bool = False  # it is made after each start, so that a new process would not help

    @property
    def waits_for_guest(self) -> bool:
        """Whether only the guest can help."""
        return self.waits_for is WaitsFor.GUEST


class BlockedOn(StrEnum):
    """What keeps a domain from being what it should be, where that is not the plan itself."""

    SOURCE = auto()  # the first complete read of the source
    WAVE = auto()  # domains of earlier start waves
    DELAY = auto()  # its start delay
    DEPENDENCY = auto()  # what it depends on
    DEPENDENTS = auto()  # what depends on it, and stops first
    TURN = auto()  # other domains that are being recreated
    NAME = auto()  # a VM that still runs under its name
    MEMORY = auto()
    WINDOW = auto()
    BACKOFF = auto()  # the time of the next attempt
    DRIFT = auto()  # the same, of corrections
    ANSWER = auto()  # the VM's answer
    HOLD = auto()
    CONFIRMATION = auto()  # a user's approval
    KEPT = auto()  # nothing: prune policy keep


# Ends when the state of another domain changes: that change is a reason to look again.
FOR_OTHER_DOMAINS = frozenset({
    BlockedOn.SOURCE, BlockedOn.WAVE, BlockedOn.DELAY, BlockedOn.DEPENDENCY, BlockedOn.DEPENDENTS,
    BlockedOn.TURN, BlockedOn.NAME, BlockedOn.MEMORY})
# Ends by itself, soon: domains of later waves wait for it.
_ON_ITS_WAY = frozenset({BlockedOn.SOURCE, BlockedOn.WAVE, BlockedOn.DELAY, BlockedOn.TURN,
                         BlockedOn.NAME})


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision: what to do now, why, what is true of the domain, and when to look again."""

    steps: tuple[Step, ...] = ()
    cause: Cause = Cause.FILE
    conditions: tuple[Condition, ...] = ()
    pending: tuple[Pending, ...] = ()
    look_again_at: float | None = None
    blocked: tuple[Step, ...] = field(default=())  # what would be done if nothing were in the way
    blocked_on: BlockedOn | None = None
    coming_up: bool = False  # the VM is starting, or has not been found healthy yet
    unhealthy: bool = False  # the VM runs as it should, and its guest is not healthy
    no_effect: tuple[Change, ...] = ()  # changes of the newest file that no running VM notices

    @property
    def made(self) -> bool:
        """Whether there is a decision at all: before the first observation there is none."""
        return bool(self.conditions)

    @property
    def ready(self) -> Condition:
        """The Ready condition."""
        return self.conditions[0]

    @property
    def is_ready(self) -> bool:
        """Whether the domain is what it should be."""
        return self.made and self.ready.status is Truth.TRUE

    @property
    def stalled(self) -> bool:
        """Whether it will not get better unless a user or something outside helps."""
        return self.condition("Stalled") is not None

    @property
    def held(self) -> bool:
        """Whether a hold keeps the reconciler from acting."""
        return self.blocked_on is BlockedOn.HOLD

    @property
    def on_its_way(self) -> bool:
        """Whether it changes by itself, soon."""
        return bool(self.steps) or self.coming_up or self.blocked_on in _ON_ITS_WAY

    @property
    def changes_anything(self) -> bool:
        """Whether something is not as it should be: exit status 1 of `plan`."""
        return bool(self.steps or self.blocked or not all(p.waits_for_guest for p in self.pending))

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, where it applies."""
        return next((c for c in self.conditions if c.type == kind), None)
