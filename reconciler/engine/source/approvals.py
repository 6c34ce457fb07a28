"""What waits for a user's approval: a rewound branch, many removals at once, `prune confirm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide.inputs import BlockedOn
from reconciler.engine.decide.prune_evidence import token
from reconciler.engine.source.root_check import REPLACED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.engine.domains import Domains

REWIND = "NotFastForward"


@dataclass(frozen=True, slots=True)
class Approval:
    """`domains`: names by uuid; `revision` of a branch that was rewound."""

    token: str
    kind: str
    domains: Mapping[str, str]
    revision: str = ""

    @property
    def value(self) -> dict[str, Any]:
        """As the status has it."""
        found: dict[str, Any] = {"token": self.token, "kind": self.kind,
                                 "domains": sorted(self.domains.values())}
        return {**found, "revision": self.revision} if self.revision else found


def approvals(rewind: str | None, held: Mapping[str, str], replaced: Mapping[str, str],
              domains: Domains) -> list[Approval]:
    """All of them. `rewind`: a revision; the others are names by uuid.

    `held`: removals that are held; `replaced`: domains that another directory has no file of.
    """
    found: list[Approval] = []
    if rewind is not None:
        found.append(Approval(f"r-{rewind[:7]}", REWIND, {}, rewind))
    if replaced:
        found.append(Approval(token(replaced), REPLACED, replaced))
    if held:
        found.append(Approval(token(held), "MassRemoval", held))
    found += [Approval(token([c.uuid]), "ConfirmRequired", {c.uuid: c.name}) for c in domains
              if c.state.plan.blocked_on is BlockedOn.CONFIRMATION]
    return found
