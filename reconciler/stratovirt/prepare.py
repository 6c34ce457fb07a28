"""Host resources of a VM: checked and created before its start, released after its end."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.devices import Hostdev, Interface
from reconciler.errors import HostError, HypervisorError
from reconciler.host import files, hugepages, taps, vfio
from reconciler.stratovirt import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.stratovirt.addresses import Layout


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What to start, and how. `text`: the domain file as it was read, which is stored.

    `simulated`: StratoVirt is the simulator, which uses no devices, taps or huge pages of the host.
    """

    domain: Domain
    text: bytes
    layout: Layout
    program: Sequence[str]
    paused: bool
    generation: int
    read_with: dict[str, str]
    manage_taps: bool = True
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class HostResources:
    """Resources created for one start (released after the VM ended), and the hugetlbfs mount."""

    taps: tuple[str, ...] = ()
    host_devices: tuple[str, ...] = ()
    hugepages: str = "/dev/hugepages"


def check(domain: Domain, *, simulated: bool) -> None:
    """Raise HostError unless the host has everything that a start needs (blocking)."""
    needs = [n for n in domain.required_files() if not simulated or n.kind != "character"]
    files.check(needs)
    if simulated:
        return
    pages = domain.backing.hugepages
    if pages is not None:
        hugepages.mount_of(pages)
        hugepages.check_room(pages, domain.memory, free=False)
    passed = [device for device in domain.devices if isinstance(device, Hostdev)]
    if passed:
        vfio.check(passed)


def prepare(request: StartRequest, owner: str) -> HostResources:
    """Create the resources (blocking); after a HostError, none are left. `owner` marks the taps."""
    domain = request.domain
    files.make_variables(domain.required_files())
    if request.simulated:
        return HostResources()
    pages = domain.backing.hugepages
    mount = hugepages.mount_of(pages) if pages is not None else ""
    if pages is not None:
        hugepages.check_room(pages, domain.memory, free=True)
    passed = [device for device in domain.devices if isinstance(device, Hostdev)]
    bound = vfio.bind(passed) if passed else ()
    made: list[str] = []
    try:
        if request.manage_taps:
            for card in domain.devices:
                if isinstance(card, Interface) and make_tap(card, owner):
                    made.append(card.tap)  # noqa: PERF401  # released if the next one fails
    except HostError:
        release(made, bound)
        raise
    return HostResources(tuple(made), bound, mount)


@contextmanager
def released_on_failure(made: HostResources) -> Iterator[None]:
    """Release the resources if the launch in this block fails."""
    try:
        yield
    except (HypervisorError, HostError, OSError):
        release(made.taps, made.host_devices)
        raise


def make_tap(card: Interface, owner: str) -> bool:
    """Create or configure the tap of a network card; whether it was created."""
    return taps.make(card.tap, card.bridge, queues=card.queues or 1, mtu=card.mtu,
                     vlans=card.vlans, owner=owner)


def remove_stale_taps(vms: Path) -> list[str]:
    """Remove our taps whose VM is not running, even without its record; returns their names."""
    found = [tap for tap, name in taps.owned_by(f"{vms}/").items()
             if not process.locked(vms / name)]
    release(found, ())
    return found


def release(created: Iterable[str], bound: Iterable[str]) -> None:
    """Remove taps, and rebind host devices to their own drivers."""
    for tap in created:
        with suppress(OSError):
            taps.remove(tap)
    for address in bound:
        vfio.unbind(address)
