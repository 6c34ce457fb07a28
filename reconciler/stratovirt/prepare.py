"""Host resources of a VM: checked and created before its start, released after its end."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import Hostdev, Interface
from reconciler.errors import HostError, HypervisorError
from reconciler.failpoints import Point, nothing
from reconciler.host import hugepages, taps, vfio
from reconciler.host.taps import Taken, Tap
from reconciler.stratovirt import process

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from reconciler.domain.model import Domain, RequiredFile
    from reconciler.failpoints import Reached
    from reconciler.stratovirt.addresses import Layout


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What to start, and how. `text`: the domain file as it was read, which is stored.

    `simulated`: StratoVirt is the simulator, which uses no devices, taps or huge pages of the host.
    `bridges`: those that the configuration allows; empty: all.
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
    bridges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostResources:
    """What was changed on the host for one start (undone after the end), and the hugetlbfs mount.

    `taps` were created, `attached` are taps of another program that became ports of a bridge.
    """

    taps: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    host_devices: tuple[str, ...] = ()
    hugepages: str = "/dev/hugepages"


def needed_files(domain: Domain, *, simulated: bool) -> list[RequiredFile]:
    """The files that a start needs."""
    return [n for n in domain.required_files() if not simulated or n.kind != "character"]


def check(domain: Domain, *, simulated: bool, bridges: Sequence[str] = ()) -> None:
    """Raise HostError unless the host has everything that a start needs besides files (blocking).

    `bridges`: those that the configuration allows; empty: all.
    """
    if simulated:
        return
    pages = domain.backing.hugepages
    if pages is not None:
        hugepages.mount_of(pages)
        hugepages.check_room(pages, domain.memory, free=False)
    passed = [device for device in domain.devices if isinstance(device, Hostdev)]
    if passed:
        vfio.check(passed)
    for card in domain.devices:
        if isinstance(card, Interface):
            taps.check(tap_of(card, "", bridges))


def prepare(request: StartRequest, owner: str, reached: Reached = nothing) -> HostResources:
    """Create the resources (blocking); after a HostError, none are left. `owner` marks the taps."""
    domain = request.domain
    if request.simulated:
        return HostResources()
    pages = domain.backing.hugepages
    mount = hugepages.mount_of(pages) if pages is not None else ""
    if pages is not None:
        hugepages.check_room(pages, domain.memory, free=True)
    passed = [device for device in domain.devices if isinstance(device, Hostdev)]
    made = HostResources((), (), vfio.bind(passed) if passed else (), mount)
    try:
        for card in domain.devices:
            if isinstance(card, Interface) and request.manage_taps:
                made = with_tap(made, card.tap, taps.take(
                    tap_of(card, owner, request.bridges), reached))
    except HostError:
        release(made, reached)
        raise
    return made


def tap_of(card: Interface, owner: str, bridges: Sequence[str] = ()) -> Tap:
    """What a network card needs of the host."""
    return Tap(card.tap, card.bridge, card.queues or 1, card.mtu, card.vlans, owner, bridges)


def off_network(domain: Domain) -> tuple[str, ...]:
    """How the taps of a running VM differ from what it was given, as `domain` says."""
    return tuple(text for card in domain.devices if isinstance(card, Interface)
                 if (text := taps.difference(tap_of(card, ""))))


def reconnect(domain: Domain, owner: str, attached: Collection[str],
              reached: Reached = nothing) -> None:
    """Give the taps of a running VM what `domain` says again (blocking); raises HostError.

    `attached`: those of other programs that were attached for this VM.
    """
    for card in domain.devices:
        if isinstance(card, Interface):
            tap = tap_of(card, owner)
            if taps.difference(tap):
                reached(Point.RECONNECT_TAPS)
                taps.change(tap, reached, attached=card.tap in attached)


def with_tap(made: HostResources, tap: str, taken: Taken) -> HostResources:
    """These resources, and what was done to one more tap."""
    if taken is Taken.CREATED:
        return replace(made, taps=(*made.taps, tap))
    return replace(made, attached=(*made.attached, tap)) if taken is Taken.ATTACHED else made


@contextmanager
def released_on_failure(made: HostResources) -> Iterator[None]:
    """Release the resources if the launch in this block fails."""
    try:
        yield
    except (HypervisorError, HostError, OSError):
        release(made)
        raise


def remove_stale_taps(vms: Path) -> list[str]:
    """Remove our taps whose VM is not running, even without its record; returns their names."""
    found = [tap for tap, name in taps.owned_by(f"{vms}/").items()
             if not process.locked(vms / name)]
    release(HostResources(tuple(found)))
    return found


def release(made: HostResources, reached: Reached = nothing) -> None:
    """Remove taps, detach those of other programs, and rebind host devices to their drivers."""
    reached(Point.RELEASE)
    for tap in made.taps:
        with suppress(OSError):
            taps.remove(tap)
    for tap in made.attached:
        with suppress(OSError):
            taps.detach(tap)
    for address in made.host_devices:
        vfio.unbind(address)
