"""Gauges: a state in, a sample out."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.decide.inputs import Condition, Plan, Truth, Vm, VmState
from reconciler.engine.decide.state import DomainRecord, DomainState
from reconciler.engine.source.source_sync import SourceState
from reconciler.engine.status.gauges import gauges
from reconciler.report.metrics import (
    DOMAIN_READY,
    DOMAIN_STATE,
    QUEUE_DEPTH,
    SOURCE_LAST_SUCCESS,
    Sample,
)

STATE = DomainState(DomainRecord("u", "a"), vm=Vm(VmState.RUNNING, 42),
                    plan=Plan(conditions=(Condition("Ready", Truth.TRUE, "InSync"),)))


def test_a_domain_has_its_state_and_whether_it_is_ready():
    unready = replace(STATE, record=DomainRecord("v", "b"), plan=Plan(), vm=Vm(VmState.ABSENT))
    assert list(gauges([STATE, unready], 3, SourceState())) == [
        Sample(DOMAIN_STATE, ("a", "running"), 1), Sample(DOMAIN_READY, ("a",), 1),
        Sample(DOMAIN_STATE, ("b", "absent"), 1), Sample(DOMAIN_READY, ("b",), 0),
        Sample(QUEUE_DEPTH, (), 3)]


def test_the_last_success_of_the_source_is_a_time():
    read = SourceState(last_success="1970-01-01T00:01:40.000Z")
    assert list(gauges([], 0, read))[1] == Sample(SOURCE_LAST_SUCCESS, (), 100.0)
