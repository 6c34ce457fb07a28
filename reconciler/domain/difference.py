"""The differences between two definitions, and the impact of applying them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

from reconciler.domain import xml_paths
from reconciler.domain.devices import Disk, RootPort
from reconciler.domain.model import Device, Domain, Impact
from reconciler.domain.policy import Dependency
from reconciler.domain.xml_paths import names_of, of_device
from reconciler.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A template matters only until its copy is made; an alias is fixed when the process starts.
_WITHOUT_EFFECT = ("title", "description", "nvram_template", "alias")
# Can be changed in a running VM; domain/hot_change.py decides whether in this one.
_LIVE = ("current_memory", "current_vcpus")
_LINES = {"current_memory": "memory", "current_vcpus": "vcpus", "topology": "vcpus"}
_YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `path`: see domain/xml_paths.py; `old` and `new`: as users see them."""

    path: str
    old: str
    new: str
    impact: Impact
    line: int = 0
    device: tuple[str, str] | None = None  # its kind and key, for a device


def differences(old: Domain, new: Domain) -> tuple[Change, ...]:
    """All differences in meaning, without those that `new` ignores; none if the two are equal."""
    if old == new:
        return ()
    return tuple(change for change in _all(old, new) if not _ignored(change, new))


def values(domain: Domain) -> dict[str, str]:
    """Every value of a domain by its path, as differences show it; those that are None left out."""
    parts = ((domain, xml_paths.DOMAIN), (domain.backing, xml_paths.BACKING),
             (domain.boot, xml_paths.BOOT), (domain.policy, xml_paths.POLICY))
    found = {path: _show(name, value, xml_paths.WORDS.get(name, _YES_NO))
             for part, paths in parts for name, path in paths.items()
             if (value := getattr(part, name)) not in (None, ())}
    found |= {of_device(device, name): _show(name, value, device.WORDS.get(name, _YES_NO))
              for device in domain.devices for name in device.PATHS
              if (value := getattr(device, name)) not in (None, ())}
    return found


def _ignored(change: Change, new: Domain) -> bool:
    """Whether the domain ignores changes of this path or of a parent of it."""
    ignored = new.policy.ignore
    return bool(ignored) and any(name == path or name.startswith(f"{path}/")
                                 for name in names_of(change.path, new.devices)
                                 for path in ignored)


def _all(old: Domain, new: Domain) -> Iterator[Change]:
    lines = dict(new.lines)
    for name, path in xml_paths.DOMAIN.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Change(path, _show(name, before), _show(name, after), impact_of(name),
                         lines.get(_LINES.get(name, name), 0))
    yield from _parts(xml_paths.BACKING, old.backing, new.backing, Impact.RECREATE, lines)
    yield from _parts(xml_paths.BOOT, old.boot, new.boot, Impact.RECREATE, lines)
    yield from _parts(xml_paths.POLICY, old.policy, new.policy, Impact.NONE,
                      dict.fromkeys(xml_paths.POLICY, lines.get("policy", 0)))
    yield from _devices(old, new)


def impact_of(name: str) -> Impact:
    """The impact of a change of a field of Domain or Boot."""
    if name in _WITHOUT_EFFECT:
        return Impact.NONE
    return Impact.LIVE if name in _LIVE else Impact.RECREATE


def _parts(paths: Mapping[str, str], before: object, after: object, impact: Impact,
           lines: Mapping[str, int]) -> Iterator[Change]:
    for name, path in paths.items():
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            words = xml_paths.WORDS.get(name, _YES_NO)
            yield Change(path, _show(name, one, words), _show(name, other, words),
                         Impact.NONE if name in _WITHOUT_EFFECT else impact, lines.get(name, 0))


def _devices(old: Domain, new: Domain) -> Iterator[Change]:
    before = {(d.KIND, d.key): d for d in old.devices}
    after = {(d.KIND, d.key): d for d in new.devices}
    for identity in sorted(before.keys() | after.keys()):
        one, other = before.get(identity), after.get(identity)
        if one is None:
            assert other is not None
            yield Change(other.path_in_domain, "none", _summary(other), _of_whole(other),
                         other.line, identity)
        elif other is None:
            yield Change(one.path_in_domain, _summary(one), "none", _of_whole(one, gone=True), 0,
                         identity)
        elif type(one) is not type(other):  # a disk on another bus
            assert isinstance(one, Disk)
            assert isinstance(other, Disk)
            yield Change(f"{one.path_in_domain}/target/@bus", one.BUS, other.BUS, Impact.RECREATE,
                         other.line, identity)
        elif one != other:
            yield from _fields(one, other)


def _of_whole(device: Device, *, gone: bool = False) -> Impact:
    """The impact of adding or removing a device; a root port may stay where the file has none."""
    if gone and isinstance(device, RootPort):
        return Impact.NONE
    return Impact.LIVE if device.HOTPLUG else Impact.RECREATE


def _fields(one: Device, other: Device) -> Iterator[Change]:
    for name in one.PATHS:
        was, is_ = getattr(one, name), getattr(other, name)
        if was == is_ or (name == "place" and is_ is None):
            continue  # without an address in the file, the device keeps the one that it has
        impact = Impact.NONE if name in _WITHOUT_EFFECT else (
            one.IMPACT.get(name, Impact.RECREATE))
        if impact is Impact.HOST and not is_:
            impact = Impact.RECREATE  # only a new start brings the host's default back
        words = one.WORDS.get(name, _YES_NO)
        yield Change(of_device(one, name), _show(name, was, words), _show(name, is_, words), impact,
                     other.line, (one.KIND, one.key))


def _summary(device: Device) -> str:
    for name in ("path", "tap", "index", "backend"):
        value = getattr(device, name, None)
        if value is not None:
            return str(value)
    return device.alias


def _show(name: str, value: object, words: tuple[str, str] = _YES_NO) -> str:
    if value is None:
        return "all" if name in _LIVE else "none" if words is _YES_NO else "default"
    if name in ("memory", "current_memory"):
        return show_bytes(int(str(value)))
    if isinstance(value, bool):
        return words[0] if value else words[1]
    if isinstance(value, float):
        return show_seconds(value)
    if isinstance(value, Dependency):
        return f"{value.domain}={value.condition}"
    if is_dataclass(value):
        return " ".join(f"{f.name.replace('_', '-')}={_show(f.name, getattr(value, f.name))}"
                        for f in fields(value))
    if isinstance(value, tuple):
        return " ".join(f"{v[0]}={v[1]}" if isinstance(v, tuple) else _show(name, v)
                        for v in value) or "none"
    return str(value)
