"""What two domains of one host cannot both have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.domain.model import Domain


def claimed(domain: Domain) -> tuple[str, ...]:
    """Everything that belongs to this domain alone, in words for an error."""
    machine = domain.machine
    nvram = (f"nvram {machine.boot.nvram}",) if machine.boot.nvram else ()
    return (f"uuid {machine.uuid}", *nvram,
            *(f"writable disk {disk.path}" for disk in machine.disks if not disk.readonly),
            *(f"mac {card.mac}" for card in machine.interfaces),
            *(f"tap {card.tap}" for card in machine.interfaces))
