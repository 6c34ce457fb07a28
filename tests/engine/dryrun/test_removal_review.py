"""What `plan` shows of missing files, where some are held already."""

from __future__ import annotations

import pytest

from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.decide.inputs import Now, Removal
from reconciler.engine.dryrun.review import meaning, review
from reconciler.engine.dryrun.snapshot import KnownDomain, Snapshot
from reconciler.settings import load
from reconciler.sources.listing import Listing
from tests.engine.decide.states import RUNS, known, running
from tests.values import xml

NOW = Now(1000.0, 1_800_000_000.0)


@pytest.fixture
def removals(tmp_path):
    """What `plan` believes of a, b and c, whose files are missing."""
    (tmp_path / "config.yaml").write_text("paths: {state: state, images: images}\n"
                                          "prune: {hold_minimum: 3}\n")
    settings = load(tmp_path / "config.yaml", {})
    domains = {name: read_domain(xml(name), f"{name}.xml", reading_host(settings))
               for name in "abc"}

    def look(held="", obeyed="", **listing):
        snapshot = Snapshot({d.uuid: KnownDomain(known(
            d, RUNS, running=running(d), record={"prune_held": name in held}))
            for name, d in domains.items()})
        found = review(settings, snapshot, meaning(settings, snapshot, Listing(**listing)), NOW,
                       frozenset(domains[name].uuid for name in obeyed))
        return {one.name: one.inputs.removal for one in found.domains}

    return look


def every(removal):
    return dict.fromkeys("abc", removal)


def test_many_at_once_are_held_and_what_is_removed_already_goes_on(removals):
    assert removals() == every(Removal.HELD)
    assert removals(obeyed="abc") == every(Removal.PROVEN)
    assert removals(obeyed="a") == every(Removal.PROVEN)  # two more of two are simply obeyed


def test_what_is_held_counts_for_the_removal_of_many_although_its_file_was_missing_before(
        removals):
    assert removals(held="ab", obeyed="ab") == every(Removal.HELD)


def test_what_is_held_stays_held_although_its_file_was_missing_before(removals):
    assert removals(held="abc", obeyed="abc") == every(Removal.HELD)
    assert removals(held="a", obeyed="abc") == {
        "a": Removal.HELD, "b": Removal.PROVEN, "c": Removal.PROVEN}


@pytest.mark.parametrize("listing", [
    {"complete": False}, {"unfinished": frozenset({"a.xml"})},
    {"unreadable": {"defaults.xml": "no permission"}}])
def test_an_incomplete_listing_removes_nothing(removals, listing):
    assert removals(obeyed="abc", **listing) == every(Removal.NONE)
