"""Metrics for Prometheus, `GET /metrics`: the table of what is measured, and the counters.

Counters are counted from the events of the journal, gauges are read from the states when the page
is asked for (engine/status/gauges.py). A new metric is a row here, and for a gauge its values
there; docs/how-to/add-a-metric.md shows how.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value as of now; `labels` are the names of its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter. `of` gives the values of its labels for an event that counts, else None."""

    name: str
    help: str
    labels: tuple[str, ...]
    of: Callable[[Mapping[str, Any]], tuple[str, ...] | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a gauge, for these values of its labels."""

    gauge: Gauge
    labels: tuple[str, ...]
    value: float


DOMAIN_STATE = Gauge("reconciler_domain_state", "1 for the observed state of a domain",
                     ("domain", "state"))
DOMAIN_READY = Gauge("reconciler_domain_ready", "1 if a domain is Ready, else 0", ("domain",))
QUEUE_DEPTH = Gauge("reconciler_queue_depth", "Domains whose pass is running or waits")
SOURCE_LAST_SUCCESS = Gauge("reconciler_source_last_success_timestamp_seconds",
                            "When the source was read last, in seconds since 1970")
GAUGES = (DOMAIN_STATE, DOMAIN_READY, QUEUE_DEPTH, SOURCE_LAST_SUCCESS)

_DONE = frozenset({"domain.started", "domain.stopped", "domain.paused", "domain.resumed",
                   "domain.updated", "domain.destroyed"})
_SYNCED = {"source.synced": "success", "source.failed": "failure", "source.rejected": "failure"}


def _action(event: Mapping[str, Any]) -> tuple[str, ...] | None:
    if event["event"] in _DONE:
        return str(event.get("action", "")), "success"
    return (str(event.get("action", "")), "failure") if event["event"] == "action.failed" else None


def _drift(event: Mapping[str, Any]) -> tuple[str, ...] | None:
    return () if event["event"] == "domain.drifted" else None


def _exit(event: Mapping[str, Any]) -> tuple[str, ...] | None:
    return (str(event.get("reason", "")),) if event["event"] == "domain.exited" else None


def _sync(event: Mapping[str, Any]) -> tuple[str, ...] | None:
    result = _SYNCED.get(event["event"])
    return None if result is None else (result,)


COUNTERS = (
    Counted("reconciler_actions", "Actions on VMs that ended", ("action", "result"), _action),
    Counted("reconciler_drift", "Changes from outside that were corrected", (), _drift),
    Counted("reconciler_domain_exits", "Exits of VMs that were not asked for", ("reason",), _exit),
    Counted("reconciler_source_sync", "Changes of the source's revision or health", ("result",),
            _sync),
)


class Metrics:
    """The counters since the reconciler began."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[tuple[str, ...]]] = {c.name: Counter() for c in COUNTERS}

    def note(self, event: Mapping[str, Any]) -> None:
        """An event of the journal."""
        for counted in COUNTERS:
            labels = counted.of(event)
            if labels is not None:
                self._counts[counted.name][labels] += 1

    def page(self, samples: Iterable[Sample]) -> str:
        """The text that Prometheus reads. Counters end in `_total`."""
        # Imported here: it costs memory, and most reconcilers are not scraped.
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # memory
        from prometheus_client.core import (  # noqa: PLC0415  # memory
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        families: list[CounterMetricFamily | GaugeMetricFamily] = []
        for counted in COUNTERS:
            counter = CounterMetricFamily(counted.name, counted.help, labels=counted.labels)
            for labels, count in sorted(self._counts[counted.name].items()):
                counter.add_metric(labels, count)
            families.append(counter)
        values = list(samples)
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for sample in values:
                if sample.gauge is gauge:
                    family.add_metric(sample.labels, sample.value)
            families.append(family)
        registry = CollectorRegistry()
        registry.register(_Collected(families))
        page: bytes = generate_latest(registry)
        return page.decode()


@dataclass(frozen=True, slots=True, eq=False)
class _Collected:
    """As prometheus_client wants it: something that has `collect`."""

    families: list[Any]

    def collect(self) -> list[Any]:
        """All families."""
        return self.families
