"""Domains whose files are missing: what is believed of them, look by look (rule 6).

Keeps the evidence of decide/prune_evidence.py, and reports to each domain what is believed of its
file. Also answers which domains may be started: a domain whose file is missing may be gone for
good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide import prune_evidence
from reconciler.engine.decide.events import AbsenceJudged, PruneHeld
from reconciler.engine.decide.inputs import BlockedOn, Removal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.decide.inputs import Now
    from reconciler.engine.decide.prune_evidence import Rules
    from reconciler.engine.decide.state import DomainState
    from reconciler.engine.domains import Domains


_UNDECIDED = (Removal.NONE, Removal.UNPROVEN)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the source says of the domains.

    `present`: those with a file. `doubt`: why another file may not be missing; empty if it is.
    `reason` goes with it. `unclear_since`: files that may be any domain's, and since when.
    `writing`: a file is being written, and the next look knows more.
    """

    present: Collection[str]
    doubt: str
    unclear_since: Mapping[str, float]
    writing: bool
    reason: str = "Incomplete"


class AbsenceTracker:
    """The evidence so far. `rules` are the configuration's."""

    def __init__(self, domains: Domains, rules: Rules) -> None:
        self._domains = domains
        self._rules = rules
        self._absences = prune_evidence.Absences()
        self._settling: frozenset[str] = frozenset()  # of which the next look may know more
        self._looked = False
        self.held: dict[str, str] = {}  # uuid -> name, of removals that need an approval

    def note(self, look: Look, now: Now) -> None:
        """One look: evidence grows, or ends where a file is back."""
        states = {c.uuid: c.state for c in self._domains}
        absent = states.keys() - set(look.present)
        known = self._absences.since
        uncertain = {uuid: doubt for uuid in absent
                     if (doubt := _doubt(look, known.get(uuid, now.clock)))}
        self._absences = prune_evidence.seen(self._absences, absent, now.clock, uncertain)
        if not self._looked:  # what was held before a restart of the reconciler still is
            self._looked = True
            self._absences = replace(self._absences, held=frozenset(
                uuid for uuid in absent if states[uuid].record.prune_held))
        before = self._absences
        verdicts, after = prune_evidence.judge(before, states.keys(), self._rules, now.clock)
        # An uncertain look decides nothing new: it holds no removal, and obeys none.
        self._absences = replace(after, obeyed=after.obeyed - (uncertain.keys() - before.obeyed),
                                 held=after.held - (uncertain.keys() - before.held))
        for controller in self._domains:
            controller.apply(PruneHeld(now, controller.uuid in self._absences.held))
            if controller.uuid in uncertain:
                self._report_doubt(controller, look, uncertain[controller.uuid], now)
                continue
            # What was believed stays so until the file is back, even if a later look is uncertain:
            # else a VM that was stopped for good would be started again.
            absent_now = controller.uuid in absent
            verdict = verdicts.get(controller.uuid) if absent_now else Removal.NONE
            if verdict is not None:
                controller.apply(AbsenceJudged(now, verdict))
        self._settling = frozenset(
            c.uuid for c in self._domains
            if c.uuid in absent and self._rules.enabled and c.state.removal in _UNDECIDED
            and (look.writing or self._absences.since[c.uuid] + self._rules.settle > now.clock))
        self.held = {uuid: states[uuid].name for uuid, verdict in verdicts.items()
                     if verdict is Removal.HELD and uuid in self._absences.held}

    def _report_doubt(self, controller: DomainController, look: Look, doubt: str,
                      now: Now) -> None:
        """Say of a domain whose file is missing for long why it is not removed (rule 9)."""
        removal, since = controller.state.removal, self._absences.since[controller.uuid]
        if look.writing or removal not in _UNDECIDED or (
                not self._rules.enabled or since + self._rules.settle > now.clock):
            return
        controller.apply(AbsenceJudged(now, Removal.UNPROVEN, look.reason,
                                       f"its file is gone; it is not removed while {doubt}"))

    def forget_evidence(self) -> None:
        """The source could not be read: absence has to be seen again."""
        self._absences = replace(self._absences, since={}, proof={})
        self._settling = frozenset()

    def unjudged(self, now: Now) -> frozenset[str]:
        """Domains whose file is missing, and not for long enough yet."""
        return frozenset(u for u in self._absences.since if not self.judged(u, now))

    def judged(self, uuid: str, now: Now) -> bool:
        """Whether its file is there, or missing for long enough."""
        since = self._absences.since.get(uuid)
        return since is None or not self._rules.enabled or (
            since + self._rules.settle <= now.clock)

    def next_look(self, now: Now) -> float | None:
        """Seconds until a missing file is missing for long enough."""
        return prune_evidence.next_look(self._absences, self._rules, now.clock)

    @property
    def any_missing(self) -> bool:
        """Whether a file is missing."""
        return bool(self._absences.since)

    @property
    def all_believed(self) -> bool:
        """Whether something is believed of each missing file."""
        return not any(c.state.removal in _UNDECIDED for c in self._domains
                       if c.uuid in self._absences.since)

    @property
    def leaving(self) -> frozenset[str]:
        """Domains without a file of which something comes by itself: a verdict, or a removal."""
        return self._settling | {
            c.uuid for c in self._domains
            if c.uuid in self._absences.since and _removal_under_way(c.state)}

    def approve(self, uuids: Collection[str]) -> None:
        """A user wants exactly these removed."""
        self._absences = prune_evidence.approve(self._absences, uuids)


def _doubt(look: Look, since: float) -> str:
    """Why a file that is missing since then may not be gone; empty if nothing speaks against it."""
    if look.doubt:
        return look.doubt
    file = next((file for file, at in look.unclear_since.items() if at >= since), None)
    return f"{file} does not show which domain it is of" if file is not None else ""


def _removal_under_way(state: DomainState) -> bool:
    """Whether its removal waits for no window and no user."""
    decided = state.plan
    if not state.removal.believed or not decided.made or decided.stalled:
        return False
    waits = decided.blocked_on in (BlockedOn.WINDOW, BlockedOn.CONFIRMATION, BlockedOn.HOLD)
    return bool(decided.steps or (decided.blocked and not waits))
