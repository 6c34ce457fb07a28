"""The values that a file does not give, those that it got, and why: for `explain`. Pure.

The reader fills in every default; this module compares the file with the result. It decides
nothing: a changed rule of the reader needs a changed sentence here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.domain.devices import Graphics, Interface, RootPort, Vsock
from reconciler.domain.metadata import URN
from reconciler.domain.model import Origin
from reconciler.domain.xml import line_of, parse
from reconciler.domain.xml_paths import BOOT, DOMAIN, of_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.model import Device, Domain
    from reconciler.domain.place import Place

_ADDED = {"memballoon": "added where the file has none, as libvirt does",
          "virtio-serial": "needed by consoles and channels",
          "scsi": "needed by the disks on its bus"}
_KEPT = "the lowest free one, chosen once and kept"
_UUID = {Origin.NAME: "derived from the name (version 5), so that it never changes",
         Origin.MACHINE: "derived from the name and the id of this host, once, and kept",
         Origin.REPOSITORY: "derived from the name and the id of the repository (source.identity), "
                            "once, and kept",
         Origin.KEPT: "chosen when the domain was first defined, and kept"}
_CARD = {Origin.NAME: "derived from the uuid and the interface's own values, once, and kept",
         Origin.MACHINE: "derived from the uuid, the id of this host and the interface's own "
                         "values, once, and kept",
         Origin.REPOSITORY: "derived from the uuid, the id of the repository (source.identity) and "
                            "the interface's own values, once, and kept",
         Origin.KEPT: "chosen when the interface was first defined, and kept"}


@dataclass(frozen=True, slots=True)
class DefaultedValue:
    """One value that the file does not give. `what`: its path (domain/xml_paths.py)."""

    what: str
    value: str
    why: str


def defaulted_values(data: bytes, domain: Domain,
                     places: Mapping[str, Place]) -> tuple[DefaultedValue, ...]:
    """All of them, in the order of the file; `places` by device identity."""
    root = parse(data, domain.file)
    return (*_head(root, domain), *_policy(root, domain), *_devices(root, domain, places))


def _head(root: Any, domain: Domain) -> Iterator[DefaultedValue]:
    boot = domain.boot
    kind, nvram = root.find("os/type"), root.find("os/nvram")
    for given, what, value, why in (
            (root.find("uuid"), DOMAIN["uuid"], domain.uuid,
             _UUID[dict(domain.origins).get("uuid", Origin.NAME)]),
            (root.find("vcpu"), DOMAIN["vcpus"], domain.vcpus, "libvirt's default"),
            (kind is not None and kind.get("machine"), DOMAIN["machine"], domain.machine,
             "the default of this architecture"),
            (root.find("devices/emulator"), DOMAIN["emulator"], domain.emulator or "StratoVirt",
             "the configuration's hypervisor.path")):
        if given is None or given is False:
            yield DefaultedValue(what, str(value), why)
    if boot.nvram and nvram is not None and not (nvram.text or "").strip() and (
            nvram.find("source") is None):
        yield DefaultedValue(BOOT["nvram"], boot.nvram,
                             "in the state directory; copied once from the template, and kept")


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
        raw = _element(root, device)
        if not device.line:
            yield DefaultedValue(device.path_in_domain, device.alias,
                                 _ADDED.get(device.KIND, "needed by another device"))
        elif raw is not None:
            yield from _of_device(raw, device)
        place = places.get(f"{device.KIND}:{device.key}")
        if device.PLUGGED and device.place is None and place is not None:
            yield DefaultedValue(of_device(device, "place"), str(place),
                                 "the lowest free root port, kept as long as the device exists")


def _of_device(raw: Any, device: Device) -> Iterator[DefaultedValue]:
    if raw.find("alias") is None and not isinstance(device, RootPort | Graphics):
        yield DefaultedValue(of_device(device, "alias"), device.alias, "libvirt's default")
    if isinstance(device, Interface):
        for name, origin in device.origins:
            if name in ("mac", "tap"):
                yield DefaultedValue(of_device(device, name), str(getattr(device, name)),
                                     _CARD[origin])
    if isinstance(device, Vsock) and raw.find(f"cid[@address='{device.cid}']") is None:
        yield DefaultedValue(of_device(device, "cid"), str(device.cid), _KEPT)
    if isinstance(device, Graphics) and raw.get("port") != str(device.port):
        yield DefaultedValue(of_device(device, "port"), str(device.port), _KEPT)


def _element(root: Any, device: Device) -> Any:
    """The element of a device; None where several are on one line and cannot be told apart."""
    found = [raw for raw in root.findall(f"devices/{device.element}")
             if line_of(raw) == device.line]
    return found[0] if len(found) == 1 else None
