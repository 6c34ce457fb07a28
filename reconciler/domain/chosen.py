"""What was chosen for a domain, since its file does not give it, as texts beside the definition.

The values of numbers.py and assigned.py, under the keys that they are stored with. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain import assigned, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.assigned import Assigned
    from reconciler.domain.model import Domain
    from reconciler.domain.numbers import Numbers

_NUMBERS, _ASSIGNED = "numbers", "assigned"


def texts(chosen: Numbers, own: Assigned) -> dict[str, str]:
    """As they are stored; without what is empty."""
    found = {_NUMBERS: numbers.as_text(chosen), _ASSIGNED: assigned.as_text(own)}
    return {key: text for key, text in found.items() if text}


def numbers_in(kept: Mapping[str, str]) -> Numbers:
    """The numbers of a stored definition."""
    return numbers.of_text(kept.get(_NUMBERS, ""))


def assigned_in(kept: Mapping[str, str]) -> Assigned:
    """The uuid and the cards of a stored definition."""
    return assigned.of_text(kept.get(_ASSIGNED, ""))


def restored(domain: Domain, kept: Mapping[str, str]) -> Domain:
    """A stored definition as it was accepted; `domain`: as the reader reads its text."""
    return numbers.complete(assigned.restore(domain, assigned_in(kept)), numbers_in(kept))
