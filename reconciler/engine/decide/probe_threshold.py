"""Counts the probes of one process: when a guest is healthy, and when it is not. Pure.

As container engines do it: one success is healthy; failures count once the start period is over,
or once the guest was healthy; a configured number of them in a row is unhealthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.inputs import HealthStatus, ProbeResult

if TYPE_CHECKING:
    from reconciler.domain.policy import Health


def count_probe(before: ProbeResult, problem: str, health: Health, age: float) -> ProbeResult:
    """The result with one more probe.

    `problem` says why it failed, empty for a success; `age` of the process in seconds.
    """
    if not problem:
        return ProbeResult(HealthStatus.HEALTHY, 0, "")
    if before.status is HealthStatus.UNKNOWN and age < health.start_period:
        return ProbeResult(HealthStatus.UNKNOWN, 0, problem)
    failures = before.failures + 1
    if failures >= health.failures:
        return ProbeResult(HealthStatus.UNHEALTHY, failures, problem)
    return ProbeResult(before.status, failures, problem)
