"""Counts the probes of one process: when a guest is healthy, and when it is not. Pure.

As container engines do it: one success is healthy; failures count once the start period is over,
or once the guest was well; so many of them in a row are unhealthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.inputs import HealthStatus, ProbeResult

if TYPE_CHECKING:
    from reconciler.domain.model import Health


def beat(pulse: ProbeResult, problem: str, health: Health, age: float) -> ProbeResult:
    """The next one: `problem` is why a probe failed, empty for a success; `age` of the process."""
    if not problem:
        return ProbeResult(HealthStatus.HEALTHY, 0, "")
    if pulse.verdict is HealthStatus.UNKNOWN and age < health.start_period:
        return ProbeResult(HealthStatus.UNKNOWN, 0, problem)
    failures = pulse.failures + 1
    if failures >= health.failures:
        return ProbeResult(HealthStatus.UNHEALTHY, failures, problem)
    return ProbeResult(pulse.verdict, failures, problem)
