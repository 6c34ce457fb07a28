"""Numbers that a file does not give (a vsock's CID, a VNC port): the lowest free one, then kept.

Between the reader, whose Domain still lacks them, and the checks across files. Pure: the caller
passes which numbers are taken and which are free. A domain has at most one number of each kind.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from reconciler.domain.model import Device, Domain, ExclusiveResource

Numbers = dict[str, int]  # by AutomaticNumber.kind


def complete(domain: Domain, kept: Mapping[str, int], taken: Collection[tuple[str, int]] = (),
             free: Callable[[str, int], bool] = lambda kind, number: True) -> Domain:
    """The domain with every number: the kept one, else the lowest free one.

    `taken`: kind and number of all other domains' numbers. `free` asks the host.
    """
    if all(device.automatic() is None for device in domain.devices):
        return domain
    return replace(domain, devices=tuple(
        _numbered(device, kept, taken, free) for device in domain.devices))


def chosen(before: Domain, after: Domain) -> Numbers:
    """The numbers that `complete` chose, which the caller keeps."""
    return {wanted.kind: number for old, new in zip(before.devices, after.devices, strict=True)
            if (wanted := old.automatic()) is not None
            for kind, number in numbers_of(new.exclusive_resources()) if kind == wanted.kind}


def numbers_of(resources: Iterable[ExclusiveResource]) -> set[tuple[str, int]]:
    """The resources that are numbers: kind and number."""
    return {(resource.kind, int(resource.value)) for resource in resources
            if resource.value.isdecimal()}


def as_text(numbers: Numbers) -> str:
    """As text, for the values that a stored definition is read with."""
    return json.dumps(numbers) if numbers else ""


def of_text(text: str) -> Numbers:
    """The inverse of as_text."""
    return dict(json.loads(text)) if text else {}


def identity(device: Device) -> str:
    """The key that a device's PCI address is stored under: kind and key."""
    return f"{device.KIND}:{device.key}"


def _numbered(device: Device, kept: Mapping[str, int], taken: Collection[tuple[str, int]],
              free: Callable[[str, int], bool]) -> Device:
    wanted = device.automatic()
    if wanted is None:
        return device
    known = kept.get(wanted.kind)
    if known is not None:
        return device.numbered(known)
    for number in range(wanted.lowest, wanted.highest + 1):
        if (wanted.kind, number) not in taken and free(wanted.kind, number):
            return device.numbered(number)
    return device
