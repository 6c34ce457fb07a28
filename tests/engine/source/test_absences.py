"""What is believed of a missing file: only by complete looks, only after a while."""

from __future__ import annotations

import pytest

from reconciler.engine.decide.events import Planned
from reconciler.engine.decide.inputs import (
    STOP,
    BlockedOn,
    Condition,
    Now,
    Plan,
    Removal,
    Truth,
)
from reconciler.engine.decide.prune_evidence import Rules
from reconciler.engine.source.absences import AbsenceTracker, Look
from reconciler.sources.listing import DEFAULTS, Listing
from tests.engine.control.machines import Site
from tests.engine.kept import Kept

pytestmark = pytest.mark.simulated_time


@pytest.mark.parametrize(("listing", "proof"), [
    (Listing({"a.xml": b""}), True), (Listing(), True),
    (Listing({"a.xml": b""}, complete=False), False),
    (Listing(unfinished=frozenset({"a.xml"})), False),
    (Listing(unreadable={DEFAULTS: "no permission"}), False),
    (Listing(unreadable={"b.xml": "no permission"}), True)])
def test_only_a_complete_listing_without_unfinished_files_is_proof(listing, proof):
    assert (not listing.doubt) is proof


class Looks:
    """Three domains, and looks at a source that has some of their files."""

    def __init__(self, path, rules):
        self.site = Site(path)
        self.kept = Kept(self.site)
        self.kept.accept(("a", "1", 128), ("b", "2", 128), ("c", "3", 128))
        self.tracker = AbsenceTracker(self.kept.domains, rules)

    def look(self, at, present="", *, certain=True, unclear=None, writing=False):
        doubt = "" if certain else "x.xml cannot be read"
        self.tracker.note(Look(set(present), doubt, unclear or {}, writing), Now(at, at))
        return {c.uuid: c.state.removal for c in self.kept.domains
                if c.state.removal is not Removal.NONE}

    def state(self, uuid):
        return self.kept.domains.known(uuid).state


@pytest.fixture
def make(tmp_path):
    made = []

    def new(**rules):
        made.append(Looks(tmp_path, Rules(**{"settle": 2.0, "hold_minimum": 3, **rules})))
        return made[-1]

    yield new
    for one in made:
        one.kept.domains.close()
        one.site.close()


PROVEN, HELD, UNPROVEN = Removal.PROVEN, Removal.HELD, Removal.UNPROVEN


async def test_a_file_is_gone_after_two_complete_looks_with_a_pause_between(make):
    looks = make()
    assert looks.look(10.0, "12") == {}
    assert looks.tracker.next_look(Now(10.0, 0.0)) == 2.0
    assert looks.look(11.9, "12") == {}
    assert looks.look(12.0, "12") == {"3": PROVEN}
    assert looks.look(13.0, "123") == {}
    assert looks.look(14.0, "12") == {}  # it is missing again


async def test_an_uncertain_look_proves_nothing_whatever_is_missing(make):
    looks = make()
    assert looks.look(10.0, "", certain=False) == {}
    assert looks.look(20.0, "", certain=False) == dict.fromkeys("123", UNPROVEN)
    # Nor is anything held: of the files that are back, nothing is left.
    assert looks.tracker.held == {}
    assert {c.state.record.prune_held for c in looks.kept.domains} == {False}
    assert looks.look(21.0, "12") == {"3": UNPROVEN}  # the first look that may prove something
    assert looks.look(23.0, "12") == {"3": PROVEN}


async def test_rule_9_why_a_missing_file_is_not_believed_is_said_of_its_domain(make):
    looks = make()
    looks.look(10.0, "12", certain=False)
    assert looks.state("3").removal is Removal.NONE
    looks.look(12.0, "12", certain=False, writing=True)  # the next look knows more
    assert looks.state("3").removal is Removal.NONE
    looks.look(12.5, "12", certain=False)
    found = looks.state("3")
    assert (found.removal, found.removal_reason) == (UNPROVEN, "Incomplete")
    assert found.removal_message == "its file is gone; it is not removed while x.xml cannot be read"
    looks.look(13.0, "12", unclear={"notes.xml": 13.0})
    assert "notes.xml does not show which domain it is of" in looks.state("3").removal_message
    looks.look(14.0, "123", certain=False)
    assert looks.state("3").removal_message == ""


async def test_what_an_uncertain_look_misses_does_not_count_as_removed_already(make):
    looks = make(settle=0.0)
    looks.look(10.0, "1", certain=False)
    assert looks.look(20.0, "") == {"1": HELD, "2": HELD, "3": HELD}


async def test_what_is_held_stays_held_whatever_an_uncertain_look_misses(make):
    looks = make(settle=0.0)
    looks.look(10.0)
    assert looks.look(20.0, certain=False) == {"1": HELD, "2": HELD, "3": HELD}
    assert looks.tracker.held.keys() == {"1", "2", "3"}


async def test_an_uncertain_look_takes_nothing_back_that_is_believed(make):
    looks = make(settle=0.0)
    looks.look(10.0, "12")
    assert looks.look(20.0, "12", certain=False) == {"3": PROVEN}
    assert looks.look(21.0, "123", certain=False) == {}  # a file that is there is there


async def test_a_file_that_may_be_any_domain_s_excuses_those_that_went_before_it_came(make):
    looks = make(settle=0.0)
    looks.look(10.0, "123")
    assert looks.look(20.0, "12", unclear={"x.xml": 20.0}) == {"3": UNPROVEN}
    assert looks.look(21.0, "1", unclear={"x.xml": 20.0}) == {
        "2": PROVEN, "3": UNPROVEN}


async def test_a_source_that_could_not_be_read_ends_the_evidence(make):
    looks = make()
    looks.look(10.0, "12")
    looks.tracker.forget_evidence()
    assert not looks.tracker.any_missing
    assert looks.tracker.leaving == frozenset()
    assert looks.look(12.0, "12") == {}
    assert looks.look(14.0, "12") == {"3": PROVEN}


async def test_many_at_once_are_held_and_that_is_kept_across_a_restart(make, tmp_path):
    looks = make(settle=0.0)
    assert looks.look(10.0) == {"1": HELD, "2": HELD, "3": HELD}
    assert looks.tracker.held == {"1": "a", "2": "b", "3": "c"}
    assert {r.prune_held for r in looks.site.store.all("this boot")} == {True}
    again = AbsenceTracker(looks.kept.domains, Rules(settle=0.0, hold_minimum=100))
    again.note(Look(set(), "", {}, False), Now(20.0, 20.0))
    assert again.held.keys() == {"1", "2", "3"}
    again.approve(["1"])
    again.note(Look(set(), "", {}, False), Now(21.0, 21.0))
    assert again.held.keys() == {"2", "3"}
    assert looks.state("1").removal is Removal.APPROVED
    assert not looks.state("1").record.prune_held
    again.note(Look({"1", "2", "3"}, True, {}, False), Now(22.0, 22.0))
    assert {c.state.record.prune_held for c in looks.kept.domains} == {False}
    assert again.held == {}


async def test_a_domain_whose_file_is_missing_is_judged_after_a_while(make):
    looks = make()
    looks.look(10.0, "12")
    early, late = Now(11.9, 0.0), Now(12.0, 0.0)
    assert not looks.tracker.judged("3", early)
    assert looks.tracker.judged("3", late)
    assert looks.tracker.judged("1", early)
    assert (looks.tracker.unjudged(early), looks.tracker.unjudged(late)) == (
        frozenset({"3"}), frozenset())
    assert looks.tracker.any_missing


async def test_without_pruning_a_missing_file_means_nothing_and_nothing_waits_for_it(make):
    looks = make(enabled=False)
    assert looks.look(10.0) == looks.look(20.0) == {}
    assert looks.tracker.judged("1", Now(10.0, 0.0))
    assert looks.tracker.leaving == frozenset()


async def test_whether_something_is_believed_of_every_missing_file(make):
    looks = make()
    looks.look(10.0, "12")
    assert not looks.tracker.all_believed
    looks.look(12.0, "12")
    assert looks.tracker.all_believed


def plan(*steps, on=None, stalled=False, blocked=()):
    conditions = (Condition("Ready", Truth.UNKNOWN, "x"), *(
        (Condition("Stalled", Truth.TRUE, "x"),) if stalled else ()))
    return Plan(tuple(steps), conditions=conditions, blocked=tuple(blocked), blocked_on=on)


@pytest.mark.parametrize(("plan_", "leaving"), [
    (plan(STOP), True), (plan(blocked=[STOP], on=BlockedOn.DEPENDENTS), True),
    (plan(blocked=[STOP], on=BlockedOn.WINDOW), False),
    (plan(blocked=[STOP], on=BlockedOn.CONFIRMATION), False),
    (plan(blocked=[STOP], on=BlockedOn.HOLD), False), (plan(on=BlockedOn.KEPT), False),
    (plan(STOP, stalled=True), False), (Plan(), False)])
async def test_a_domain_leaves_while_its_removal_goes_on_by_itself(make, plan_, leaving):
    looks = make(settle=0.0)
    looks.look(10.0, "12")
    looks.kept.domains.known("3").apply(Planned(Now(10.0, 10.0), plan_))
    assert looks.tracker.leaving == (frozenset({"3"}) if leaving else frozenset())


async def test_a_domain_leaves_while_the_next_look_may_know_more_of_it(make):
    looks = make()
    looks.look(10.0, "12")
    assert looks.tracker.leaving == {"3"}
    looks.look(12.0, "12", certain=False)
    assert looks.tracker.leaving == frozenset()
    looks.look(12.5, "12", certain=False, writing=True)
    assert looks.tracker.leaving == {"3"}
