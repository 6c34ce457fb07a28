"""What a file leaves open is chosen once and then kept: the uuid, and a card's MAC and tap. Pure.

Between the reader, which derives these values as for a new domain, and the checks across files.
Neither another bridge, another order, another card's coming or going, nor a new way to derive them
changes what a domain has. The values are kept beside the definition that they were chosen for
(`restore`); the next one finds them by the domain that is in force (`keep`).
"""

from __future__ import annotations

import hashlib
import json
import uuid as uuids
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.domain.devices.interface import Interface, mac_of, named
from reconciler.domain.model import Device, Origin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from reconciler.domain.model import Domain, Origins

_GUEST_SEES = ("queues", "vhost")
_HOST_SIDE = ("bridge", "mtu", "vlans", "up")


@dataclass(frozen=True, slots=True)
class Card:
    """The MAC address and the tap that an interface keeps."""

    mac: str
    tap: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """What differs from the reader's values. `cards`: by the MAC address that the reader derives.

    Cards that are gone are remembered, so that one that comes back is the same.
    """

    uuid: str = ""
    cards: Mapping[str, Card] = field(default_factory=dict)


def as_text(assigned: Assigned) -> str:
    """As text, for the values that a stored definition is read with; empty for none."""
    if assigned == Assigned():
        return ""
    return json.dumps({"uuid": assigned.uuid, "cards": {
        derived: [card.mac, card.tap] for derived, card in sorted(assigned.cards.items())}})


def of_text(text: str) -> Assigned:
    """The inverse of as_text."""
    if not text:
        return Assigned()
    value = json.loads(text)
    return Assigned(value["uuid"], {derived: Card(*card)
                                    for derived, card in value["cards"].items()})


def restore(domain: Domain, assigned: Assigned) -> Domain:
    """A stored definition, as the reader reads it, with the values that were chosen for it."""
    if assigned.uuid and is_derived(domain, "uuid"):
        domain = _with_uuid(domain, assigned.uuid)
    return _with_cards(domain, assigned.cards)


def keep(domain: Domain, before: Domain | None, remembered: Assigned, uuid: str,
         taken: AbstractSet[str] = frozenset()) -> tuple[Domain, Assigned]:
    """A new definition, as the reader reads it, with the values that its domain has.

    `before`: the definition in force. `remembered`: what was chosen for it. `uuid`: of the domain,
    if the file gives none. `taken`: MAC addresses that a new card does not get.
    """
    own_uuid = uuid if is_derived(domain, "uuid") and uuid != domain.uuid else ""
    cards = _cards(domain)
    chosen = _choose(cards, _cards(before) if before is not None else [], remembered.cards, taken)
    used = {card.mac for card in chosen.values()}
    past = {derived: card for derived, card in remembered.cards.items()
            if derived not in chosen and card.mac not in used}
    different = {card.mac: chosen[card.mac] for card in cards
                 if chosen[card.mac] != Card(card.mac, card.tap)}
    assigned = Assigned(own_uuid, past | different)
    return restore(domain, assigned), assigned


def is_derived(part: Domain | Device, name: str) -> bool:
    """Whether the file does not give this value."""
    return any(name == field_name for field_name, _ in part.origins)


def another_uuid(uuid: str) -> str:
    """For a new domain with the name that another one had when its uuid was derived from it."""
    return str(uuids.uuid5(uuids.UUID(uuid), "another"))


def mac_addresses(domains: Iterable[Domain], *, written: bool = False) -> set[str]:
    """Of these domains; `written`: only those that the files give."""
    return {card.mac for domain in domains for card in _cards(domain)
            if not (written and is_derived(card, "mac"))}


def _cards(domain: Domain) -> list[Interface]:
    """In the order of the file."""
    return sorted((device for device in domain.devices if isinstance(device, Interface)),
                  key=lambda card: card.line)


def _choose(cards: list[Interface], before: list[Interface], remembered: Mapping[str, Card],
            taken: AbstractSet[str]) -> dict[str, Card]:
    """What each card has, by the MAC address that the reader gave it."""
    same = _matched(cards, before)
    used = {card.mac for card in cards if not is_derived(card, "mac")}
    used |= {old.mac for old in same.values()}
    chosen: dict[str, Card] = {}
    for index, card in enumerate(cards):
        old = same.get(index)
        known = Card(old.mac, old.tap) if old is not None else remembered.get(card.mac)
        if known is None or (old is None and is_derived(card, "mac") and known.mac in used):
            known = Card(card.mac, card.tap)
        chosen[card.mac] = _filled(card, known, () if old is not None else used | taken)
        used.add(chosen[card.mac].mac)
    return chosen


def _filled(card: Interface, known: Card, taken: Collection[str]) -> Card:
    """What the file gives, and for the rest what is known, unless another card has it."""
    mac, tap = card.mac, card.tap
    if is_derived(card, "mac"):
        mac, attempt = known.mac, 0
        while mac in taken:
            attempt += 1
            mac = mac_of(_digest(card.mac, attempt))
    if is_derived(card, "tap"):
        tap = known.tap if mac == known.mac else f"sv{_digest(mac)[:10]}"
    return Card(mac, tap)


def _digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _matched(cards: list[Interface], before: list[Interface]) -> dict[int, Interface]:
    """Which card was there before, by index: the best pairs first."""
    pairs = sorted(((_likeness(card, old, index == position), -index, -position)
                    for index, card in enumerate(cards) for position, old in enumerate(before)
                    if _may_be(card, old)), reverse=True)
    found: dict[int, Interface] = {}
    taken: set[int] = set()
    for _, index, position in pairs:
        if -index not in found and -position not in taken:
            found[-index] = before[-position]
            taken.add(-position)
    return found


def _may_be(card: Interface, old: Interface) -> bool:
    """Whether an edit may have turned the one into the other."""
    if not is_derived(card, "mac"):
        return card.mac == old.mac
    return card.bridge == old.bridge or _by_name(card, old) > 0 or all(
        getattr(card, name) == getattr(old, name) for name in _GUEST_SEES)


def _likeness(card: Interface, old: Interface, same_position: bool) -> tuple[int, int, bool]:
    alike = sum(getattr(card, name) == getattr(old, name) for name in (*_GUEST_SEES, *_HOST_SIDE))
    return (2 * (card.mac == old.mac and not is_derived(card, "mac")) + _by_name(card, old),
            alike, same_position)


def _by_name(card: Interface, old: Interface) -> int:
    """How many names that the file gives are the same."""
    return sum((not is_derived(card, "tap") and card.tap == old.tap,
                not is_derived(card, "alias") and card.alias == old.alias,
                card.place is not None and card.place == old.place))


def _with_uuid(domain: Domain, uuid: str) -> Domain:
    return replace(domain, uuid=uuid, origins=_kept(domain.origins, "uuid"))


def _with_cards(domain: Domain, cards: Mapping[str, Card]) -> Domain:
    if not any(card.mac in cards for card in _cards(domain)):
        return domain
    others = [device for device in domain.devices if not isinstance(device, Interface)]
    changed = named(_with(card, cards.get(card.mac)) for card in _cards(domain))
    return replace(domain, devices=tuple(sorted((*others, *changed), key=Device.sort_key)))


def _with(card: Interface, chosen: Card | None) -> Interface:
    """Only what its element leaves out is replaced."""
    if chosen is None:
        return card
    names = [name for name in ("mac", "tap") if is_derived(card, name)
             and getattr(card, name) != getattr(chosen, name)]
    return replace(card, **{name: getattr(chosen, name) for name in names},
                   origins=_kept(card.origins, *names))


def _kept(origins: Origins, *names: str) -> Origins:
    return tuple((name, Origin.KEPT if name in names else origin) for name, origin in origins)
