"""Since when each condition has its status, and which changes of conditions are events."""

from __future__ import annotations

import pytest

from reconciler.engine.decide.condition_events import ConditionEvent, events_of, since_of
from reconciler.engine.decide.inputs import Condition, Truth

BEFORE = {"Ready": ("True", "then")}


def condition(kind, status=Truth.TRUE, reason="Why", message="in words"):
    return Condition(kind, status, reason, message)


def test_a_condition_has_its_status_since_it_changed_whatever_its_reason():
    same = since_of(BEFORE, [condition("Ready", reason="Other", message="other")], "now")
    assert same == BEFORE
    assert since_of(BEFORE, [condition("Ready", Truth.FALSE)], "now") == {"Ready": ("False", "now")}
    assert since_of({}, [condition("Ready"), condition("Held")], "now") == {
        "Ready": ("True", "now"), "Held": ("True", "now")}


def test_a_condition_that_does_not_apply_any_more_has_no_time():
    assert since_of({**BEFORE, "Held": ("True", "then")}, [condition("Ready")], "now") == BEFORE
    assert type(since_of(BEFORE, [condition("Ready")], "now")["Ready"][0]) is str


@pytest.mark.parametrize(("kind", "event", "severity"), [
    ("Stalled", "domain.stalled", "error"), ("Held", "domain.held", "info"),
    ("Orphaned", "domain.orphaned", "warning")])
def test_a_condition_that_appears_is_one_event(kind, event, severity):
    now = [condition("Ready"), condition(kind)]
    assert events_of(BEFORE, now) == [ConditionEvent(event, "Why", severity, "in words")]
    assert events_of({**BEFORE, kind: ("True", "then")}, now) == []


@pytest.mark.parametrize(("before", "expected"), [
    ("Held", [ConditionEvent("domain.released", "HoldRequested", "info", "")]),
    ("Stalled", []), ("Orphaned", []), ("Drifted", [])])
def test_only_the_end_of_a_hold_is_an_event(before, expected):
    assert events_of({**BEFORE, before: ("True", "then")}, [condition("Ready")]) == expected


def test_events_have_the_order_of_their_severity():
    found = events_of({}, [condition("Held"), condition("Orphaned"), condition("Stalled")])
    assert [e.event for e in found] == ["domain.stalled", "domain.held", "domain.orphaned"]
