"""What would be done if the source were this set of files: the plan of each domain, and its cost.

The states, inputs and plans are made by the engine's own functions (transition.py, gather.py and
plan.py of decide/), on what is known now. What passes by itself (a turn, a wave, a dependency that
starts, too) is left out: other domains are taken as they will be, so that only what does not pass
holds anything up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.difference import differences
from reconciler.domain.model import Impact
from reconciler.domain.policy import DesiredState
from reconciler.domain.xml_paths import STATE
from reconciler.engine.composition import decision_config, loader_of, memory_limit
from reconciler.engine.decide import prune_evidence
from reconciler.engine.decide.constraints import DomainSummary, Limits, surroundings
from reconciler.engine.decide.disruption import weigh
from reconciler.engine.decide.events import AbsenceJudged, DefinitionAccepted, DefinitionRejected
from reconciler.engine.decide.gather import decide, memory_needed
from reconciler.engine.decide.identity import owners, owners_of_rejected
from reconciler.engine.decide.inputs import Inputs, Now, Removal, Vm, VmState
from reconciler.engine.decide.state import DomainRecord, DomainState, StoredDefinition, as_text
from reconciler.engine.dryrun.plan_view import plan_value, summary
from reconciler.engine.dryrun.snapshot import after
from reconciler.engine.source.loader import Definitions
from reconciler.sources.listing import DEFAULTS
from reconciler.stratovirt import binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.difference import Change
    from reconciler.domain.model import Domain
    from reconciler.engine.decide.inputs import Plan
    from reconciler.engine.dryrun.snapshot import Snapshot
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing

_SOON_UP = {DesiredState.RUNNING: VmState.RUNNING, DesiredState.PAUSED: VmState.PAUSED,
            DesiredState.STOPPED: VmState.ABSENT}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a listing means for the domains that are known.

    `keys`: the definition of each domain, by the uuid that it is known by (a new one by its own).
    """

    definitions: Definitions
    keys: dict[str, str] = field(default_factory=dict)
    invalid: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # reason, message, file
    unsure: bool = False  # what is missing may be in a file that cannot be read

    @property
    def present(self) -> set[str]:
        """The domains that have a file."""
        return {*self.keys, *self.invalid}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What one domain's plan rests on, and the plan."""

    name: str
    uuid: str
    file: str | None
    inputs: Inputs
    plan: Plan


@dataclass(frozen=True, slots=True)
class Review:
    """All of it. `error`: why the source is not known; then everything stays (rule 3)."""

    domains: tuple[Reviewed, ...]
    definitions: Definitions
    error: str = ""
    arch: str = ""

    def value(self, name: str | None = None) -> dict[str, Any]:
        """As `plan -o json` prints it."""
        plans = [plan_value(d.name, d.uuid, d.file, d.plan, weigh(d.inputs, d.plan, self.arch))
                 for d in self.domains if name in (None, d.name, d.uuid)]
        invalid = [{"file": r.file, "domain": r.name, "reason": r.reason,
                    "errors": [str(p) for p in r.problems]} for r in self.definitions.rejected]
        return {"plans": plans, "invalid": invalid if name is None else [],
                "sourceError": self.error,
                "elsewhere": list(self.definitions.elsewhere) if name is None else [],
                "summary": summary(plans)}


def meaning(settings: Settings, known: Snapshot, listing: Listing) -> Meaning:
    """Read the files, and find the domain that each belongs to."""
    found = loader_of(settings).definitions(listing, known.in_force)
    keys = {uuid or found.accepted[key].uuid: key
            for key, uuid in owners(found.accepted, known.names).items()}
    invalid: dict[str, tuple[str, str, str]] = {}
    unsure = bool(listing.doubt)
    for rejected in found.rejected:
        whose = owners_of_rejected(
            rejected.file, rejected.name, rejected.uuid, known=known.names, files=known.files,
            only_this_domain=rejected.only_this_domain, present={*keys, *invalid})
        unsure = unsure or (not whose and rejected.name is None and rejected.file != DEFAULTS)
        invalid |= dict.fromkeys(whose, (rejected.reason, rejected.message, rejected.file))
    return Meaning(found, keys, invalid, unsure)


def review(settings: Settings, known: Snapshot, found: Meaning | str, now: Now,
           obeyed: frozenset[str] = frozenset()) -> Review:
    """Decide about each domain; `found` is why, where the source is not known.

    `obeyed`: domains whose file is missing already, and which do not count as new removals.
    """
    error = found if isinstance(found, str) else ""
    if isinstance(found, str):
        found = Meaning(Definitions(), unsure=True)
    verdicts = _verdicts(settings, known, found, now, obeyed)
    config = decision_config(settings, "", now.clock)
    states = {uuid: known.domains[uuid].state if uuid in known.domains else DomainState(
        DomainRecord(uuid, ""), config, vm=Vm(VmState.ABSENT))
        for uuid in found.keys.keys() | known.domains.keys()}
    to_come = {uuid: _to_come(state, found, verdicts.get(uuid, Removal.NONE), now)
               for uuid, state in states.items()}
    limits = Limits(1, memory_limit(settings, simulated=binary.find(settings).simulated))
    others = {state.name: _as_it_will_be(state) for state in to_come.values()}
    decided = [_decided(states[uuid], state, others, limits, known, now)
               for uuid, state in sorted(to_come.items())]
    return Review(tuple(sorted(decided, key=lambda one: one.name)), found.definitions, error,
                  settings.arch)


def _to_come(state: DomainState, found: Meaning, removal: Removal, now: Now) -> DomainState:
    """The domain's state once the source is this one."""
    uuid = state.uuid
    key = found.keys.get(uuid)
    if key is not None:
        source = found.definitions.sources[key]
        state = after(state, DefinitionAccepted(
            now, found.definitions.accepted[key],
            StoredDefinition(as_text(source.data), source.domain.file)))
    elif uuid in found.invalid:
        reason, message, file = found.invalid[uuid]
        state = after(state, DefinitionRejected(now, reason, message, file))
    elif removal is not Removal.NONE:
        state = after(state, AbsenceJudged(now, removal))
    return replace(state, home="")  # names are free by the time they are needed


def _decided(before: DomainState, state: DomainState, others: Mapping[str, DomainSummary],
             limits: Limits, known: Snapshot, now: Now) -> Reviewed:
    decided = decide(state, now, hold_of_all=known.hold, surroundings=lambda: surroundings(
        state.name, state.domain, others, limits, needed=memory_needed(state), home="",
        start_allowed=True))
    domain = state.domain
    gone = domain is None or state.removal is not Removal.NONE
    return Reviewed(
        state.name, domain.uuid if domain is not None else state.uuid,
        None if gone or domain is None else domain.file, decided.inputs,
        replace(decided.plan, no_effect=(*decided.plan.no_effect,
                                         *_with_next_start(before.domain, state))))


def _with_next_start(kept: Domain | None, state: DomainState) -> Iterator[Change]:
    """What a file changes of a VM that is not there: it comes with its next start."""
    if state.vm.state is not VmState.ABSENT or kept is None or state.domain is None:
        return
    for change in differences(kept, state.domain):
        if change.path != STATE:  # the steps of the plan show that
            yield replace(change, impact=Impact.NONE)


def _verdicts(settings: Settings, known: Snapshot, found: Meaning, now: Now,
              obeyed: frozenset[str]) -> dict[str, Removal]:
    """What is believed of missing files, once they have been missing for long enough (rule 6)."""
    absent = known.domains.keys() - found.present
    if found.unsure or not absent:
        return {}
    prune = settings.prune
    rules = prune_evidence.Rules(prune.enabled, 0.0, prune.hold_above, prune.hold_minimum)
    held = frozenset(uuid for uuid in absent if known.domains[uuid].state.record.prune_held)
    missing = dict.fromkeys(sorted(absent), now.clock)
    absences = prune_evidence.Absences(missing, missing,
                                       obeyed=(obeyed & absent) - held, held=held)
    every = known.domains.keys() | found.keys.keys()
    return prune_evidence.judge(absences, every, rules, now.clock)[0]


def _as_it_will_be(state: DomainState) -> DomainSummary:
    """What other domains have to know of it once all of this is done."""
    domain = None if state.removal.believed else state.domain
    vm = _SOON_UP[domain.policy.state] if domain is not None else VmState.ABSENT
    return DomainSummary(domain, vm, ready=True, at_rest=True, waits=False, failing=False,
                         leaving=False, recreating=False, wants_recreate=False,
                         memory=domain.memory if domain is not None and (
                             vm is not VmState.ABSENT) else 0)
