"""From a Domain back to the text of a file: the reader's other direction.

For `import` and `explain --xml`.
Reading what is written here gives the same Domain again. All that the reader filled in is written
out (uuid, MACs, aliases), so that the file means the same wherever, and whenever, it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.devices import Balloon
from reconciler.domain.metadata import write_policy
from reconciler.domain.model import Backing, Boot, Domain, MachineType, Policy
from reconciler.domain.tags import Tag, if_any, tag
from reconciler.units import show_bytes

if TYPE_CHECKING:
    from reconciler.domain.model import Topology

_NO_BALLOON = tag("memballoon", model="none")  # where none is written, there is one
_DEFAULTS = Policy()
_ARCHITECTURES = {MachineType.Q35: "x86_64", MachineType.VIRT: "aarch64"}


def write(domain: Domain, defaults: Policy = _DEFAULTS) -> str:
    """The file of a domain; `defaults` are those that it will be read with."""
    return document(domain, defaults).render()


def document(domain: Domain, defaults: Policy = _DEFAULTS) -> Tag:
    """The file as a value."""
    on_elements, metadata = write_policy(domain.policy, defaults)
    now = domain.current_memory
    return tag(
        "domain", tag("name", text=domain.name), tag("uuid", text=domain.uuid),
        _text("title", domain.title), _text("description", domain.description), metadata,
        _size("memory", domain.memory), _size("currentMemory", now) if now is not None else None,
        _backing(domain.backing), tag("vcpu", text=domain.vcpus, current=domain.current_vcpus),
        *_iothreads(domain.iothreads), _os(domain), _features(domain), _cpu(domain.topology),
        *on_elements, _devices(domain), type="kvm")


def _text(name: str, value: str | None) -> Tag | None:
    return None if value is None else tag(name, text=value)


def _size(name: str, count: int) -> Tag:
    amount, unit = show_bytes(count).split()
    return tag(name, text=amount, unit=unit)


def _backing(backing: Backing) -> Tag | None:
    pages = None
    if backing.hugepages is not None:
        amount, unit = show_bytes(backing.hugepages).split()
        page = tag("page", size=amount, unit=unit) if backing.hugepages else None
        pages = tag("hugepages", page)
    return if_any(tag(
        "memoryBacking", pages, tag("access", mode="shared") if backing.shared else None,
        tag("allocation", mode="immediate") if backing.prealloc else None))


def _iothreads(numbers: tuple[int, ...]) -> tuple[Tag, ...]:
    if not numbers:
        return ()
    count = tag("iothreads", text=len(numbers))
    if numbers == tuple(range(1, len(numbers) + 1)):
        return (count,)
    return (count, tag("iothreadids", *(tag("iothread", id=number) for number in numbers)))


def _os(domain: Domain) -> Tag:
    boot = domain.boot
    kind = tag("type", text="hvm", arch=_ARCHITECTURES.get(domain.machine), machine=domain.machine)
    return tag("os", kind, _text("kernel", boot.kernel), _text("initrd", boot.initrd),
               _text("cmdline", boot.cmdline), *_firmware(boot))


def _firmware(boot: Boot) -> tuple[Tag | None, ...]:
    loader = nvram = None
    if boot.loader is not None:
        loader = tag("loader", text=boot.loader, readonly=boot.loader_readonly, type="pflash")
    if boot.nvram is not None:
        nvram = tag("nvram", text=boot.nvram, template=boot.nvram_template)
    return (loader, nvram)


def _features(domain: Domain) -> Tag | None:
    """Say acpi, which libvirt wants of standard machines."""
    standard = domain.machine is not MachineType.MICROVM
    return if_any(tag("features", tag("acpi") if standard else None,
                      tag("gic", version=3) if domain.gic else None))


def _cpu(shape: Topology | None) -> Tag | None:
    if shape is None:
        return None
    return tag("cpu", tag("topology", sockets=shape.sockets, dies=shape.dies,
                          clusters=shape.clusters, cores=shape.cores, threads=shape.threads),
               mode="host-passthrough")


def _devices(domain: Domain) -> Tag:
    none = None if any(isinstance(d, Balloon) for d in domain.devices) else _NO_BALLOON
    return tag("devices", _text("emulator", domain.emulator),
               *(device.tag(device.place) for device in domain.devices), none)
