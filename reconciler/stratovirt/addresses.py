"""Assigns PCI addresses and root ports: a pure function of the domain and its earlier addresses.

Explicit addresses come first. Any other device keeps its earlier address, else gets the lowest free
root port, from which it can be unplugged; adding an interface never moves a disk. Root ports are on
pcie.0 from slot 1, eight functions to a slot (as with libvirt).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.model import Device, Domain, MachineType
from reconciler.domain.numbers import identity
from reconciler.domain.place import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

# pcie.0 has 32 slots: 0 is the host bridge, 0x1f the LPC bridge on x86_64.
_SLOTS = range(1, 0x1F)


@dataclass(frozen=True, slots=True)
class Layout:
    """The result: root ports in order of index; addresses of PCI devices by device identity."""

    ports: tuple[RootPort, ...]
    places: tuple[tuple[str, Place], ...]

    def place(self, device: Device) -> Place | None:
        """The address of a device; None if it has none."""
        return dict(self.places).get(identity(device))

    def free_ports(self) -> tuple[int, ...]:
        """Indexes of root ports without a device, which hot plug can use."""
        used = {place.bus for _, place in self.places}
        return tuple(port.index for port in self.ports if port.index not in used)


def lay_out(domain: Domain, remembered: Mapping[str, Place], spare: int) -> Layout:
    """Assign an address to every PCI device; `spare`: the number of free root ports to keep."""
    if domain.machine is MachineType.MICROVM:
        return Layout((), ())
    given = {d.index: d for d in domain.devices if isinstance(d, RootPort)}
    plugged = [d for d in domain.devices if d.PLUGGED]
    places = {identity(d): d.place for d in plugged if d.place is not None}
    taken = {*places.values(), *(port.place for port in given.values() if port.place is not None)}
    for device in plugged:
        old = remembered.get(identity(device))
        # Functions above 0 need a multifunction device at function 0: only a file can ensure that.
        if identity(device) not in places and old and not old.function and old not in taken:
            places[identity(device)] = old
            taken.add(old)
    used = {place.bus for place in taken}
    index = 1
    for device in plugged:
        if identity(device) in places:
            continue
        while index in used:
            index += 1
        used.add(index)
        places[identity(device)] = Place(index, 0)
    wanted = set(given) | {place.bus for place in places.values() if place.bus}
    room = len(_free(given, taken)) - sum(i not in given or given[i].place is None for i in wanted)
    missing, index = min(spare - len(wanted - used), room), 1
    while missing > 0:
        if index not in wanted:
            wanted.add(index)
            missing -= 1
        index += 1
    return Layout(_ports(given, wanted, taken), tuple(sorted(places.items())))


def _ports(given: Mapping[int, RootPort], wanted: set[int],
           taken: set[Place]) -> tuple[RootPort, ...]:
    """A root port for each wanted index; those without an address fill pcie.0 from slot 1."""
    free = iter(_free(given, taken))
    ports: list[RootPort] = []
    for index in sorted(wanted):
        port = given.get(index)
        if port is not None and port.place is not None:
            ports.append(port)
            continue
        place = next(free)
        ports.append(RootPort(alias=port.alias if port else f"pcie.{index}", index=index,
                              place=place))
    return tuple(ports)


def _free(given: Mapping[int, RootPort], taken: set[Place]) -> list[Place]:
    """Free addresses for root ports: not in a slot that has a device of its own."""
    explicit = {port.place for port in given.values() if port.place is not None}
    closed = {place.slot for place in taken | explicit if place.bus == 0}
    return [Place(0, slot, function) for slot in _SLOTS if slot not in closed
            for function in range(8)]
