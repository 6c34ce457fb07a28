"""What a file leaves open is chosen once; nothing that happens to file or host changes it."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as some
import pytest
from hypothesis import given

from reconciler.domain import chosen
from reconciler.domain.assigned import Assigned, as_text, keep, of_text, restore
from reconciler.domain.model import Origin
from tests.domain.making import DISK, HOST, policy, read

HERE, THERE = replace(HOST, machine="m1", repository="r"), replace(
    HOST, machine="m2", repository="r")


def card(bridge: str = "", inner: str = "") -> str:
    source = f"<source bridge='{bridge}'/>" if bridge else ""
    return f"<interface type='{'bridge' if bridge else 'ethernet'}'>{source}{inner}</interface>"


def domain(*cards: str, host=HERE, parts: str = "", name: str = "a"):
    """As the reader reads it: each card on a line of its own."""
    return read(parts, devices=DISK + "\n" + "\n".join(cards), host=host, name=name)


class Kept:
    """A domain over several versions of its file; `macs` are in the order of the file."""

    def __init__(self, *cards: str, host=HERE) -> None:
        self.before, self.assigned = keep(domain(*cards, host=host), None, Assigned(), "")

    def edit(self, *cards: str, host=HERE) -> list[str]:
        fresh = domain(*cards, host=host)
        found, assigned = keep(fresh, self.before, self.assigned, self.before.uuid)
        again, same = keep(fresh, found, assigned, found.uuid)
        assert (again, same) == (found, assigned)  # the next look changes nothing
        assert restore(fresh, of_text(as_text(assigned))) == found  # nor does a restart
        self.before, self.assigned = found, assigned
        return self.macs

    @property
    def cards(self):
        return sorted((d for d in self.before.devices if d.KIND == "interface"),
                      key=lambda found: found.line)

    @property
    def macs(self) -> list[str]:
        return [found.mac for found in self.cards]


def test_rule_4_another_bridge_changes_neither_mac_nor_tap():
    kept = Kept(card("br0"))
    before, = kept.cards
    kept.edit(card("br1"))
    after, = kept.cards
    assert (after.mac, after.tap, after.bridge) == (before.mac, before.tap, "br1")


@pytest.mark.parametrize(("before", "after", "same"), [
    # In `same`: the index that each card had; None for a new one.
    (("br0", "br1"), ("br1", "br0"), (1, 0)),
    (("br0", "br1", "br2"), ("br0", "br2"), (0, 2)),
    (("br1",), ("br0", "br1"), (None, 0)),
    (("br0",), ("br0", "br0"), (0, None)),
    (("br0", "br0"), ("br1", "br0"), (0, 1)),
    (("br0", "br0"), ("br0", "br1"), (0, 1)),
    (("br0", "br1"), ("br2", "br1"), (0, 1)),
    (("br0", "br1"), ("br2", "br1", "br0"), (None, 1, 0)),
    (("br0",), (), ()),
])
def test_rule_4_each_card_keeps_its_mac_whatever_happens_to_others(before, after, same):
    kept = Kept(*map(card, before))
    old = kept.macs
    new = kept.edit(*map(card, after))
    assert len(set(new)) == len(new)
    for mac, index in zip(new, same, strict=True):
        assert mac == old[index] if index is not None else mac not in old


@pytest.mark.parametrize("inner", [
    "<target dev='tap7'/>", "<alias name='ua-lan'/>",
    "<address type='pci' domain='0' bus='3' slot='0' function='0'/>"])
def test_a_name_in_the_file_says_which_card_it_is(inner):
    kept = Kept(card("br0"), card("br1", inner))
    first, second = kept.macs
    assert kept.edit(card("br0", inner), card("br1")) == [second, first]


def test_a_mac_that_is_written_into_the_file_keeps_its_tap_and_the_other_way_round():
    kept = Kept(card("br0"), card("br1"))
    before = kept.cards
    kept.edit(card("br0", f"<mac address='{before[0].mac}'/>"), card("br1"))
    assert kept.cards == before
    kept.edit(card("br0"), card("br1"))
    assert kept.cards == before
    kept.edit(card("br0", f"<target dev='{before[0].tap}'/>"), card("br1"))
    assert kept.cards == before


def test_a_card_that_was_removed_and_comes_back_is_the_same():
    kept = Kept(card("br0"), card("br1"), host=HOST)
    first, second = kept.edit(card("br0"), card("br1"))  # of an older version of the reconciler
    assert kept.edit(card("br1")) == [second]
    assert kept.edit(card("br1"), card("br0")) == [second, first]


def test_rule_4_what_an_earlier_version_derived_stays():
    """It derived from the name alone."""
    old, new = domain(card("br0"), host=HOST), domain(card("br0"))
    assert (old.uuid, old.devices) != (new.uuid, new.devices)
    found, assigned = keep(new, old, Assigned(), old.uuid)
    assert found == old
    assert chosen.restored(new, chosen.texts({}, assigned)) == old
    assert dict(found.origins) == {"uuid": Origin.KEPT}


def test_a_definition_that_was_stored_by_an_earlier_version_means_the_same():
    kept = HOST.keep()
    assert "machine" not in kept
    assert domain(card("br0"), host=HERE.as_of(kept)) == domain(card("br0"), host=HOST)


def test_two_hosts_have_different_uuids_and_macs_for_one_file():
    here, there = domain(card("br0")), domain(card("br0"), host=THERE)
    assert here.uuid != there.uuid
    assert Kept(card("br0")).macs != Kept(card("br0"), host=THERE).macs
    written = "<uuid>11111111-2222-4333-8444-555555555555</uuid>"
    assert domain(card("br0"), parts=written) != domain(card("br0"), host=THERE, parts=written)


@pytest.mark.parametrize("where", ["m1", "m2"])
def test_a_domain_that_moves_to_another_host_stays_itself(where):
    placed = policy(inner=f"<r:placement host='{where}'/>")
    here, there = (domain(card("br0"), host=host, parts=placed) for host in (HERE, THERE))
    assert (here.uuid, here.devices) == (there.uuid, there.devices)
    assert dict(here.origins) == {"uuid": Origin.REPOSITORY}


def test_a_placement_anywhere_is_none():
    assert domain(parts=policy(inner="<r:placement host='auto'/>")).uuid == domain().uuid


def test_a_new_card_gets_no_mac_that_another_domain_has():
    fresh = domain(card("br0"))
    mac = Kept(card("br0")).macs[0]
    found, assigned = keep(fresh, None, Assigned(), "", frozenset({mac}))
    other, = (d.mac for d in found.devices if d.KIND == "interface")
    assert other not in (mac, "")
    assert keep(fresh, found, assigned, found.uuid, frozenset({mac})) == (found, assigned)


@given(some.lists(some.lists(some.sampled_from(["", "br0", "br1", "br2"]), max_size=4),
                  min_size=2, max_size=5))
def test_rule_4_no_order_of_edits_gives_two_cards_one_mac_or_changes_one_that_stays(edits):
    kept = Kept()
    for before, after in zip([[], *edits], edits, strict=False):
        old = dict(zip(before, kept.macs, strict=True))
        new = kept.edit(*map(card, after))
        assert len(set(new)) == len({c.tap for c in kept.cards}) == len(after)
        for bridge, mac in zip(after, new, strict=True):
            if before.count(bridge) == after.count(bridge) == 1:
                assert mac == old[bridge]
