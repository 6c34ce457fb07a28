"""Changes of a VM that runs: which of them it can be told, and what it is told. Pure.

After the difference, before the engine. `applied` is what the process has got by now, complete with
its root ports and the place of every device (see `as_started`); each Adjustment says what it has
got afterwards, so that nothing is ever assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import Interface, RootPort
from reconciler.domain.model import Command, Device, Domain, Impact, MachineType, Place
from reconciler.domain.numbers import identity
from reconciler.errors import HypervisorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.domain.difference import Change


_RESIZED = "CPU_RESIZE"  # without it a second processor would overwrite the request for the first


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One live change, whole: the host's part before, the commands, the host's part after.

    `card`: a network card whose tap is made, or made as wanted, before. `tap`: one that is no
    longer used afterwards.
    """

    commands: tuple[Command, ...]
    after: Domain
    undo: tuple[Command, ...] = ()  # when a command after the first was refused
    card: Interface | None = None
    tap: str = ""


def as_started(domain: Domain) -> Domain:
    """What a process has just after its start: all of its memory, and every cable in."""
    devices = tuple(replace(d, up=True) if isinstance(d, Interface) else d for d in domain.devices)
    return replace(domain, current_memory=None, devices=devices)


def placed(domain: Domain, ports: Iterable[RootPort], places: Mapping[str, Place]) -> Domain:
    """The domain with all of its root ports, and its devices where they sit."""
    devices = (replace(d, place=places.get(identity(d), d.place)) for d in domain.devices
               if not isinstance(d, RootPort))
    return replace(domain, devices=tuple(sorted((*ports, *devices), key=Device.sort_key)))


def free_ports(applied: Domain) -> list[int]:
    """Root ports with nothing behind them, the lowest first."""
    used = {d.place.bus for d in applied.devices if d.place is not None and d.PLUGGED}
    return sorted(d.index for d in applied.devices
                  if isinstance(d, RootPort) and d.index not in used)


def possible(change: Change, applied: Domain, wanted: Domain, *, least_vcpus: int,
             ports: list[int]) -> bool:
    """Whether the VM can be told this change of the impact LIVE.

    `ports` are those that are free; what the change takes or gives back is taken or given back.
    """
    if change.path == "current_memory":
        return True
    if applied.machine is MachineType.MICROVM:
        return False
    if change.path == "current_vcpus":
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
    """What makes this change of the impact LIVE or HOST."""
    if change.path == "current_memory":
        return Adjustment(
            (Command("balloon", {"value": wanted.current_memory or wanted.memory}),),
            replace(applied, current_memory=wanted.current_memory))
    if change.path == "current_vcpus":
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
    """One processor more or less; the next one is a change of its own."""
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
        message = f"{identity(new)}: no root port is free for it"
        raise HypervisorError(message, reason="NoRoom")
    place = Place(bus, 0)
    taken = {device.alias for device in applied.devices}
    names = (new.alias, *(f"{new.alias}-{n}" for n in range(2, len(taken) + 3)))
    device = replace(new, place=place, alias=next(name for name in names if name not in taken))
    commands = device.plug(place)
    return Adjustment(commands, _with(applied, device), undo=(replace(commands[0], anyway=True),),
                      card=device if isinstance(device, Interface) else None)


def _adjusted(old: Device, new: Device, applied: Domain) -> Adjustment:
    """Only those fields that need no new process; others are changes of their own."""
    names = [name for name, impact in old.IMPACT.items() if impact in (Impact.LIVE, Impact.HOST)]
    fresh = replace(old, **{name: getattr(new, name) for name in names})
    return Adjustment(old.adjust(fresh), _with(_without(applied, old), fresh),
                      card=fresh if isinstance(fresh, Interface) else None)


def _port(device: Device, ports: list[int]) -> int | None:
    """A free root port for it: the one that its file gives, else the lowest."""
    if device.place is not None:
        good = device.place.bus in ports and (device.place.slot, device.place.function) == (0, 0)
        return device.place.bus if good else None
    return ports[0] if ports else None


def _given_back(old: Device, ports: list[int]) -> bool:
    """Whether it sits behind a root port, which is free again without it."""
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
