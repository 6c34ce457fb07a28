"""What two domains of one host cannot both have. Pure; the running one keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.model import Claim, Domain, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_IDENTITY = ("name", "uuid")
# One file has one writer, whatever it is to it; readers are many, as long as nobody writes.
READ = "read-only disk"
WRITTEN = ("writable disk", "nvram file", "writable loader", "socket or log file")


def conflicts(domains: Mapping[str, Domain],
              in_force: Collection[str]) -> dict[str, tuple[Problem, ...]]:
    """Problems by file: the newcomer's, with both files and lines.

    `in_force` are the files whose definitions are kept now. Of two files of one identity of which
    neither is, both are wrong: nobody can say which one is meant.
    """
    held: dict[tuple[str, str], tuple[str, Claim]] = {}
    found: dict[str, list[Problem]] = {}
    for file in sorted(domains, key=lambda name: (name not in in_force, name)):
        clashes = [(claim, held[key]) for claim in domains[file].claims() for key in _against(claim)
                   if key in held]
        for claim, (other, theirs) in clashes:
            found.setdefault(file, []).append(_problem(file, claim, other, theirs))
            if claim.kind in _IDENTITY and other not in in_force:
                found.setdefault(other, []).append(_problem(other, theirs, file, claim))
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


def _problem(file: str, claim: Claim, other: str, theirs: Claim) -> Problem:
    return Problem(file, claim.line or 1, "domain", f"{claim.kind} '{claim.value}' is also the "
                   f"{theirs.kind} of {other}:{theirs.line or 1}; accepted: each once on a host",
                   reason="Conflict")
