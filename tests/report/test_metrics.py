"""The page that Prometheus reads: an event in, a line out."""

from __future__ import annotations

import pytest

from reconciler.report.metrics import DOMAIN_READY, Metrics, Sample


def lines(metrics: Metrics, *samples: Sample) -> list[str]:
    return [line for line in metrics.page(samples).splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("event", "line"), [
    ({"event": "domain.started", "action": "start"},
     'reconciler_actions_total{action="start",result="success"} 1.0'),
    ({"event": "action.failed", "action": "stop"},
     'reconciler_actions_total{action="stop",result="failure"} 1.0'),
    ({"event": "domain.drifted"}, "reconciler_drift_total 1.0"),
    ({"event": "domain.exited", "reason": "killed"},
     'reconciler_domain_exits_total{reason="killed"} 1.0'),
    ({"event": "source.synced"}, 'reconciler_source_sync_total{result="success"} 1.0'),
    ({"event": "source.rejected"}, 'reconciler_source_sync_total{result="failure"} 1.0'),
])
def test_an_event_is_counted(event, line):
    metrics = Metrics()
    metrics.note(event)
    assert lines(metrics) == [line]
    metrics.note(event)
    assert lines(metrics) == [line.replace("1.0", "2.0")]


def test_an_event_that_is_not_measured_changes_nothing():
    metrics = Metrics()
    metrics.note({"event": "domain.starting", "action": "start"})
    assert lines(metrics) == []


def test_a_gauge_has_the_value_of_its_sample():
    assert lines(Metrics(), Sample(DOMAIN_READY, ("a",), 1)) == [
        'reconciler_domain_ready{domain="a"} 1.0']
