"""What a start finds on the host and makes there, all of it or nothing; and what is given back."""

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
class Order:
    """What to start, and what is kept of it. `text` is the file as it was read.

    `simulated`: a stand-in, which uses no device, no tap and no huge page of the host.
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
class Prepared:
    """What was made or found: given back when the VM has ended."""

    taps: tuple[str, ...] = ()
    host_devices: tuple[str, ...] = ()
    hugepages: str = "/dev/hugepages"


def check(domain: Domain, *, simulated: bool) -> None:
    """Whether all that a start needs of the host is there (blocking); raises HostError."""
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


def prepare(order: Order, owner: str) -> Prepared:
    """Make it (blocking); raises HostError, and then nothing is left."""
    domain = order.domain
    files.make_variables(domain.required_files())
    if order.simulated:
        return Prepared()
    pages = domain.backing.hugepages
    mount = hugepages.mount_of(pages) if pages is not None else ""
    if pages is not None:
        hugepages.check_room(pages, domain.memory, free=True)
    passed = [device for device in domain.devices if isinstance(device, Hostdev)]
    bound = vfio.take(passed) if passed else ()
    made: list[str] = []
    try:
        if order.manage_taps:
            for card in domain.devices:
                if isinstance(card, Interface) and wire(card, owner):
                    made.append(card.tap)  # noqa: PERF401  # known, should the next one fail
    except HostError:
        give_back(made, bound)
        raise
    return Prepared(tuple(made), bound, mount)


@contextmanager
def given_back_on_failure(made: Prepared) -> Iterator[None]:
    """Around a launch: where that fails, nothing is left of what was made for it."""
    try:
        yield
    except (HypervisorError, HostError, OSError):
        give_back(made.taps, made.host_devices)
        raise


def wire(card: Interface, owner: str) -> bool:
    """Make a card's tap, or make it as the card wants it; whether it was made here."""
    return taps.make(card.tap, card.bridge, queues=card.queues or 1, mtu=card.mtu,
                     vlans=card.vlans, owner=owner)


def tidy(vms: Path) -> list[str]:
    """Take away taps of ours whose VM is gone, whatever became of its record; their names."""
    found = [tap for tap, name in taps.ours(f"{vms}/").items()
             if not process.locked(vms / name)]
    give_back(found, ())
    return found


def give_back(made: Iterable[str], bound: Iterable[str]) -> None:
    """Take our taps away, and give devices back to their drivers."""
    for tap in made:
        with suppress(OSError):
            taps.remove(tap)
    for address in bound:
        vfio.give_back(address)
