"""From a Domain to a file that means the same: the inverse of the reader.

Defaults are written out, so that the file keeps its meaning when they change; of the policy, files
for users contain only what differs from the configured defaults. From a Domain with PCI addresses
(domain/hot_change.py, `placed`) the file has every root port and address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.devices import Balloon
from reconciler.domain.metadata import URN, nested, written
from reconciler.domain.xml_builder import XmlElement, build, build_if_set, build_text, yes_no
from reconciler.units import write_seconds

if TYPE_CHECKING:
    from reconciler.domain.model import Backing, Boot, Domain
    from reconciler.domain.policy import Policy

_MIB = 1 << 20


def write(domain: Domain, defaults: Policy | None = None) -> str:
    """The file; of the policy everything, or only what differs from `defaults`."""
    return "\n".join(_domain(domain, defaults).lines()) + "\n"


def _domain(domain: Domain, defaults: Policy | None) -> XmlElement:
    policy = domain.policy
    metadata, on_elements = _whole(policy) if defaults is None else _differing(policy, defaults)
    return build(
        "domain", build("name", text=domain.name), build("uuid", text=domain.uuid),
        build_text("title", domain.title), build_text("description", domain.description),
        metadata,
        build("memory", unit="MiB", text=domain.memory // _MIB), _current(domain),
        _backing(domain.backing),
        build("vcpu", current=domain.current_vcpus, text=domain.vcpus), _topology(domain),
        _iothreads(domain), _os(domain.machine, domain.boot),
        build("features", build("gic", version=3)) if domain.gic else None,
        *on_elements, _devices(domain), type="kvm")


def _current(domain: Domain) -> XmlElement | None:
    if domain.current_memory is None:
        return None
    return build("currentMemory", unit="MiB", text=domain.current_memory // _MIB)


def _backing(backing: Backing) -> XmlElement | None:
    pages = backing.hugepages
    page = build("page", size=pages >> 10, unit="KiB") if pages else None
    found = (build("hugepages", page) if pages is not None else None,
             build("access", mode="shared") if backing.shared else None,
             build("allocation", mode="immediate") if backing.prealloc else None)
    return build("memoryBacking", *found) if any(found) else None


def _topology(domain: Domain) -> XmlElement | None:
    shape = domain.topology
    if shape is None:
        return None
    return build("cpu", build("topology", sockets=shape.sockets, dies=shape.dies,
                              clusters=shape.clusters, cores=shape.cores, threads=shape.threads))


def _iothreads(domain: Domain) -> XmlElement | None:
    if not domain.iothreads:
        return None
    return build("iothreadids", *(build("iothread", id=number) for number in domain.iothreads))


def _os(machine: str, boot: Boot) -> XmlElement:
    loader = None if boot.loader is None else build(
        "loader", readonly=yes_no(value=boot.loader_readonly), type="pflash", text=boot.loader)
    nvram = None if boot.nvram is None else build("nvram", template=boot.nvram_template,
                                                  text=boot.nvram)
    return build("os", build("type", machine=machine, text="hvm"), loader, nvram,
                 build_text("kernel", boot.kernel), build_text("initrd", boot.initrd),
                 build_text("cmdline", boot.cmdline))


def _devices(domain: Domain) -> XmlElement:
    none = None if any(isinstance(d, Balloon) for d in domain.devices) else build(
        "memballoon", model="none")
    return build("devices", build_text("emulator", domain.emulator),
                 *(device.to_xml() for device in domain.devices), none)


# The policy: <metadata> and the on_ elements


_ON = ("restart", "destroy")


def _whole(policy: Policy) -> tuple[XmlElement, tuple[XmlElement, ...]]:
    return build("metadata", _policy(policy)), (
        build("on_poweroff", text=yes_no(value=policy.restart_on_poweroff, words=_ON)),
        build("on_reboot", text=yes_no(value=not policy.destroy_on_reboot, words=_ON)),
        build("on_crash", text=yes_no(value=policy.restart_on_failure, words=_ON)))


def _differing(policy: Policy,
               defaults: Policy) -> tuple[XmlElement | None, tuple[XmlElement, ...]]:
    parts, on_exits = written(policy, defaults)
    reboot = (build("on_reboot", text="destroy"),) if policy.destroy_on_reboot else ()
    exits = _whole(policy)[1][::2] if on_exits else ()
    own = parts.pop("", {})
    inner = (*(build(f"r:{name}", **values) for name, values in parts.items()),
             *_parts(policy))
    if not own and not inner:
        return None, (*exits, *reboot)
    ours = XmlElement("r:reconcile", {"xmlns:r": URN, **own}, inner)
    return build("metadata", ours), (*exits, *reboot)


def _policy(policy: Policy) -> XmlElement:
    """All of it, but `restart/@policy`: the on_ elements express more."""
    parts = (
        build_if_set("r:hold", reason=policy.hold_reason, until=policy.hold_until),
        build("r:update", policy=policy.update, window=policy.window,
              rollback="last-good" if policy.rollback else "none"),
        build("r:prune", policy=policy.prune, after=write_seconds(policy.prune_after)),
        build("r:stop", mode=policy.stop, timeout=write_seconds(policy.stop_timeout)),
        XmlElement("r:restart", {"limit": policy.restart_limit,
                                 "window": write_seconds(policy.restart_window),
                                 "delay": write_seconds(policy.restart_delay),
                                 "max-delay": write_seconds(policy.restart_max_delay)}),
        build("r:start", wave=policy.start_wave, delay=write_seconds(policy.start_delay)),
        *_parts(policy), build_if_set("r:placement", host=policy.host))
    return XmlElement("r:reconcile", {"xmlns:r": URN, "state": policy.state,
                                      "hold": yes_no(value=policy.hold)}, parts)


def _parts(policy: Policy) -> tuple[XmlElement, ...]:
    return tuple(XmlElement(f"r:{name}", dict(attributes), (
        XmlElement(f"r:{inner[0]}", dict(inner[1])),) if inner else ())
        for name, attributes, inner in nested(policy))
