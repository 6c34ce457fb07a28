"""The paths that users see: in plans, in the status, in reports and in `ignore`.

A path is the XML's own, below <domain>: memory, os/kernel, disk[vda]/iotune/total_iops_sec,
reconcile/stop/@timeout. docs/decisions/0013-xml-paths.md has the grammar. Devices define their own
paths (Device.PATHS, beside the code that reads them), the policy in metadata.FIELDS; the rest is
here. A field without a path raises TypeError when this module is imported.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

from reconciler.domain import devices
from reconciler.domain.metadata import FIELDS
from reconciler.domain.model import Backing, Boot, Device, Domain
from reconciler.domain.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DOMAIN = {
    "name": "name", "uuid": "uuid", "machine": "os/type/@machine", "memory": "memory",
    "vcpus": "vcpu", "current_memory": "currentMemory", "current_vcpus": "vcpu/@current",
    "topology": "cpu/topology", "gic": "features/gic", "emulator": "emulator",
    "iothreads": "iothreads", "title": "title", "description": "description"}
BACKING = {
    "prealloc": "memoryBacking/allocation/@mode", "shared": "memoryBacking/access/@mode",
    "hugepages": "memoryBacking/hugepages"}
BOOT = {
    "kernel": "os/kernel", "initrd": "os/initrd", "cmdline": "os/cmdline", "loader": "os/loader",
    "loader_readonly": "os/loader/@readonly", "nvram": "os/nvram",
    "nvram_template": "os/nvram/@template"}
POLICY = {
    **{name: f"reconcile/{path}" for path, name, _ in FIELDS},
    "restart_on_poweroff": "on_poweroff", "restart_on_failure": "on_crash",
    "destroy_on_reboot": "on_reboot", "ignore": "reconcile/ignore", "labels": "reconcile/label",
    "depends_on": "reconcile/depends-on", "health": "reconcile/health"}
# The words of the XML for True and False, where these are not yes and no.
WORDS = {
    "prealloc": ("immediate", "ondemand"), "shared": ("shared", "private"),
    "rollback": ("last-good", "none"), "restart_on_poweroff": ("restart", "destroy"),
    "restart_on_failure": ("restart", "destroy"), "destroy_on_reboot": ("destroy", "restart")}
PARTS = ("backing", "boot", "policy", "devices")  # fields of Domain that consist of others
CURRENT_MEMORY, CURRENT_VCPUS = DOMAIN["current_memory"], DOMAIN["current_vcpus"]
STATE = POLICY["state"]
CLASSES: tuple[type[Device], ...] = tuple(
    kind for name in devices.__all__
    if isinstance(kind := getattr(devices, name), type) and issubclass(kind, Device))
_DEVICE = re.compile(r"([a-z-]+)\[([^\]]*)\](?:/(.+))?")


def _check(kind: type[Domain | Backing | Boot | Policy], paths: Mapping[str, str],
           without: Iterable[str] = ()) -> None:
    names = {field.name for field in fields(kind) if field.compare} - set(without)
    if names != paths.keys():
        message = f"{kind.__name__}: fields without path: {sorted(names ^ paths.keys())}"
        raise TypeError(message)


_check(Domain, DOMAIN, PARTS)
_check(Backing, BACKING)
_check(Boot, BOOT)
_check(Policy, POLICY)
_FIXED = {**DOMAIN, **BOOT, "backing": "memoryBacking",
          **{f"policy/{name}": path for name, path in POLICY.items()}}


def of_device(device: Device, field: str) -> str:
    """The path of a field of a device."""
    return f"{device.path_in_domain}/{device.PATHS[field]}"


def names_of(path: str, known: Iterable[Device]) -> Iterator[str]:
    """The path, and what else `ignore` may call it: a device goes by its key, alias or tap."""
    yield path
    for device in known:
        own = device.path_in_domain
        if path == own or path.startswith(f"{own}/"):
            rest = path.removeprefix(own)
            yield from (f"{device.element}[{label}]{rest}" for label in device.labels)


def current_path(path: str, known: Iterable[Device]) -> str | None:
    """The path that replaces one of the older form, made of field names; None if it is current.

    `known`: the devices of the domain, since older paths identified some of them differently.
    """
    found = _DEVICE.fullmatch(path)
    if found is not None:
        new = _of_older_device(found[1], found[2], found[3] or "", known)
    elif path == "policy":
        new = "reconcile"
    else:
        new = None if _is_current(path, (*_FIXED.values(), *BACKING.values())) else (
            _FIXED.get(path))
    return None if new == path else new


def _of_older_device(kind: str, label: str, rest: str, known: Iterable[Device]) -> str | None:
    classes = [cls for cls in CLASSES if kind == cls.KIND]
    if not classes:
        return None
    element = f"{classes[0].ELEMENT or kind}[{label}]"
    for device in known:
        if kind == device.KIND and (label == device.key or not device.label):
            element = device.path_in_domain
    if not rest:
        return element
    for cls in classes:
        if _is_current(rest, cls.PATHS.values()):
            return f"{element}/{rest}"
    return next((f"{element}/{cls.PATHS[rest]}" for cls in classes if rest in cls.PATHS), None)


def _is_current(path: str, paths: Iterable[str]) -> bool:
    """Whether it is one of the paths, or a parent of one."""
    return any(known == path or known.startswith(f"{path}/") for known in paths)
