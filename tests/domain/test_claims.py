"""What is in force keeps what it has, whatever else is dropped and in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.claims import READ, Claims
from reconciler.domain.model import ExclusiveResource

DISK = "writable disk"


@dataclass(frozen=True)
class Having:
    """A domain is what it has."""

    has: tuple[ExclusiveResource, ...] = field(default=())

    def exclusive_resources(self):
        return self.has


def having(*disks, name="", read=()):
    return Having((*(ExclusiveResource("name", name) for _ in name[:1]),
                   *(ExclusiveResource(DISK, disk) for disk in disks),
                   *(ExclusiveResource(READ, disk) for disk in read)))


def rejected(domains, in_force):
    """The keys that are rejected; the same in any order of the files."""
    found = set()
    for order in permutations(domains):
        claims = Claims({key: domains[key] for key in order}, in_force)
        claims.check()
        found.add(frozenset(clash.key for clash in claims.clashes if clash.key in domains))
    assert len(found) == 1
    return set(found.pop())


@pytest.mark.parametrize(("domains", "in_force", "wrong"), [
    # A file that is not accepted so far keeps everything, from whoever comes.
    ({"copy": having("x", name="a")}, {"a": having("x", name="a")}, {"copy"}),
    ({"new": having("x")}, {"a": having("x")}, {"new"}),
    ({"b": having("y", "x")}, {"a": having("x"), "b": having("y")}, {"b"}),
    ({"new": having(read=["x"])}, {"a": having("x")}, {"new"}),
    ({"new": having("x")}, {"a": having(read=["x"])}, {"new"}),
    ({"new": having(read=["x"])}, {"a": having(read=["x"])}, set()),
    # What was in force wins against what another domain wants in addition.
    ({"a": having("x", "y"), "b": having("y")}, {"a": having("x"), "b": having("y")}, {"a"}),
    ({"b": having("x", "y"), "a": having("y")}, {"b": having("x"), "a": having("y")}, {"b"}),
    # An exchange is possible, and a ring of them.
    ({"a": having("y"), "b": having("x")}, {"a": having("x"), "b": having("y")}, set()),
    ({"a": having("y"), "b": having("z"), "c": having("x")},
     {"a": having("x"), "b": having("y"), "c": having("z")}, set()),
    # If one of them is rejected, it keeps what it had, and the others, too.
    ({"a": having("y", "taken"), "b": having("x")},
     {"a": having("x"), "b": having("y"), "c": having("taken")}, {"a", "b"}),
    ({"a": having("y"), "b": having("z"), "c": having("x", "taken")},
     {"a": having("x"), "b": having("y"), "c": having("z"), "d": having("taken")},
     {"a", "b", "c"}),
    # A newcomer may have what is given up, and nothing of what comes back.
    ({"a": having("y"), "new": having("x")}, {"a": having("x")}, set()),
    ({"a": having("y", "taken"), "new": having("x")},
     {"a": having("x"), "d": having("taken")}, {"a", "new"}),
    # Two new ones of one name are both wrong, of one disk the second.
    ({"m": having(name="a"), "n": having(name="a")}, {}, {"m", "n"}),
    ({"m": having("x"), "n": having("x")}, {}, {"n"})])
def test_rule_3_what_is_in_force_keeps_what_it_has(domains, in_force, wrong):
    assert rejected(domains, in_force) == wrong


RESOURCES = st.frozensets(st.sampled_from("uvwxyz"), max_size=3)


@given(st.dictionaries(st.sampled_from("abcdef"), RESOURCES, max_size=6),
       st.dictionaries(st.sampled_from("abcdefghi"), RESOURCES, max_size=7))
def test_rule_3_nothing_that_is_in_force_is_ever_given_to_two(before, wanted):
    taken: set[str] = set()
    in_force = {}
    for key, disks in before.items():  # what is in force is consistent
        in_force[key] = having(*sorted(disks - taken))
        taken |= disks
    domains = {key: having(*sorted(disks)) for key, disks in wanted.items()}
    claims = Claims(domains, in_force)
    claims.check()
    wrong = {clash.key for clash in claims.clashes}
    after = {**in_force, **{key: domain for key, domain in domains.items() if key not in wrong}}
    had = [resource for domain in after.values() for resource in domain.has]
    assert len(had) == len(set(had))


def test_a_chain_of_rejections_is_looked_at_once():
    """Each of many domains takes the disk of the next, and the last cannot."""
    looks = 0

    class Watched(Having):
        def exclusive_resources(self):
            nonlocal looks
            looks += 1
            return self.has

    counts = []
    for size in (50, 100):
        looks = 0
        in_force = {f"d{n:04}": Watched(having(f"x{n}").has) for n in range(size)}
        wanted = {f"d{n:04}": Watched(having(f"x{n + 1}").has) for n in range(size)}
        in_force["z"] = having(f"x{size}")
        claims = Claims(wanted, in_force)
        claims.check()
        assert {clash.key for clash in claims.clashes} == set(wanted)
        counts.append(looks)
    assert counts[1] <= 2.2 * counts[0]


def test_rule_3_a_rejection_for_another_reason_gives_back_what_was_given_up():
    domains = {"a": having("y"), "b": having("x")}
    claims = Claims(domains, {"a": having("x"), "b": having("y")})
    claims.check()
    assert not claims.clashes
    claims.restore("a")
    assert {clash.key for clash in claims.clashes} == {"b"}
    assert claims.clashes[0].other == "a"
