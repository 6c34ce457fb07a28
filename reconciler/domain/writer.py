"""From a Domain to a file that means the same: the reader's other direction.

Everything is written, also what are defaults today, so that the file means the same tomorrow; but
of the policy a file for people says only what differs from the defaults that they have. A Domain
with places (domain/hot_change.py, `placed`) becomes a file with every root port and address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.devices import Balloon
from reconciler.domain.metadata import URN, nested, written
from reconciler.domain.xml_builder import Tag, having, maybe, tag, yes
from reconciler.units import write_seconds

if TYPE_CHECKING:
    from reconciler.domain.model import Backing, Boot, Domain, Policy

_MIB = 1 << 20


def write(domain: Domain, defaults: Policy | None = None) -> str:
    """The whole file, a line an element; of the policy all, or what differs from `defaults`."""
    return "\n".join(_domain(domain, defaults).lines()) + "\n"


def _domain(domain: Domain, defaults: Policy | None) -> Tag:
    policy = domain.policy
    metadata, on_elements = _whole(policy) if defaults is None else _differing(policy, defaults)
    return tag(
        "domain", tag("name", text=domain.name), tag("uuid", text=domain.uuid),
        maybe("title", domain.title), maybe("description", domain.description),
        metadata,
        tag("memory", unit="MiB", text=domain.memory // _MIB), _current(domain),
        _backing(domain.backing),
        tag("vcpu", current=domain.current_vcpus, text=domain.vcpus), _topology(domain),
        _iothreads(domain), _os(domain.machine, domain.boot),
        tag("features", tag("gic", version=3)) if domain.gic else None,
        *on_elements, _devices(domain), type="kvm")


def _current(domain: Domain) -> Tag | None:
    if domain.current_memory is None:
        return None
    return tag("currentMemory", unit="MiB", text=domain.current_memory // _MIB)


def _backing(backing: Backing) -> Tag | None:
    pages = backing.hugepages
    page = tag("page", size=pages >> 10, unit="KiB") if pages else None
    found = (tag("hugepages", page) if pages is not None else None,
             tag("access", mode="shared") if backing.shared else None,
             tag("allocation", mode="immediate") if backing.prealloc else None)
    return tag("memoryBacking", *found) if any(found) else None


def _topology(domain: Domain) -> Tag | None:
    shape = domain.topology
    if shape is None:
        return None
    return tag("cpu", tag("topology", sockets=shape.sockets, dies=shape.dies,
                          clusters=shape.clusters, cores=shape.cores, threads=shape.threads))


def _iothreads(domain: Domain) -> Tag | None:
    if not domain.iothreads:
        return None
    return tag("iothreadids", *(tag("iothread", id=number) for number in domain.iothreads))


def _os(machine: str, boot: Boot) -> Tag:
    loader = None if boot.loader is None else tag(
        "loader", readonly=yes(value=boot.loader_readonly), type="pflash", text=boot.loader)
    nvram = None if boot.nvram is None else tag("nvram", template=boot.nvram_template,
                                                text=boot.nvram)
    return tag("os", tag("type", machine=machine, text="hvm"), loader, nvram,
               maybe("kernel", boot.kernel), maybe("initrd", boot.initrd),
               maybe("cmdline", boot.cmdline))


def _devices(domain: Domain) -> Tag:
    none = None if any(isinstance(d, Balloon) for d in domain.devices) else tag(
        "memballoon", model="none")
    return tag("devices", maybe("emulator", domain.emulator),
               *(device.tag() for device in domain.devices), none)


# The policy: its <metadata>, and its on_ elements


_ON = ("restart", "destroy")


def _whole(policy: Policy) -> tuple[Tag, tuple[Tag, ...]]:
    return tag("metadata", _policy(policy)), (
        tag("on_poweroff", text=yes(value=policy.restart_on_poweroff, words=_ON)),
        tag("on_reboot", text=yes(value=not policy.destroy_on_reboot, words=_ON)),
        tag("on_crash", text=yes(value=policy.restart_on_failure, words=_ON)))


def _differing(policy: Policy, defaults: Policy) -> tuple[Tag | None, tuple[Tag, ...]]:
    parts, on_exits = written(policy, defaults)
    reboot = (tag("on_reboot", text="destroy"),) if policy.destroy_on_reboot else ()
    exits = _whole(policy)[1][::2] if on_exits else ()
    own = parts.pop("", {})
    inner = (*(tag(f"r:{name}", **values) for name, values in parts.items()),
             *_parts(policy))
    if not own and not inner:
        return None, (*exits, *reboot)
    return tag("metadata", Tag("r:reconcile", {"xmlns:r": URN, **own}, inner)), (*exits, *reboot)


def _policy(policy: Policy) -> Tag:
    """Every part; what `restart/@policy` can say, and more, stands in the on_ elements."""
    parts = (
        having("r:hold", reason=policy.hold_reason, until=policy.hold_until),
        tag("r:update", policy=policy.update, window=policy.window,
            rollback="last-good" if policy.rollback else "none"),
        tag("r:prune", policy=policy.prune, after=write_seconds(policy.prune_after)),
        tag("r:stop", mode=policy.stop, timeout=write_seconds(policy.stop_timeout)),
        Tag("r:restart", {"limit": policy.restart_limit,
                          "window": write_seconds(policy.restart_window),
                          "delay": write_seconds(policy.restart_delay),
                          "max-delay": write_seconds(policy.restart_max_delay)}),
        tag("r:start", wave=policy.start_wave, delay=write_seconds(policy.start_delay)),
        *_parts(policy), having("r:placement", host=policy.host))
    return Tag("r:reconcile", {"xmlns:r": URN, "state": policy.state,
                               "hold": yes(value=policy.hold)}, parts)


def _parts(policy: Policy) -> tuple[Tag, ...]:
    return tuple(Tag(f"r:{name}", dict(attributes), (
        Tag(f"r:{inner[0]}", dict(inner[1])),) if inner else ())
        for name, attributes, inner in nested(policy))
