"""A device's position on the guest's PCI buses. Imported by the model and by the XML builder."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A PCI address: bus 0 is pcie.0, bus N the root port with index N."""

    bus: int
    slot: int
    function: int = 0
    # Set on function 0 of a slot that has more functions.
    multifunction: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.bus:02x}:{self.slot:02x}.{self.function:x}"
