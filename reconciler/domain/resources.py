"""Memory, processors and I/O threads of a <domain>: read for reader.py, each with its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.model import Backing, Topology
from reconciler.units import MIB, show_bytes, unit_bytes

if TYPE_CHECKING:
    from reconciler.domain.xml import Node

LEAST, MOST = 128 * MIB, 512 << 30  # bytes; StratoVirt's own range
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
    current = node.child("currentMemory")
    now = _bytes(current) if current is not None else None
    if current is not None and now is not None and -(-now // MIB) * MIB < size:
        current.error("less than <memory> is not built yet (it needs the balloon)", "Unsupported")
    return size


def backing(node: Node) -> Backing:
    """Locked and immediate take all memory at the start; memfd and shared share it."""
    shared = node.text("memoryBacking/access/@mode") == "shared" or (
        node.text("memoryBacking/source/@type") == "memfd")
    prealloc = node.child("memoryBacking/locked") is not None or (
        node.text("memoryBacking/allocation/@mode") == "immediate")
    if node.text("memoryBacking/source/@type") == "file":
        node.at("memoryBacking/source").error("type='file'; accepted: memfd, anonymous")
    return Backing(prealloc, shared)


def vcpus(node: Node) -> int:
    """How many."""
    child = node.child("vcpu")
    if child is None:
        return 1
    count = child.number("") or 1
    if child.text("@placement") == "auto":
        child.error("placement='auto'; accepted: static")
    current = child.number("@current")
    if current is not None and current != count:
        child.error(f"current='{current}' of {count} is not built yet", "Unsupported")
    return count


def topology(node: Node, count: int) -> Topology | None:
    """How `count` processors are arranged; StratoVirt's own way where nothing is written."""
    cpu = node.child("cpu")
    if cpu is None:
        return None
    if cpu.text("@mode") == "custom" or any(cpu.child(name) for name in ("model", "feature")):
        cpu.warn("model and features are ignored: StratoVirt gives the guest the host's processor")
    child = cpu.child("topology")
    if child is None:
        return None
    levels = [child.number(f"@{name}") or 1 for name in _LEVELS]
    product = 1
    for level in levels:
        product *= level
    if product != count:
        child.error(f"{product} processors in all; accepted: as many as <vcpu>, {count}")
    return Topology(*levels)


def iothreads(node: Node) -> tuple[int, ...]:
    """Their numbers: those that are given, and the lowest free ones up to the count."""
    ids = {found for ids in node.children("iothreadids") for child in ids.children("iothread")
           if (found := child.number("@id")) is not None}
    count = max(node.number("iothreads") or 0, len(ids))
    free = (number for number in range(1, 256) if number not in ids)
    while len(ids) < count:
        ids.add(next(free))
    if len(ids) > 8:
        node.at("iothreadids").error(f"{len(ids)} I/O threads; accepted: up to 8")
    return tuple(sorted(ids))
