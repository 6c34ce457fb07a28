"""What differs between two definitions, field by field, and what applying it costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.model import Device, Domain, Impact
from reconciler.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

# A template matters only until its copy is made; an alias is given at the start, and stays.
_WITHOUT_EFFECT = ("title", "description", "nvram_template", "alias")
# What a VM that runs can be told (domain/hot_change.py says which one can be told it at all).
_LIVE = ("current_memory", "current_vcpus")
_LINES = {"current_memory": "memory", "current_vcpus": "vcpus", "topology": "vcpus"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `old` and `new` are for people."""

    path: str
    old: str
    new: str
    impact: Impact
    line: int = 0
    device: tuple[str, str] | None = None  # kind and key, where it is a device's


def differences(old: Domain, new: Domain) -> tuple[Change, ...]:
    """Everything that means something else; nothing for equal meaning (rule 4)."""
    if old == new:
        return ()
    return tuple(change for change in _all(old, new) if not _ignored(change, new))


def _ignored(change: Change, new: Domain) -> bool:
    """Whether somebody else may change it; a device goes by its key or by its alias."""
    names = {change.path}
    for device in new.devices:
        mine = f"{device.KIND}[{device.key}]"
        if change.path == mine or change.path.startswith(f"{mine}/"):
            names.add(f"{device.KIND}[{device.alias}]{change.path.removeprefix(mine)}")
    return any(name == path or name.startswith(f"{path}/")
               for path in new.policy.ignore for name in names)


def _all(old: Domain, new: Domain) -> Iterator[Change]:
    lines = dict(new.lines)
    for field in fields(Domain):
        name = field.name
        before, after = getattr(old, name), getattr(new, name)
        if not field.compare or before == after or name in ("devices", "boot", "policy"):
            continue
        yield Change(name, _show(name, before), _show(name, after), impact_of(name),
                     lines.get(_LINES.get(name, name), 0))
    yield from _parts("", old.boot, new.boot, Impact.RECREATE, lines)
    yield from _parts("policy/", old.policy, new.policy, Impact.NONE,
                      {name.name: lines.get("policy", 0) for name in fields(new.policy)})
    yield from _devices(old, new)


def impact_of(name: str) -> Impact:
    """What a change of a field costs that is no device's."""
    if name in _WITHOUT_EFFECT:
        return Impact.NONE
    return Impact.LIVE if name in _LIVE else Impact.RECREATE


def _parts(prefix: str, before: object, after: object, impact: Impact,
           lines: dict[str, int]) -> Iterator[Change]:
    for field in fields(before):  # type: ignore[arg-type]  # both are dataclasses of one class
        name = field.name
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            yield Change(f"{prefix}{name}", _show(name, one), _show(name, other),
                         Impact.NONE if name in _WITHOUT_EFFECT else impact, lines.get(name, 0))


def _devices(old: Domain, new: Domain) -> Iterator[Change]:
    before = {(d.KIND, d.key): d for d in old.devices}
    after = {(d.KIND, d.key): d for d in new.devices}
    for kind, key in sorted(before.keys() | after.keys()):
        one, other = before.get((kind, key)), after.get((kind, key))
        path = f"{kind}[{key}]"
        if one is None:
            assert other is not None
            yield Change(path, "none", _summary(other), _of_whole(other), other.line, (kind, key))
        elif other is None:
            yield Change(path, _summary(one), "none", _of_whole(one, gone=True), 0, (kind, key))
        elif type(one) is not type(other):  # such as a disk on another bus
            yield Change(path, type(one).__name__, type(other).__name__, Impact.RECREATE,
                         other.line, (kind, key))
        elif one != other:
            yield from _fields(path, one, other)


def _of_whole(device: Device, *, gone: bool = False) -> Impact:
    """What it costs that a device comes or goes; a root port that nobody wrote does no harm."""
    if gone and isinstance(device, RootPort):
        return Impact.NONE
    return Impact.LIVE if device.HOTPLUG else Impact.RECREATE


def _fields(path: str, one: Device, other: Device) -> Iterator[Change]:
    for field in fields(one):
        name = field.name
        was, is_ = getattr(one, name), getattr(other, name)
        if not field.compare or was == is_ or (name == "place" and is_ is None):
            continue  # a place that the file leaves to us is the one that it has
        impact = Impact.NONE if name in _WITHOUT_EFFECT else (
            one.IMPACT.get(name, Impact.RECREATE))
        if impact is Impact.HOST and not is_:
            impact = Impact.RECREATE  # taken away, the host's own default is to come back
        yield Change(f"{path}/{name}", _show(name, was), _show(name, is_), impact, other.line,
                     (one.KIND, one.key))


def _summary(device: Device) -> str:
    for name in ("path", "tap", "index", "backend"):
        value = getattr(device, name, None)
        if value is not None:
            return str(value)
    return device.alias


def _show(name: str, value: object) -> str:
    if value is None and name in _LIVE:
        return "all"
    if value is None or value == ():
        return "none"
    if name in ("memory", "current_memory"):
        return show_bytes(int(str(value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return show_seconds(value)
    if is_dataclass(value):
        return " ".join(f"{f.name}={_show(f.name, getattr(value, f.name))}" for f in fields(value))
    if isinstance(value, tuple):
        return " ".join("=".join(v) if isinstance(v, tuple) else str(v) for v in value)
    return str(value)
