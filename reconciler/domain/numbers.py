"""Numbers that a file leaves to us (a vsock's CID, a VNC port): the lowest free one, kept for ever.

Between the reader, whose Domain still lacks them, and the checks between domains. Pure: what is
taken and what is free on the host are passed in. A domain has at most one number of each kind.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from reconciler.domain.model import Claim, Device, Domain

Numbers = dict[str, int]  # by what they are: the kind of their claim


def complete(domain: Domain, kept: Mapping[str, int], taken: Collection[tuple[str, int]] = (),
             free: Callable[[str, int], bool] = lambda claim, number: True) -> Domain:
    """The domain with every number: the kept one, else the lowest free one.

    `taken` are those of all others; `free` asks the host.
    """
    if all(device.automatic() is None for device in domain.devices):
        return domain
    return replace(domain, devices=tuple(
        _numbered(device, kept, taken, free) for device in domain.devices))


def chosen(before: Domain, after: Domain) -> Numbers:
    """What was chosen for a domain that was completed: to be kept."""
    return {wanted.claim: number for old, new in zip(before.devices, after.devices, strict=True)
            if (wanted := old.automatic()) is not None
            for claim, number in numbers_of(new.claims()) if claim == wanted.claim}


def numbers_of(claims: Iterable[Claim]) -> set[tuple[str, int]]:
    """Claims that are numbers."""
    return {(claim.kind, int(claim.value)) for claim in claims if claim.value.isdecimal()}


def as_text(numbers: Numbers) -> str:
    """For what a definition must be read with again."""
    return json.dumps(numbers) if numbers else ""


def of_text(text: str) -> Numbers:
    """The same, read back."""
    return dict(json.loads(text)) if text else {}


def identity(device: Device) -> str:
    """What a place is kept by: the kind and the key."""
    return f"{device.KIND}:{device.key}"


def _numbered(device: Device, kept: Mapping[str, int], taken: Collection[tuple[str, int]],
              free: Callable[[str, int], bool]) -> Device:
    wanted = device.automatic()
    if wanted is None:
        return device
    known = kept.get(wanted.claim)
    if known is not None:
        return device.numbered(known)
    for number in range(wanted.lowest, wanted.highest + 1):
        if (wanted.claim, number) not in taken and free(wanted.claim, number):
            return device.numbered(number)
    return device
