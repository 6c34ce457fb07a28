"""What would be done if the source were this set of files: the plan of each domain, and its cost.

The plan is the engine's own function, on what the world looks like now. What passes by itself (a
turn, a wave, a dependency that starts, too) is left out: others are taken as they will be, so that
only what nobody waits away holds anything up.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.difference import differences
from reconciler.domain.expand import expand
from reconciler.domain.model import DesiredState, Impact
from reconciler.domain.xml_paths import STATE
from reconciler.engine.composition import admission, memory_limit, opening, reading_host, variables
from reconciler.engine.control.environment import Environment
from reconciler.engine.decide import prune_evidence
from reconciler.engine.decide.attempts import changed
from reconciler.engine.decide.constraints import DomainSummary, Limits, around
from reconciler.engine.decide.disruption import weigh
from reconciler.engine.decide.inputs import (
    HealthStatus,
    Hold,
    Inputs,
    Now,
    ProbeResult,
    Removal,
    VmState,
)
from reconciler.engine.decide.plan import plan
from reconciler.engine.dryrun.plan_view import plan_value, summary
from reconciler.engine.source.loader import Definitions, Loader
from reconciler.sources.listing import DEFAULTS
from reconciler.stratovirt import binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.difference import Change
    from reconciler.domain.model import Domain
    from reconciler.engine.decide.inputs import Plan
    from reconciler.engine.dryrun.snapshot import KnownDomain, Snapshot
    from reconciler.engine.source.loader import Rejected
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing

_SOON_UP = {DesiredState.RUNNING: VmState.RUNNING, DesiredState.PAUSED: VmState.PAUSED,
            DesiredState.STOPPED: VmState.ABSENT}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a listing means for the domains that are known, by uuid."""

    definitions: Definitions
    wanted: dict[str, Domain] = field(default_factory=dict)  # by the uuid that we know it by
    invalid: dict[str, tuple[str, str]] = field(default_factory=dict)  # reason and message
    unsure: bool = False  # what is missing may be in a file that cannot be read

    @property
    def present(self) -> set[str]:
        """For whom a file speaks."""
        return {*self.wanted, *self.invalid}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One domain's case, and the decision about it."""

    name: str
    uuid: str
    file: str | None
    case: Inputs
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
        plans = [plan_value(d.name, d.uuid, d.file, d.plan, weigh(d.case, d.plan, self.arch))
                 for d in self.domains if name in (None, d.name, d.uuid)]
        invalid = [{"file": r.file, "domain": r.name, "reason": r.reason,
                    "errors": [str(p) for p in r.problems]} for r in self.definitions.rejected]
        return {"plans": plans, "invalid": invalid if name is None else [],
                "sourceError": self.error,
                "elsewhere": list(self.definitions.elsewhere) if name is None else [],
                "summary": summary(plans)}


def intake_of(settings: Settings) -> Loader:
    """What reads files as the reconciler does; which numbers are free nobody asks the host."""
    return Loader(reading_host(settings), admission(settings), platform.node(), expand,
                  variables=variables(settings))


def meaning(settings: Settings, world: Snapshot, listing: Listing) -> Meaning:
    """Read the files, and tell whose each is."""
    found = intake_of(settings).definitions(listing, world.files, world.numbers, world.definitions)
    wanted = {world.of(domain).memory.uuid: domain for domain in found.accepted.values()}
    invalid: dict[str, tuple[str, str]] = {}
    unsure = bool(listing.unfinished) or not listing.complete or DEFAULTS in listing.unreadable
    for rejected in found.rejected:
        owners = _owners(world, rejected, {*wanted, *invalid})
        unsure = unsure or (not owners and rejected.name is None and rejected.file != DEFAULTS)
        invalid |= dict.fromkeys(owners, (rejected.reason, rejected.message))
    return Meaning(found, wanted, invalid, unsure)


def _owners(world: Snapshot, rejected: Rejected, present: set[str]) -> set[str]:
    """Whose business a file is that is not accepted: of those that no good file is of."""
    named = {uuid for uuid, known in world.domains.items()
             if rejected.uuid == uuid or rejected.name == known.memory.name}
    whole = {uuid for uuid, file in world.files.items() if file == rejected.file}
    if rejected.alone:
        return (named - present) or (whole - present)
    return (whole or named) - present


def review(settings: Settings, world: Snapshot, found: Meaning | str, now: Now,
           obeyed: frozenset[str] = frozenset()) -> Review:
    """Decide about each domain; `found` is why, where the source is not known.

    `obeyed`: absent already, so that their going is no news to the breaker.
    """
    error = found if isinstance(found, str) else ""
    if isinstance(found, str):
        found = Meaning(Definitions(), unsure=True)
    verdicts = _verdicts(settings, world, found, now, obeyed)
    cases: list[tuple[KnownDomain, Inputs]] = []
    for uuid in sorted(found.wanted.keys() | world.domains.keys()):
        domain = found.wanted.get(uuid)
        known = world.of(domain) if domain is not None else world.domains[uuid]
        case = _case(settings, known, domain, verdicts.get(uuid, Removal.NONE), now)
        reason, message = found.invalid.get(uuid, ("InvalidDefinition", ""))
        cases.append((known, replace(case, invalid=message, invalid_reason=reason,
                                     hold=_hold(world, case, known, now))))
    limits = Limits(1, memory_limit(settings, simulated=binary.find(settings).simulated))
    others = {_name(case, known): _as_it_will_be(case) for known, case in cases}
    decided = [_decided(known, case, others, limits, now) for known, case in cases]
    return Review(tuple(sorted(decided, key=lambda one: one.name)), found.definitions, error,
                  settings.arch)


def _decided(known: KnownDomain, case: Inputs, others: Mapping[str, DomainSummary], limits: Limits,
             now: Now) -> Reviewed:
    domain, name = case.domain, _name(case, known)
    case = replace(case, around=around(
        name, domain, others, limits, needed=domain.memory if domain is not None else 0,
        listed=True))
    decided = plan(case, now)
    gone = domain is None or case.removal is not Removal.NONE
    return Reviewed(name, domain.uuid if domain is not None else known.memory.uuid,
                    None if gone or domain is None else domain.file, case,
                    replace(decided, no_effect=(*decided.no_effect, *_news(known, case))))


def _name(case: Inputs, known: KnownDomain) -> str:
    return case.domain.name if case.domain is not None else known.memory.name


def _news(known: KnownDomain, case: Inputs) -> Iterator[Change]:
    """What a file changes of a VM that is not there: it comes with its next start."""
    if case.vm.state is not VmState.ABSENT or known.kept is None or case.domain is None:
        return
    for change in differences(known.kept, case.domain):
        if change.path != STATE:  # what is done about it says that
            yield replace(change, impact=Impact.NONE)


def _verdicts(settings: Settings, world: Snapshot, found: Meaning, now: Now,
              obeyed: frozenset[str]) -> dict[str, Removal]:
    """What is believed of the absent, once their absence has lasted long enough (rule 6)."""
    absent = world.domains.keys() - found.present
    if found.unsure or not absent:
        return {}
    prune = settings.prune
    rules = prune_evidence.Rules(prune.enabled, 0.0, prune.hold_above, prune.hold_minimum)
    held = frozenset(uuid for uuid in absent if world.domains[uuid].memory.prune_held)
    absences = prune_evidence.Absences(dict.fromkeys(sorted(absent), now.clock),
                                obeyed=(obeyed & absent) - held, held=held)
    return prune_evidence.judge(absences, world.domains.keys() | found.wanted.keys(), rules,
                                now.clock)[0]


def _case(settings: Settings, known: KnownDomain, domain: Domain | None, verdict: Removal,
          now: Now) -> Inputs:
    memory = known.memory
    newer = domain is not None and domain != known.kept
    in_force = domain or known.kept
    return Inputs(domain=in_force, vm=known.vm, generation=memory.generation + (1 if newer else 0),
                applied=None if known.vm.state is VmState.ABSENT else known.applied,
                good=known.good, ledger=changed(memory.ledger) if newer else memory.ledger,
                removal=verdict, removal_since=now.clock,
                opening=opening(settings, in_force, now.wall), pulse=_pulse(known))


def _pulse(known: KnownDomain) -> ProbeResult:
    """Nobody asks a guest here: what was seen of this process counts."""
    record = known.record
    well = record is not None and known.memory.well == f"{record.pid}:{record.started}"
    return ProbeResult(HealthStatus.HEALTHY, message="") if well else ProbeResult()


def _hold(world: Snapshot, case: Inputs, known: KnownDomain, now: Now) -> Hold | None:
    for hold in (known.memory.hold, world.hold):
        if hold is not None and (hold.until is None or now.wall < hold.until):
            return hold
    policy = case.domain.policy if case.domain is not None else None
    if policy is None or not policy.hold or case.removal is not Removal.NONE:
        return None
    newer = case.generation != known.memory.generation
    until = Environment.moment(policy.hold_until,
                               now.wall if newer else known.memory.accepted_at) if (
        policy.hold_until) else None
    return Hold(policy.hold_reason or "", "its file", until)


def _as_it_will_be(case: Inputs) -> DomainSummary:
    """What it is to others once all of this is done."""
    there = case.domain is not None and case.removal in (Removal.NONE, Removal.HELD)
    domain = case.domain if there else None
    state = _SOON_UP[domain.policy.state] if domain is not None else VmState.ABSENT
    return DomainSummary(domain, state, ready=True, at_rest=True, waits=False, failing=False,
                     goes=False, recreating=False, wants_recreate=False,
                     memory=domain.memory if domain is not None and (
                         state is not VmState.ABSENT) else 0)
