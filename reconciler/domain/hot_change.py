"""Live changes: which differences a running VM can take, and the commands for them. Pure.

Between the difference and the engine. `applied` is the definition that the process has now,
complete with its root ports and the address of every device (see `as_started`); each Adjustment
contains the definition that it has afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import Interface, RootPort
from reconciler.domain.model import Command, Device, Domain, Impact, MachineType
from reconciler.domain.numbers import identity
from reconciler.domain.place import Place
from reconciler.domain.xml_paths import CURRENT_MEMORY, CURRENT_VCPUS
from reconciler.errors import HypervisorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.domain.difference import Change

# Without waiting for this event, a second processor would overwrite the request for the first.
_RESIZED = "CPU_RESIZE"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One live change: preparation on the host, commands, cleanup on the host.

    `card`: the interface whose tap is created or updated before the commands; `plugged`: the VM
    does not have it yet. `tap`: the tap that is no longer used after them.
    """

    commands: tuple[Command, ...]
    after: Domain
    undo: tuple[Command, ...] = ()  # if a command after the first fails
    card: Interface | None = None
    plugged: bool = False
    tap: str = ""


def as_started(domain: Domain) -> Domain:
    """The state of a process just after its start: all of its memory, every link up."""
    devices = tuple(replace(d, up=True) if isinstance(d, Interface) else d for d in domain.devices)
    return replace(domain, current_memory=None, devices=devices)


def placed(domain: Domain, ports: Iterable[RootPort], places: Mapping[str, Place]) -> Domain:
    """The domain with all of its root ports, and every device with its address."""
    devices = (replace(d, place=places.get(identity(d), d.place)) for d in domain.devices
               if not isinstance(d, RootPort))
    return replace(domain, devices=tuple(sorted((*ports, *devices), key=Device.sort_key)))


def free_ports(applied: Domain) -> list[int]:
    """The root ports with nothing behind them, the lowest first."""
    used = {d.place.bus for d in applied.devices if d.place is not None and d.PLUGGED}
    return sorted(d.index for d in applied.devices
                  if isinstance(d, RootPort) and d.index not in used)


def possible(change: Change, applied: Domain, wanted: Domain, *, least_vcpus: int,
             ports: list[int]) -> bool:
    """Whether this VM can take a change of the impact LIVE.

    `ports` are the free root ports; the change removes the one that it needs from the list, or
    adds the one that it frees.
    """
    if change.path == CURRENT_MEMORY:
        return True
    if applied.machine is MachineType.MICROVM:
        return False
    if change.path == CURRENT_VCPUS:
        return applied.machine is MachineType.Q35 and (
            wanted.current_vcpus or wanted.vcpus) >= least_vcpus
    old, device = _find(applied, change), _find(wanted, change)
    if device is None:
        return old is not None and _given_back(old, ports)
    if old is not None:
        return True
    bus = _port(device, ports)
    if bus is not None:
        ports.remove(bus)
    return bus is not None


def adjustment(change: Change, applied: Domain, wanted: Domain,
               remembered: Mapping[str, Place]) -> Adjustment:
    """The adjustment that applies a change of the impact LIVE or HOST."""
    if change.path == CURRENT_MEMORY:
        return Adjustment(
            (Command("balloon", {"value": wanted.current_memory or wanted.memory}),),
            replace(applied, current_memory=wanted.current_memory))
    if change.path == CURRENT_VCPUS:
        return _vcpu(applied, wanted)
    old, new = _find(applied, change), _find(wanted, change)
    if new is None:
        assert old is not None
        tap = old.tap if isinstance(old, Interface) else ""
        return Adjustment(old.unplug(), _without(applied, old), tap=tap)
    if old is None:
        return _plugged(new, applied, remembered)
    return _adjusted(old, new, applied)


def _vcpu(applied: Domain, wanted: Domain) -> Adjustment:
    """Add or remove one processor; the next one is a change of its own."""
    now, target = (d.current_vcpus or d.vcpus for d in (applied, wanted))
    if target > now:
        command = Command("device_add", {"id": f"vcpu{now}", "driver": "generic-x86-cpu",
                                         "cpu-id": now}, until=_RESIZED)
    else:
        command = Command("device_del", {"id": f"vcpu{now - 1}"}, until=_RESIZED)
    count = now + (1 if target > now else -1)
    return Adjustment((command,), replace(
        applied, current_vcpus=None if count == applied.vcpus else count))


def _plugged(new: Device, applied: Domain, remembered: Mapping[str, Place]) -> Adjustment:
    ports = free_ports(applied)
    before = remembered.get(identity(new))
    bus = before.bus if before is not None and new.place is None and before.bus in ports else (
        _port(new, ports))
    if bus is None:
        message = f"{new.path_in_domain}: no free root port"
        raise HypervisorError(message, reason="NoRoom")
    place = Place(bus, 0)
    taken = {device.alias for device in applied.devices}
    names = (new.alias, *(f"{new.alias}-{n}" for n in range(2, len(taken) + 3)))
    device = replace(new, place=place, alias=next(name for name in names if name not in taken))
    commands = device.plug(place)
    return Adjustment(commands, _with(applied, device), undo=(replace(commands[0], anyway=True),),
                      card=device if isinstance(device, Interface) else None, plugged=True)


def _adjusted(old: Device, new: Device, applied: Domain) -> Adjustment:
    """Change the fields that need no new process; others are changes of their own."""
    names = [name for name, impact in old.IMPACT.items() if impact in (Impact.LIVE, Impact.HOST)]
    fresh = replace(old, **{name: getattr(new, name) for name in names})
    return Adjustment(old.adjust(fresh), _with(_without(applied, old), fresh),
                      card=fresh if isinstance(fresh, Interface) else None)


def _port(device: Device, ports: list[int]) -> int | None:
    """A free root port for a device: the one that its file gives, else the lowest."""
    if device.place is not None:
        good = device.place.bus in ports and (device.place.slot, device.place.function) == (0, 0)
        return device.place.bus if good else None
    return ports[0] if ports else None


def _given_back(old: Device, ports: list[int]) -> bool:
    """Whether the device is behind a root port, which then becomes free."""
    if old.place is None or not old.place.bus:
        return False
    ports.append(old.place.bus)
    ports.sort()
    return True


def _find(domain: Domain, change: Change) -> Device | None:
    return next((d for d in domain.devices if (d.KIND, d.key) == change.device), None)


def _with(domain: Domain, device: Device) -> Domain:
    return replace(domain, devices=tuple(sorted((*domain.devices, device), key=Device.sort_key)))


def _without(domain: Domain, device: Device) -> Domain:
    return replace(domain, devices=tuple(d for d in domain.devices if d is not device))
