"""What a file left to us, what it got, and why: for `explain`. Pure.

The reader fills in every default; this compares the file with what became of it. Nothing here
decides anything: a rule that changes in the reader changes its sentence here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.domain.devices import Graphics, Interface, RootPort, Vsock
from reconciler.domain.metadata import URN
from reconciler.domain.xml import line_of, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.model import Device, Domain
    from reconciler.domain.place import Place

_CONTROLLERS = ("root-port", "virtio-serial", "scsi")
_ADDED = {"memballoon": "libvirt adds a balloon where none is written",
          "virtio-serial": "consoles and channels plug into it",
          "scsi": "disks name it as their bus"}
_KEPT = "the lowest free one, chosen once and kept"
_DERIVED = "derived from the uuid and the card's own words, so that it never changes"


@dataclass(frozen=True, slots=True)
class DefaultedValue:
    """One value that the file does not give."""

    what: str
    value: str
    why: str


def defaulted_values(data: bytes, domain: Domain, places: Mapping[str, Place]) -> tuple[DefaultedValue, ...]:
    """Everything, in the order of the file; `places` by device identity."""
    root = parse(data, domain.file)
    return (*_head(root, domain), *_policy(root, domain), *_devices(root, domain, places))


def _head(root: Any, domain: Domain) -> Iterator[DefaultedValue]:
    boot = domain.boot
    kind, nvram = root.find("os/type"), root.find("os/nvram")
    for there, what, value, why in (
            (root.find("uuid"), "uuid", domain.uuid,
             "version 5 of the name, so that it never changes"),
            (root.find("vcpu"), "vcpu", domain.vcpus, "libvirt's default"),
            (kind is not None and kind.get("machine"), "os/type/@machine", domain.machine,
             "the first machine of this architecture"),
            (root.find("devices/emulator"), "emulator", domain.emulator or "StratoVirt",
             "the configuration's hypervisor.path")):
        if there is None or there is False:
            yield DefaultedValue(what, str(value), why)
    if boot.nvram and nvram is not None and not (nvram.text or "").strip() and (
            nvram.find("source") is None):
        yield DefaultedValue("os/nvram", boot.nvram, "in the state directory; copied from its template "
                                             "once, and kept")


def _policy(root: Any, domain: Domain) -> Iterator[DefaultedValue]:
    policy = domain.policy
    ours = root.find(f"metadata/{{{URN}}}reconcile")
    for path, value in (("@state", policy.state), ("update/@policy", policy.update),
                        ("prune/@policy", policy.prune), ("stop/@mode", policy.stop),
                        ("stop/@timeout", f"{policy.stop_timeout:g}s"),
                        ("restart/@limit", policy.restart_limit),
                        ("restart/@window", f"{policy.restart_window:g}s")):
        element, _, attribute = path.rpartition("@")
        node = ours if ours is None or not element else ours.find(f"{{{URN}}}{element[:-1]}")
        if node is None or node.get(attribute) is None:
            ours_alone = path in ("@state", "prune/@policy")
            yield DefaultedValue(f"reconcile/{path}", str(value),
                         "the default" if ours_alone else "the configuration's default")


def _devices(root: Any, domain: Domain, places: Mapping[str, Place]) -> Iterator[DefaultedValue]:
    for device in domain.devices:
        name = f"{device.KIND}[{device.key}]"
        raw = _element(root, device)
        if not device.line:
            yield DefaultedValue(name, device.alias, _ADDED.get(device.KIND, "something needs it"))
        elif raw is not None:
            yield from _of_device(name, raw, device)
        place = places.get(f"{device.KIND}:{device.key}")
        if device.PLUGGED and device.place is None and place is not None:
            yield DefaultedValue(f"{name}/address", str(place),
                         "the lowest free root port, remembered for as long as it is in the file")


def _of_device(name: str, raw: Any, device: Device) -> Iterator[DefaultedValue]:
    if raw.find("alias") is None and not isinstance(device, RootPort | Graphics):
        yield DefaultedValue(f"{name}/alias", device.alias, "as libvirt names it")
    if isinstance(device, Interface):
        if raw.find("mac") is None:
            yield DefaultedValue(f"{name}/mac", device.mac, _DERIVED)
        target = raw.find("target")
        if target is None or target.get("dev") != device.tap:
            yield DefaultedValue(f"{name}/target", device.tap, _DERIVED)
    if isinstance(device, Vsock) and raw.find(f"cid[@address='{device.cid}']") is None:
        yield DefaultedValue(f"{name}/cid", str(device.cid), _KEPT)
    if isinstance(device, Graphics) and raw.get("port") != str(device.port):
        yield DefaultedValue(f"{name}/port", str(device.port), _KEPT)


def _element(root: Any, device: Device) -> Any:
    """The element of a device; None where several stand on one line, and nobody can tell."""
    tag = "controller" if device.KIND in _CONTROLLERS else device.KIND
    found = [raw for raw in root.findall(f"devices/{tag}") if line_of(raw) == device.line]
    return found[0] if len(found) == 1 else None
