"""Changes of a VM that runs: each begins, is made, waits for the guest, or fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.place import Place
from reconciler.engine.decide.events import (
    ChangeBegun,
    ChangeDeferred,
    ChangeFailed,
    ChangeMade,
    ChangesEnded,
)
from reconciler.engine.decide.inputs import Attempts, Cause, DeferredChange, Step, Verb
from reconciler.engine.decide.state import LastAction
from reconciler.engine.decide.transition import transition
from reconciler.units import timestamp
from tests.engine.decide.states import (
    BOOT,
    NEW,
    RUNS,
    known,
    planned,
    report,
    running,
    with_attempts,
    with_record,
)
from tests.values import NOW, domain

AT = timestamp(NOW.wall)
BALLOON, CARD = DeferredChange("balloon", "busy", 1001.0), DeferredChange("card", "kept", 1002.0)


def updating(**values):
    return known(vm=RUNS, running=running(), plan=planned(Step(Verb.UPDATE), cause=Cause.COMMAND),
                 **values)


def test_a_change_is_on_disk_before_it_is_made():
    before = updating()
    assert transition(before, ChangeBegun(NOW, "memory: 1 → 2")) == (before, (
        report("action.started", before, durable=True, action=Verb.UPDATE, cause=Cause.COMMAND,
               message="memory: 1 → 2"),))


def test_a_change_that_is_made_is_what_runs_and_is_not_asked_for_again():
    before = updating(deferred_changes=(BALLOON, CARD), record={"boot_id": "another boot"})
    left = domain(memory=64)
    made = replace(before, running=replace(running(), domain=left), deferred_changes=(CARD,))
    assert transition(before, ChangeMade(NOW, "balloon", left, {})) == (made, ())
    places = {"disk:vdb": Place(3, 0)}
    assert transition(before, ChangeMade(NOW, "balloon", left, places)) == (
        with_record(made, places=places, boot_id=BOOT), ())


def test_a_change_of_what_is_not_known_any_more_is_not_noted():
    before = replace(updating(), running=None)
    assert transition(before, ChangeMade(NOW, "x", domain(), {"disk:a": Place(1, 0)})) == (
        before, ())


def test_a_change_that_waits_for_the_guest_is_asked_for_with_growing_delays_of_its_own():
    before = updating(deferred_changes=(CARD,))
    event = ChangeDeferred(replace(NOW, jitter=2.0), "balloon", "balloon: 2 → 1", "GuestUnwilling",
                           "no driver")
    once, effects = transition(before, event)
    assert once == replace(before, deferred_changes=(CARD, DeferredChange(
        "balloon", "no driver", NOW.clock + 2.0, 1)))
    assert effects == (report("action.failed", before, action=Verb.UPDATE, cause=Cause.COMMAND,
                              reason="GuestUnwilling", error="balloon: 2 → 1: no driver"),)
    thrice = transition(transition(once, event)[0], event)[0]
    assert thrice.deferred_changes == (CARD, DeferredChange(
        "balloon", "no driver", NOW.clock + 8.0, 3))
    for _ in range(20):
        thrice, _ = transition(thrice, event)
    assert thrice.deferred_changes[1].retry_at == NOW.clock + 600.0


def test_a_change_that_fails_needs_a_restart_of_the_vm():
    before = updating(record={"boot_id": "another boot", "generation": 3})
    state, effects = transition(before, ChangeFailed(NOW, "card: a → b", "QmpRefused", "no room"))
    assert state == replace(
        with_record(with_attempts(before, needs_restart_generation=3), boot_id=BOOT),
        last_action=LastAction(Verb.UPDATE, AT, Cause.COMMAND, "failed", error="no room"))
    assert effects == (report(
        "action.failed", before, severity="error", action=Verb.UPDATE, cause=Cause.COMMAND,
        reason="QmpRefused", error="card: a → b: no room",
        hint="needs a restart of the VM; whether that happens is up to update/@policy"),)


def ended(before, made=("a: 1 → 2", "b: 3 → 4"), *, whole=True, generation=1):
    return transition(before, ChangesEnded(NOW, made, whole, generation, 12.5))


def test_a_vm_that_got_every_change_is_known_good_and_the_changes_are_reported():
    before = updating(record={"boot_id": "another boot"})
    state, effects = ended(before)
    done = LastAction(Verb.UPDATE, AT, Cause.COMMAND, "ok", "main@2", 12.5)
    assert state == replace(with_record(before, last_known_good=NEW, boot_id=BOOT),
                            last_known_good=before.domain, last_action=done)
    assert effects == (report("domain.updated", before, action=Verb.UPDATE, cause=Cause.COMMAND,
                              message="a: 1 → 2, b: 3 → 4", revision="main@2", durationMs=12.5),)


@pytest.mark.parametrize(("before", "values"), [
    (updating(), {"whole": False}),  # some changes still wait
    (updating(), {"generation": 0}),  # a newer definition came meanwhile
    (updating(record={"definition": None}), {})])
def test_a_vm_that_lacks_something_is_not_known_good(before, values):
    state, (event,) = ended(before, **values)
    assert (state.record, state.last_known_good) == (before.record, None)
    assert event.event == "domain.updated"


def test_changes_of_which_none_could_be_made_are_no_action():
    before = updating(attempts=Attempts(restarts=1))
    assert ended(before, (), whole=False) == (before, ())
    assert ended(before, ()) == (replace(with_record(before, last_known_good=NEW),
                                         last_known_good=before.domain), ())
