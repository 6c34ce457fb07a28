"""Rule 11 for thousands of spoilt files: refused or read, at once, and nothing but their values.

`RECONCILER_FUZZ=100000 pytest tests/fuzz` is the long run; RECONCILER_FUZZ_SEED chooses others. A
failure prints the smallest file that fails, as bytes, for a test of its own.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from reconciler.domain.metadata import RULE
from reconciler.domain.model import Domain, InvalidDomain
from reconciler.domain.reader import read_domain
from reconciler.domain.table import DOMAIN
from tests.domain.making import HOST, OS, text
from tests.fuzz.command_lines import command_line, prove, twin
from tests.fuzz.domain_files import make
from tests.fuzz.shrinking import smallest
from tests.fuzz.values import right
from tests.fuzz.watching import SECRET, Bait, Watch

COUNT = int(os.environ.get("RECONCILER_FUZZ", "1200"))
SEED = int(os.environ.get("RECONCILER_FUZZ_SEED", "1"))
SLOWEST = 0.5  # seconds of processor time for one file, on machines that are slow and shared
BLOCKS = 4


@pytest.fixture(scope="session")
def watch():
    return Watch()


@pytest.fixture
def bait(tmp_path):
    found = Bait(tmp_path)
    yield found
    found.close()


def outcome(data: bytes, watch: Watch) -> Domain | InvalidDomain:
    """What is made of a file; anything else raised, a touch of the host, or slowness fails."""
    took = []
    while True:
        began = time.process_time()
        with watch.looking():
            try:
                found: Domain | InvalidDomain = read_domain(data, "a.xml", HOST)
            except InvalidDomain as error:
                found = error
        took.append(time.process_time() - began)
        if took[-1] < SLOWEST:
            return found
        assert len(took) < 4, f"it took {min(took):.3f} s, again and again"


def check(data: bytes, watch: Watch) -> str:
    """Everything that holds for one file; how it ended."""
    found = outcome(data, watch)
    again = outcome(data, watch) if len(data) % 4 == 0 else found  # reading has no memory
    assert type(found) is type(again)
    if isinstance(found, InvalidDomain):
        assert found.problems == again.problems
        assert found.problems
        assert SECRET not in str(found)
        assert all(p.line >= 1 and not p.warning for p in found.problems)
        return "refused"
    assert found == again
    assert found.warnings == again.warnings
    assert SECRET not in repr(found)
    words = command_line(found)
    pair = twin(data)
    if pair is None:
        return "unmarked"
    marked = outcome(pair[0], watch)
    if isinstance(marked, InvalidDomain):
        return "unmarked"  # counted below: a few values mean more than themselves
    prove(words, command_line(marked), pair[1], (found.uuid, marked.uuid))
    return "proved"


def fails(data: bytes, watch: Watch) -> bool:
    try:
        check(data, watch)
    except Exception:
        return True
    return False


@pytest.mark.parametrize("block", range(BLOCKS))
def test_rule_11_no_file_harms_and_no_value_leaves_its_option(block, watch, bait):
    ends: Counter[str] = Counter()
    addresses = bait.addresses
    outcome(text(), watch)  # what is imported late is imported now
    for number in range(block, COUNT, BLOCKS):
        data = make(SEED, number, addresses)
        try:
            ends[check(data, watch)] += 1
        except Exception as error:
            small = smallest(data, lambda some: fails(some, watch))
            pytest.fail(f"seed {SEED}, number {number}: {error!r}\n{small[:20_000]!r}")
        assert not bait.touched(), f"seed {SEED}, number {number}: {data!r}"
    total = sum(ends.values())
    print(dict(ends))
    assert ends["proved"] > total * 0.1, ends
    assert ends["unmarked"] < ends["proved"] * 0.5, ends
    assert ends["refused"] > total * 0.15, ends


# The checks themselves can fail


def rows(rule):
    yield rule
    for child in rule.children:
        yield from rows(child)


@pytest.mark.parametrize("table", [DOMAIN, RULE], ids=["domain", "reconcile"])
def test_every_type_of_the_tables_has_a_right_value(table):
    kinds = [kind for rule in rows(table) for kind in (
        rule.text, *(a.type for a in rule.attributes)) if kind is not None]
    assert not [kind.name for kind in kinds if not right(kind)]


def test_the_same_seed_makes_the_same_files(bait):
    assert [make(7, n, ("a",)) for n in range(50)] == [make(7, n, ("a",)) for n in range(50)]
    assert make(7, 1, ("a",)) != make(8, 1, ("a",))


def test_the_watch_sees_a_file_opened_and_is_quiet_unless_armed(watch, tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(AssertionError, match="open"), watch.looking():
        (tmp_path / "a").read_text()
    (tmp_path / "a").read_text()
    with watch.looking():
        pass


def test_the_bait_detects_access(bait):
    assert not bait.touched()
    assert bait.file.read_text() == SECRET
    assert bait.touched()
    assert not bait.touched()


@pytest.mark.parametrize(("words", "ok"), [
    (["-drive", "file=/a,id=d", "-kernel", "/k"], True),
    (["-drive", "file=/a,id=d,readonly=on", "-kernel", "/k"], False),
    (["-drive", "file=/b,id=d", "-kernel", "/k"], False),
    (["-drive", "file=/a,id=d", "-kernel", "-S"], False),
    (["-drive", "file=/a,id=d", "-kernel", "/k", "-S"], False),
    (["-drive", "file=/a=b,id=d", "-kernel", "/k"], False),
    (["-drive", "id=/a,file=d", "-kernel", "/k"], False)])
def test_the_proof_sees_a_value_that_left_its_option(words, ok):
    wanted = ["-drive", "file=/mk0q,id=d", "-kernel", "/mk1q"]
    marks = {"/mk0q": "/a", "/mk1q": "/k"}
    if ok:
        prove(words, wanted, marks, ("u", "v"))
    else:
        with pytest.raises(AssertionError):
            prove(words, wanted, marks, ("u", "v"))


def test_a_failing_file_is_made_small():
    assert smallest(b"a" * 100 + b"xy" + b"b" * 57, lambda data: b"xy" in data) == b"xy"


def test_the_twin_marks_what_is_free_and_nothing_else():
    data, marks = twin(text(os=OS.replace("</os>", "<cmdline>a=b,c</cmdline></os>")))
    assert set(marks.values()) == {"a", "a=b,c", "a.img"}
    assert b"256" in data
    assert b"q35" in data
