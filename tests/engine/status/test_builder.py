"""The status of a domain, from its state alone."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.decide.events import DefinitionAccepted, Planned
from reconciler.engine.decide.inputs import Condition, Plan, Truth
from reconciler.engine.decide.state import DomainRecord, DomainState, StoredDefinition
from reconciler.engine.decide.transition import transition
from reconciler.engine.status.builder import domain_status
from tests.values import NOW, domain

READY = Plan(conditions=(Condition("Ready", Truth.TRUE, "InSync", ""),))


def shown(state):
    value = domain_status(state, [], NOW)
    return value["revision"], value["appliedRevision"]


def test_pain_12_a_definition_accepted_after_the_last_decision_is_not_applied_yet():
    first, second = (StoredDefinition(f"text of {name}", "a.xml", name)
                     for name in ("first", "second"))
    wanted = domain()
    state = DomainState(DomainRecord(wanted.uuid, wanted.name, 1, first), domain=wanted)
    state, _ = transition(state, Planned(NOW, READY))
    assert shown(state) == ("first", "first")
    state, _ = transition(state, DefinitionAccepted(NOW, replace(wanted, memory=1 << 28), second))
    assert shown(state) == ("second", "first")
    state, _ = transition(state, Planned(NOW, READY))
    assert shown(state) == ("second", "second")
