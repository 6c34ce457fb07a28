"""Spoilt files and spoilt defaults together: refused or expanded, in time, and nothing else.

More by RECONCILER_FUZZ, as in test_reader.py.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter

import pytest

from reconciler.domain.expand import Given, expand
from reconciler.domain.merge import read_defaults
from reconciler.domain.model import InvalidDomain
from reconciler.domain.reader import read_domain
from reconciler.domain.substitute import Variables
from reconciler.domain.xml import LONGEST
from tests.domain.making import HOST, text
from tests.fuzz.domain_files import make
from tests.fuzz.watching import SECRET, Bait, Watch

COUNT = int(os.environ.get("RECONCILER_FUZZ", "1200")) // 4
SEED = int(os.environ.get("RECONCILER_FUZZ_SEED", "1"))
SLOWEST = 1.5  # seconds of processor time for one file, on machines that are slow and shared
BLOCKS = 2
VARIABLES = (("A", "128"), ("B", "${A}"), ("C", "'/><x y='"), ("D", "a,b=c"), ("E", "-S"),
             ("F", "&a;"), ("G", "\x02"), ("H", "x" * 5000), ("empty", ""))
PIECES = (b"${A}", b"${B}", b"${C}", b"${D}", b"${E}", b"${F}", b"${G}", b"${H}", b"${empty}",
          b"${", b"$${A}", b"${missing}", b"{index}", b"{{index}}", b"&#36;{A}", b"${A}${A}")
GOOD = text("<title>'t'</title><description> </description>")
PLAIN = b"<domain><vcpu>2</vcpu><devices><rng model='virtio'/></devices></domain>"
_FREE = rb"<(title|description|cmdline)>"
OURS = b"<metadata><reconcile xmlns='urn:stratovirt-reconciler:1' count='%d'/></metadata></domain>"


def mixed(data: bytes, chance: random.Random) -> bytes:
    """With our marks in some of its values."""
    for _ in range(chance.choice((0, 1, 1, 4))):
        starts = [found.end() for found in re.finditer(
            rb"<(title|description|cmdline)>|='" if chance.random() < 0.3 else _FREE, data)]
        if starts:
            at = chance.choice(starts)
            data = data[:at] + chance.choice(PIECES) + data[at:]
    if chance.random() < 0.3:
        data = data.replace(b"<name>", b"<name>{index}", 1).replace(
            b"</domain>", OURS % chance.choice((0, 1, 2, 3, 5000)), 1)
    return data


def nameless(data: bytes) -> bytes:
    """What more often is good enough for defaults."""
    for name in (b"name", b"uuid"):
        before, found, rest = data.partition(b"<%b>" % name)
        if found:
            data = before + rest.partition(b"</%b>" % name)[2]
    return data


def tried(make_of, *words, **more):
    """What it makes, or what it refuses with."""
    try:
        return make_of(*words, **more)
    except InvalidDomain as error:
        return error


def outcome(data: bytes, theirs: bytes | None, strict: bool) -> str:
    variables = Variables(VARIABLES, strict)
    defaults = None if theirs is None else tried(read_defaults, theirs, "defaults.xml", variables,
                                                 lenient=False)
    if isinstance(defaults, InvalidDomain):
        assert all(p.file == "defaults.xml" and p.line >= 1 for p in defaults.problems)
        defaults = None
    found = tried(expand, data, "a.xml", HOST, Given(variables, defaults))
    if isinstance(found, InvalidDomain):
        assert found.problems
        assert SECRET not in str(found)
        assert all(p.line >= 1 and type(p.line) is int for p in found.problems)
        assert {p.file for p in found.problems} <= {"a.xml", "defaults.xml"}
        return "refused"
    for definition in found.definitions:
        assert len(definition.data) <= LONGEST
        assert SECRET not in repr(definition)
        again = read_domain(definition.data, "a.xml", HOST)
        assert again == definition.domain
        if not definition.note:
            assert definition.data == data
    return "expanded" if found.definitions[0].note else "as it is"


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_rule_11_nothing_that_is_put_together_harms(block, watch, tmp_path):
    bait = Bait(tmp_path)
    ends: Counter[str] = Counter()
    outcome(b"<domain/>", b"<domain/>", strict=True)
    try:
        for number in range(block, COUNT, BLOCKS):
            chance = random.Random(f"{SEED}/{number}")
            data = mixed(make(SEED, number, bait.addresses), chance)
            other = make(SEED, number + chance.randrange(1, 1000), bait.addresses)
            theirs = chance.choice((None, mixed(nameless(other), chance)))
            began = time.process_time()
            with watch.looking():
                ends[outcome(data, theirs, strict=chance.random() < 0.5)] += 1
            took = time.process_time() - began
            assert took < SLOWEST, f"seed {SEED}, number {number}: {took:.3f} s"
            assert not bait.touched(), f"seed {SEED}, number {number}"
    finally:
        bait.close()
    print(dict(ends))
    assert all(ends[end] > 0.01 * COUNT / BLOCKS for end in ("refused", "expanded", "as it is"))
