"""What two domains of one host cannot both have. Pure; the running one keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.lines import Line, located
from reconciler.domain.model import Claim, Domain, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_IDENTITY = ("name", "uuid")
# One file has one writer, whatever it is to it; readers are many, as long as nobody writes.
READ = "read-only disk"
WRITTEN = ("writable disk", "nvram file", "writable loader", "socket or log file")


def conflicts(domains: Mapping[str, Domain],
              in_force: Collection[str]) -> dict[str, tuple[Problem, ...]]:
    """Problems by key: the newcomer's, with both files and lines.

    A key is a file's name, and of a file of several domains each domain's own. `in_force` are the
    keys whose definitions are kept now. Of two of one identity of which neither is, both are
    wrong: nobody can say which one is meant.
    """
    held: dict[tuple[str, str], tuple[str, Claim]] = {}
    found: dict[str, list[Problem]] = {}
    for file in sorted(domains, key=lambda name: (name not in in_force, name)):
        clashes = [(claim, held[key]) for claim in domains[file].claims() for key in _against(claim)
                   if key in held]
        for claim, (other, theirs) in clashes:
            found.setdefault(file, []).append(_problem(domains, (file, claim), (other, theirs)))
            if claim.kind in _IDENTITY and other not in in_force:
                found.setdefault(other, []).append(
                    _problem(domains, (other, theirs), (file, claim)))
        if not clashes:
            held |= {(claim.kind, claim.value): (file, claim) for claim in domains[file].claims()}
    return {file: tuple(dict.fromkeys(problems)) for file, problems in found.items()}


def _against(claim: Claim) -> tuple[tuple[str, str], ...]:
    """List the claims that this one cannot stand beside."""
    kinds: tuple[str, ...] = (claim.kind,)
    if claim.kind == READ:
        kinds = WRITTEN
    elif claim.kind in WRITTEN:
        kinds = (*WRITTEN, READ)
    return tuple((kind, claim.value) for kind in kinds)


def _problem(domains: Mapping[str, Domain], ours: tuple[str, Claim],
             theirs: tuple[str, Claim]) -> Problem:
    (key, claim), (other, its) = ours, theirs
    file = domains[key].file or key
    whose = "" if key == file and not isinstance(claim.line, Line) else f" of {key}"
    twins = bool(file) and file == domains[other].file
    accepted = "each once on a host" + (", so write {index} into it" if twins else "")
    return Problem(*located(file, claim.line or 1), "domain",
                   f"{claim.kind} '{claim.value}'{whose} is also the {its.kind} of "
                   f"{_place(other, its.line or 1)}; accepted: {accepted}", reason="Conflict")


def _place(key: str, line: int) -> str:
    """A domain's key and the line; in brackets where that is another file's."""
    return f"{key} ({':'.join(map(str, located(key, line)))})" if isinstance(line, Line) else (
        f"{key}:{line}")
