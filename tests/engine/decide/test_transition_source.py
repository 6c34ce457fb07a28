"""What the domain's file and a user's commands change, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.engine.decide.events import (
    AbsenceJudged,
    DefinitionAccepted,
    DefinitionRejected,
    HoldExpired,
    HoldSet,
    Loaded,
    PrerequisitesChanged,
    Priority,
    PruneHeld,
    RestartAsked,
    Wake,
)
from reconciler.engine.decide.inputs import (
    Attempts,
    DeferredChange,
    Exit,
    ExitKind,
    Hold,
    Removal,
    RetryState,
)
from reconciler.engine.decide.state import DomainRecord, DomainState
from reconciler.engine.decide.transition import transition
from tests.engine.decide.states import (
    BOOT,
    CONFIG,
    LATER,
    NEW,
    RUNS,
    known,
    report,
    stored,
    with_record,
)
from tests.values import NOW, domain

FILE, COMMAND = Wake(Priority.FILE), Wake(Priority.COMMAND)
TROUBLE = RetryState((1.0,), 3, 2000.0, "StartFailed", "no luck")
WORN = Attempts(
    failures=TROUBLE, crashes=TROUBLE, drift=TROUBLE, silence=TROUBLE, down_reason="PoweredOff",
    rolled_back_generation=1, rolled_back_because="it did not come up",
    needs_restart_generation=1, recreating_generation=1, replaced_pid=41, observed_generation=1,
    last_settled_state="running", restarts=4, last_exit=Exit(ExitKind.KILLED, 7.0),
    exits={"killed": 4})
# What a new definition, or a command, leaves of it.
FRESH = Attempts(observed_generation=1, last_settled_state="running", restarts=4,
                 last_exit=Exit(ExitKind.KILLED, 7.0), exits={"killed": 4})
BIGGER = domain(memory=256)


# The first event


def test_what_is_kept_of_a_domain_is_loaded_without_any_effect():
    kept = DomainState(DomainRecord("u", "a", 3, boot_id="another boot"), CONFIG)
    assert transition(kept, Loaded(NOW, BIGGER, domain(), "old-name")) == (
        replace(kept, domain=BIGGER, last_known_good=domain(), home="old-name"), ())


# A valid file


def test_the_first_definition_of_a_domain_is_its_generation_1():
    fresh = DomainState(DomainRecord("", ""), CONFIG)
    wanted = domain()
    state, effects = transition(fresh, DefinitionAccepted(NOW, wanted, NEW))
    assert state == replace(fresh, domain=wanted, record=DomainRecord(
        wanted.uuid, "a", 1, NEW, boot_id=BOOT, accepted_at=NOW.wall))
    assert effects == (report("domain.accepted", state, file="a.xml", revision="main@2"), FILE)


def test_another_meaning_is_a_new_generation_and_ends_every_delay_but_not_the_counts():
    before = known(attempts=WORN, vm=RUNS, deferred_changes=(DeferredChange("x", "busy", 2000.0),),
                   record={"boot_id": "another boot", "last_known_good": stored("good")})
    text = stored("bigger", "main@3")
    state, effects = transition(before, DefinitionAccepted(NOW, BIGGER, text))
    assert state == replace(
        with_record(before, generation=2, definition=text, accepted_at=NOW.wall, attempts=FRESH,
                    boot_id=BOOT), domain=BIGGER, deferred_changes=())
    assert effects == (report("domain.accepted", state, file="a.xml", revision="main@3"), FILE)


def test_the_same_text_again_changes_nothing_but_the_line_numbers():
    before = known(attempts=WORN, record={"boot_id": "another boot"})
    again = replace(domain(), lines=(("memory", 7),))
    state, effects = transition(before, DefinitionAccepted(LATER, again, NEW))
    assert (state, effects) == (before, ())
    assert state.domain is again
    assert transition(state, DefinitionAccepted(LATER, replace(again), NEW))[0] is state


@pytest.mark.parametrize("text", [stored("other spelling"), replace(NEW, file="moved.xml")])
def test_another_text_of_the_same_meaning_is_kept_and_starts_nothing(text):
    before = known(attempts=WORN)
    assert transition(before, DefinitionAccepted(LATER, domain(), text)) == (
        with_record(before, definition=text), (FILE,))


def test_the_same_text_of_another_revision_is_no_news():
    before = known()
    assert transition(before, DefinitionAccepted(
        LATER, domain(), replace(NEW, revision="main@9"))) == (before, ())


def test_a_meaning_that_is_kept_without_its_text_gets_its_text():
    before = known(record={"definition": None})
    assert transition(before, DefinitionAccepted(LATER, domain(), NEW)) == (
        with_record(before, definition=NEW), (FILE,))


def test_a_file_that_is_valid_again_is_reported_before_it_is_accepted():
    before = known(attempts=WORN, invalid="a.xml:3: wrong", invalid_reason="Conflict")
    state, effects = transition(before, DefinitionAccepted(NOW, domain(), NEW))
    assert state == replace(before, invalid="")
    recovered = report("domain.recovered", before, file="a.xml", revision="main@2")
    assert effects == (recovered, FILE)
    state, effects = transition(before, DefinitionAccepted(NOW, BIGGER, NEW))
    assert effects == (recovered, report("domain.accepted", state, file="a.xml",
                                         revision="main@2"), FILE)


def test_a_file_that_is_back_ends_its_removal_and_is_looked_at():
    before = known(removal=Removal.PROVEN, removal_since=7.0, attempts=WORN)
    state, effects = transition(before, DefinitionAccepted(NOW, domain(), NEW))
    # What was stopped for its removal is started for its file: that is not drift.
    record = replace(before.record, attempts=replace(WORN, last_settled_state=""))
    assert (state, effects) == (replace(before, removal=Removal.NONE, record=record), (FILE,))
    doubted = known(removal=Removal.UNPROVEN, removal_reason="Incomplete", removal_message="why",
                    attempts=WORN)
    state, effects = transition(doubted, DefinitionAccepted(NOW, domain(), NEW))
    assert (state, effects) == (known(attempts=WORN), (FILE,))


def test_a_file_may_give_its_domain_another_name_and_another_uuid():
    other = replace(domain(), name="b", uuid="u-2")
    state, effects = transition(known(), DefinitionAccepted(NOW, other, NEW))
    assert (state.name, state.uuid, state.record.generation) == ("b", "u-2", 2)
    assert effects[0] == report("domain.accepted", state, file="a.xml", revision="main@2")


# An invalid file


def rejected(reason="Conflict", message="a.xml:3: wrong"):
    return DefinitionRejected(NOW, reason, message, "a.xml")


def test_an_invalid_file_leaves_the_definition_in_force_and_is_reported_once():
    before = known(vm=RUNS, attempts=WORN)
    state, effects = transition(before, rejected())
    assert state == replace(before, invalid="a.xml:3: wrong", invalid_reason="Conflict")
    assert effects == (report("domain.invalid", before, severity="error", reason="Conflict",
                              file="a.xml", error="a.xml:3: wrong"), FILE)
    assert transition(state, rejected()) == (state, ())


@pytest.mark.parametrize("other", [rejected("Denied"), rejected(message="a.xml:4: wrong")])
def test_another_error_of_a_file_is_reported_again(other):
    before = transition(known(), rejected())[0]
    state, effects = transition(before, other)
    assert (state.invalid, state.invalid_reason) == (other.message, other.reason)
    assert effects[0].event == "domain.invalid"


def test_an_invalid_file_is_a_file_and_ends_the_removal():
    before = transition(known(), rejected())[0]
    gone = replace(before, removal=Removal.HELD)
    assert transition(gone, rejected()) == (before, (FILE,))
    state, effects = transition(gone, rejected(message="other"))
    assert state.removal is Removal.NONE
    assert [type(e).__name__ for e in effects] == ["Report", "Wake"]


# A missing file


def test_a_missing_file_ends_every_delay_and_is_looked_at_once():
    before = known(attempts=WORN)
    state, effects = transition(before, AbsenceJudged(LATER, Removal.PROVEN))
    assert state == replace(with_record(before, attempts=FRESH), removal=Removal.PROVEN,
                            removal_since=LATER.clock)
    assert effects == (FILE,)
    assert transition(state, AbsenceJudged(NOW, Removal.PROVEN)) == (state, ())


def test_a_verdict_that_is_taken_back_changes_no_counter():
    gone = known(attempts=WORN, removal=Removal.HELD)
    assert transition(gone, AbsenceJudged(LATER, Removal.NONE)) == (
        replace(gone, removal=Removal.NONE, removal_since=LATER.clock), (FILE,))


def test_that_a_removal_is_held_together_with_others_is_kept_without_any_effect():
    before = known(record={"boot_id": "another boot"})
    held = with_record(before, prune_held=True, boot_id=BOOT)
    assert transition(before, PruneHeld(NOW, held=True)) == (held, ())
    assert transition(held, PruneHeld(NOW, held=True)) == (held, ())
    older = with_record(held, boot_id="another boot")
    assert transition(older, PruneHeld(NOW, held=True)) == (older, ())
    assert transition(held, PruneHeld(NOW, held=False)) == (with_record(held, prune_held=False), ())


# A user, and the clock


def test_a_hold_is_kept_and_looked_at_like_a_command_and_so_is_its_release():
    before, hold = known(attempts=WORN), Hold("repair", "me")
    held, effects = transition(before, HoldSet(NOW, hold))
    assert (held, effects) == (with_record(before, hold=hold), (COMMAND,))
    assert transition(held, HoldSet(NOW, None)) == (before, (COMMAND,))
    assert transition(held, HoldExpired(NOW)) == (before, ())


def test_a_restart_that_is_asked_for_ends_every_delay():
    before = known(attempts=WORN)
    assert transition(before, RestartAsked(NOW)) == (
        replace(with_record(before, attempts=FRESH), restart_asked=True), (COMMAND,))


def test_a_changed_prerequisite_ends_the_delay_of_failed_actions_alone():
    before = known(attempts=WORN)
    assert transition(before, PrerequisitesChanged(NOW)) == (
        with_record(before, attempts=replace(WORN, failures=RetryState())), (FILE,))
