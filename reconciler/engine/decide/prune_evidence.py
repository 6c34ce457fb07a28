"""Removal on positive evidence (rule 6): two complete listings without the file. Pure.

The removal of many domains at once is held until a user approves exactly this set, or the files
come back: each of them, since some that are back say nothing about the others. One of one, or two
of two, is simply obeyed: users do delete their last file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide.inputs import Removal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Rules:
    """The configuration's part: hold when more than this share, and at least so many."""

    enabled: bool = True
    settle: float = 2.0
    hold_above: float = 0.5
    hold_minimum: int = 3


@dataclass(frozen=True, slots=True)
class Absences:
    """Domains whose file is not there: since when, by the clock, and which are approved.

    `since`: the first look without the file; `proof`: the first one that was certain, which is the
    first half of the evidence.
    """

    since: Mapping[str, float] = field(default_factory=dict)
    proof: Mapping[str, float] = field(default_factory=dict)
    approved: frozenset[str] = frozenset()
    obeyed: frozenset[str] = frozenset()  # already believed: they do not count as new removals
    held: frozenset[str] = frozenset()  # many at once: held until approved, or the file is back


def seen(absences: Absences, absent: Collection[str], now: float,
         uncertain: Collection[str] = ()) -> Absences:
    """A look without these: evidence grows, or vanishes where a file is back.

    `uncertain`: those of them that this look proves nothing of.
    """
    gone = set(absent)
    proof = {key: absences.proof.get(key, now) for key in sorted(gone)
             if key in absences.proof or key not in uncertain}
    return Absences({key: absences.since.get(key, now) for key in sorted(gone)}, proof,
                    absences.approved & gone, absences.obeyed & gone, absences.held & gone)


def judge(absences: Absences, known: Collection[str], rules: Rules,
          now: float) -> tuple[dict[str, Removal], Absences]:
    """What is believed of each absent domain, among all `known` ones."""
    if not rules.enabled:
        return {}, absences
    fresh = absences.proof.keys() - absences.approved - absences.obeyed
    ripe = {key for key, at in absences.proof.items() if at + rules.settle <= now}
    base = len(set(known) - absences.obeyed)
    many = len(fresh) >= rules.hold_minimum and len(fresh) > rules.hold_above * base
    found: dict[str, Removal] = {}
    for key in sorted(ripe):
        if key in absences.approved:
            found[key] = Removal.APPROVED
        elif key in absences.held or (many and key not in absences.obeyed):
            found[key] = Removal.HELD
        else:
            found[key] = Removal.PROVEN
    return found, replace(
        absences,
        obeyed=absences.obeyed | {key for key, r in found.items() if r is Removal.PROVEN},
        held=(absences.held - absences.approved) | {
            key for key, r in found.items() if r is Removal.HELD})


def next_look(absences: Absences, rules: Rules, now: float) -> float | None:
    """Seconds until the next absence is old enough; None if there is none.

    `now` is the one that `judge` had: with a later one, an absence that became old enough in
    between would be missed.
    """
    ripens = [at + rules.settle for at in (*absences.since.values(), *absences.proof.values())]
    return min((at - now for at in ripens if at > now), default=None)


def approve(absences: Absences, keys: Iterable[str]) -> Absences:
    """A user wants exactly these removed."""
    return replace(absences, approved=absences.approved | (set(keys) & absences.since.keys()))


def token(keys: Iterable[str]) -> str:
    """A short name for exactly this set of domains."""
    return f"p-{hashlib.sha256(' '.join(sorted(keys)).encode()).hexdigest()[:6]}"
