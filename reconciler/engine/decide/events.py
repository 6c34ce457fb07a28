"""What can happen to a domain, and what follows for the outside. Frozen values, nothing else.

An `Event` goes into transition.py; an `Effect` comes out of it, and the controller performs it.
Events are named for what happened: in the source, by a user, to the VM, or to an action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Any

from reconciler.stratovirt.observation import EndedBy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.model import Domain
    from reconciler.domain.place import Place
    from reconciler.engine.decide.inputs import (
        Hold,
        Now,
        Plan,
        ProbeResult,
        Removal,
        Step,
        Verb,
        Vm,
    )
    from reconciler.engine.decide.state import ProcessInfo, Running, StoredDefinition
    from reconciler.stratovirt.observation import Exit


# Effects


class Priority(IntEnum):
    """Which domain goes first; the smaller the sooner."""

    COMMAND = 0
    EXIT = 1
    FILE = 2
    DRIFT = 3
    RESYNC = 4


@dataclass(frozen=True, slots=True)
class Report:
    """An event for the journal. `durable`: on disk before what it announces is done."""

    event: str
    values: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Wake:
    """The domain is to be looked at."""

    priority: Priority


@dataclass(frozen=True, slots=True)
class Archive:
    """A definition was applied: keep its text, and drop those that the history has no more."""

    definition: StoredDefinition
    history: tuple[dict[str, Any], ...]


Effect = Report | Wake | Archive


# Events


@dataclass(frozen=True, slots=True)
class Event:
    """`now`: when it happened."""

    now: Now


@dataclass(frozen=True, slots=True)
class Loaded(Event):
    """What is kept of the domain, read by today's code; the first event of each controller."""

    domain: Domain | None
    last_known_good: Domain | None
    home: str


@dataclass(frozen=True, slots=True)
class RunningFound(Event):
    """What a process that was started before has, by the record beside its lock."""

    running: Running | None
    places: Mapping[str, Place] = field(default_factory=dict)
    generation: int = 0


# In the source


@dataclass(frozen=True, slots=True)
class DefinitionAccepted(Event):
    """Its file is valid."""

    domain: Domain
    definition: StoredDefinition


@dataclass(frozen=True, slots=True)
class DefinitionRejected(Event):
    """Its newest file is invalid: the definition before it stays in force (rule 3)."""

    reason: str
    message: str
    file: str


@dataclass(frozen=True, slots=True)
class AbsenceJudged(Event):
    """What is believed of its file's absence; if it is not believed, why."""

    removal: Removal
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PruneHeld(Event):
    """Whether its removal is held, together with many others."""

    held: bool


# By a user, or by the clock


@dataclass(frozen=True, slots=True)
class HoldSet(Event):
    """`reconciler hold`, or with None `reconciler release`."""

    hold: Hold | None


@dataclass(frozen=True, slots=True)
class HoldOfAllEnded(Event):
    """`reconciler release --all`: each domain may act again."""


@dataclass(frozen=True, slots=True)
class HoldExpired(Event):
    """The time of its hold is over."""


@dataclass(frozen=True, slots=True)
class RestartAsked(Event):
    """`reconciler start` or `restart`."""


@dataclass(frozen=True, slots=True)
class PrerequisitesChanged(Event):
    """A file that it needs changed: the delays of failed actions are over."""


# To the VM


@dataclass(frozen=True, slots=True)
class Observed(Event):
    """The VM was looked at."""

    vm: Vm
    process: ProcessInfo | None = None


@dataclass(frozen=True, slots=True)
class Adopted(Event):
    """The first look found a process that was started before this reconciler."""


@dataclass(frozen=True, slots=True)
class ProcessEnded(Event):
    """`asked`: because the reconciler stopped it."""

    exit: Exit
    asked: bool


@dataclass(frozen=True, slots=True)
class ExitFound(Event):
    """The first look found that it ended while the reconciler was not running."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class GuestRebooted(Event):
    """QMP RESET: the process lives, its guest boots again."""


@dataclass(frozen=True, slots=True)
class DeviceRemoved(Event):
    """QMP DEVICE_DELETED that no action asked for: what the VM has now."""

    domain: Domain


@dataclass(frozen=True, slots=True)
class ProbingRestarted(Event):
    """Another process is probed, or another probe is used, or none: nothing is known."""


@dataclass(frozen=True, slots=True)
class Probed(Event):
    """The guest was probed. `process` identifies its process (pid:start time)."""

    result: ProbeResult
    process: str


@dataclass(frozen=True, slots=True)
class ConsolesFound(Event):
    """The ptys of the VM's consoles, by label."""

    consoles: Mapping[str, str]


# To the plan and its actions


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """A decision was made."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class PlanBegun(Event):
    """The steps of the plan are carried out from now on."""


@dataclass(frozen=True, slots=True)
class PlanEnded(Event):
    """`done`: every step; else one failed, or the decision was no longer the right one."""

    done: bool


@dataclass(frozen=True, slots=True)
class StartBegun(Event):
    """A start is being prepared."""

    step: Step
    running: Running


@dataclass(frozen=True, slots=True)
class LaunchBegun(Event):
    """Everything is there; the process is made next."""

    running: Running
    places: Mapping[str, Place]
    home: str


@dataclass(frozen=True, slots=True)
class Launched(Event):
    """The process was made."""


@dataclass(frozen=True, slots=True)
class StartAwaited(Event):
    """A start that was launched before is waited for (again)."""


@dataclass(frozen=True, slots=True)
class CameUp(Event):
    """The VM answers. `duration` in milliseconds, of a start that was launched in this plan."""

    verb: Verb
    pid: int | None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class ActionBegun(Event):
    """Stop, pause, resume or forget begins."""

    verb: Verb


@dataclass(frozen=True, slots=True)
class ActionDone(Event):
    """A step is done. `duration` in milliseconds.

    Of a stop: `pid`: the process, `ended_by`: what ended it, `message`: why without a clean
    shutdown.
    """

    verb: Verb
    duration: float
    pid: int | None = None
    ended_by: EndedBy = EndedBy.NOTHING
    message: str = ""


class Excuse(Enum):
    """Why a start that failed says nothing about the definition that was started."""

    NAME_TAKEN = auto()  # another VM still runs under the name
    LOCK_TAKEN = auto()  # another process holds the VM's lock


@dataclass(frozen=True, slots=True)
class ActionFailed(Event):
    """A step failed."""

    verb: Verb
    reason: str
    message: str
    hint: str = ""
    excuse: Excuse | None = None


# To live changes


@dataclass(frozen=True, slots=True)
class ChangeBegun(Event):
    """A change of the running VM begins. `shown`: path, old and new value."""

    shown: str


@dataclass(frozen=True, slots=True)
class ChangeMade(Event):
    """A change, or one part of it, is made: what the VM has now, and where devices sit."""

    path: str
    domain: Domain
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class ChangeDeferred(Event):
    """The guest cannot make a change yet; it is asked again."""

    path: str
    shown: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ChangeFailed(Event):
    """A change cannot be made while the VM runs."""

    shown: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ChangesEnded(Event):
    """All changes were tried. `whole`: the VM now has everything of `generation`."""

    made: tuple[str, ...]
    whole: bool
    generation: int
    duration: float


# To the reconciler


@dataclass(frozen=True, slots=True)
class Faulted(Event):
    """An error of the reconciler itself: nothing is known of the domain (rule 9)."""

    message: str
