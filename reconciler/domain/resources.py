"""Readers of memory, processors and I/O threads of a <domain>, with their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.model import Backing, Topology
from reconciler.units import MIB, show_bytes, unit_bytes

if TYPE_CHECKING:
    from reconciler.domain.xml import Node

LEAST, MOST = 128 * MIB, 512 << 30  # bytes; the range that StratoVirt accepts
_LEVELS = ("sockets", "dies", "clusters", "cores", "threads")


def _bytes(node: Node) -> int | None:
    """A size as libvirt reads it: KiB without a unit."""
    size = node.number("")
    unit = node.raw.get("unit")
    try:
        return None if size is None else size * unit_bytes(str(unit or "KiB").strip())
    except ValueError:
        return None  # the walk has reported the unit


def memory(node: Node) -> int:
    """Bytes, rounded up to whole MiB."""
    child = node.child("memory")
    if child is None:
        node.error("no <memory>; accepted: 128 MiB to 512 GiB: <memory unit='GiB'>2</memory>")
        return LEAST
    size = _bytes(child)
    if size is None:
        return LEAST
    size = -(-size // MIB) * MIB
    if not LEAST <= size <= MOST:
        child.error(f"found {show_bytes(size)}; accepted: 128 MiB to 512 GiB")
    most = node.child("maxMemory")
    if most is not None and (_bytes(most) or 0) > size:
        most.warn("is ignored: StratoVirt has no memory hotplug; <memory> is the maximum")
    return size


def current_memory(node: Node, size: int) -> int | None:
    """Bytes that the balloon leaves to the guest, in whole MiB; None: all of <memory>."""
    child = node.child("currentMemory")
    now = _bytes(child) if child is not None else None
    if child is None or now is None:
        return None
    now = -(-now // MIB) * MIB
    if now >= size:
        return None
    if not now:
        child.error("found 0; accepted: 1 MiB up to <memory>")
    if node.child("memoryBacking/hugepages") is not None:
        child.error("less than <memory>, but the balloon cannot free huge pages; accepted: the "
                    "value of <memory>")
    return now


def backing(node: Node, size: int) -> Backing:
    """<locked> and immediate mean prealloc; memfd and shared mean shared."""
    shared = node.text("memoryBacking/access/@mode") == "shared" or (
        node.text("memoryBacking/source/@type") == "memfd")
    prealloc = node.child("memoryBacking/locked") is not None or (
        node.text("memoryBacking/allocation/@mode") == "immediate")
    if node.text("memoryBacking/source/@type") == "file":
        node.at("memoryBacking/source").error("type='file'; accepted: memfd, anonymous")
    return Backing(prealloc, shared, _hugepages(node, size))


def _hugepages(node: Node, size: int) -> int | None:
    """The size of a page in bytes; 0 for the host's default."""
    child = node.child("memoryBacking/hugepages")
    if child is None:
        return None
    pages = list(child.children("page"))
    if not pages:
        return 0
    for more in pages[1:]:
        more.error("a second <page>; accepted: one (StratoVirt uses one page size per VM)")
    amount, unit = pages[0].number("@size"), pages[0].value("@unit")
    if amount is None:
        if pages[0].raw.get("size") is None:
            pages[0].error("no size; accepted: <page size='2' unit='MiB'/>")
        return 0
    page = amount * (unit if isinstance(unit, int) else 1024)
    if page < 64 * 1024 or page & (page - 1):
        pages[0].error(f"found {show_bytes(page)}; accepted: a huge page size such as 2 MiB or "
                       "1 GiB")
    elif size % page:
        pages[0].error(f"<memory> is not a multiple of {show_bytes(page)}; accepted: whole pages")
    return page


def vcpus(node: Node) -> int:
    """The maximum number of processors."""
    child = node.child("vcpu")
    if child is None:
        return 1
    count = child.number("") or 1
    if child.text("@placement") == "auto":
        child.error("placement='auto'; accepted: static")
    return count


def current_vcpus(node: Node, count: int) -> int | None:
    """The number of processors at the start; None: all."""
    child = node.child("vcpu")
    current = child.number("@current") if child is not None else None
    if child is None or current is None or current == count:
        return None
    if current > count:
        child.error(f"current='{current}'; accepted: 1 to {count}")
        return None
    return current


def topology(node: Node, count: int) -> Topology | None:
    """How `count` processors are arranged; None for StratoVirt's default."""
    cpu = node.child("cpu")
    if cpu is None:
        return None
    if cpu.text("@mode") == "custom" or any(cpu.child(name) for name in ("model", "feature")):
        cpu.warn("model and features are ignored: StratoVirt passes the host's processor through")
    child = cpu.child("topology")
    if child is None:
        return None
    levels = [child.number(f"@{name}") or 1 for name in _LEVELS]
    product = 1
    for level in levels:
        product *= level
    if product != count:
        child.error(f"found {product} processors in total; accepted: {count}, as in <vcpu>")
    return Topology(*levels)


def iothreads(node: Node) -> tuple[int, ...]:
    """The ids: those in the file, and the lowest free ones up to the count."""
    ids = {found for ids in node.children("iothreadids") for child in ids.children("iothread")
           if (found := child.number("@id")) is not None}
    count = max(node.number("iothreads") or 0, len(ids))
    free = (number for number in range(1, 256) if number not in ids)
    while len(ids) < count:
        ids.add(next(free))
    if len(ids) > 8:
        node.at("iothreadids").error(f"found {len(ids)} I/O threads; accepted: up to 8")
    return tuple(sorted(ids))
