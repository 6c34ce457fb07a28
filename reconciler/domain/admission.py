"""What a file may ask of this host. Pure and lexical; an empty rule allows all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.devices import Interface
from reconciler.domain.model import Domain, Problem
from reconciler.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Admission:
    """The configuration's section `admission`."""

    paths: tuple[str, ...] = ()
    max_memory: int | None = None
    max_vcpus: int | None = None
    bridges: tuple[str, ...] = ()
    require_labels: tuple[str, ...] = ()


def admit(domain: Domain, rules: Admission) -> tuple[Problem, ...]:
    """Everything that this host does not allow; each problem has the reason NotAllowed."""
    return tuple(_problems(domain, rules))


def _problems(domain: Domain, rules: Admission) -> Iterator[Problem]:
    lines = dict(domain.lines)

    def problem(line: int, message: str) -> Problem:
        return Problem(domain.file, line or 1, "domain", message, reason="NotAllowed")

    if rules.max_memory is not None and domain.memory > rules.max_memory:
        yield problem(lines.get("memory", 0), f"memory {show_bytes(domain.memory)}; accepted: up "
                      f"to {show_bytes(rules.max_memory)} (admission.max_memory)")
    if rules.max_vcpus is not None and domain.vcpus > rules.max_vcpus:
        yield problem(lines.get("vcpus", 0), f"{domain.vcpus} processors; accepted: up to "
                      f"{rules.max_vcpus} (admission.max_vcpus)")
    for need in domain.needs():
        for path in filter(None, (need.path, need.template)):
            if rules.paths and not any(_below(path, allowed) for allowed in rules.paths):
                yield problem(need.line, f"{path}; accepted: below {', '.join(rules.paths)} "
                                         "(admission.paths)")
    for card in domain.devices:
        if isinstance(card, Interface) and rules.bridges and card.bridge not in rules.bridges:
            yield problem(card.line, f"bridge '{card.bridge}'; accepted: "
                                     f"{', '.join(rules.bridges)} (admission.bridges)")
    labels = dict(domain.policy.labels)
    for name in rules.require_labels:
        if name not in labels:
            yield problem(lines.get("policy", 0), f"no label '{name}'; accepted: <r:label "
                          f"name='{name}' value='…'/> (admission.require_labels)")


def _below(path: str, allowed: str) -> bool:
    real = os.path.normpath(path)
    root = os.path.normpath(allowed)
    return real == root or real.startswith(root.rstrip("/") + "/")
