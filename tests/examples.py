"""How many examples a property test tries: few by default, more by RECONCILER_EXAMPLES=2000."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def examples(count: int) -> settings:
    """`count` by default; deadlines and health checks depend on the load of the machine."""
    return settings(
        max_examples=int(os.environ.get("RECONCILER_EXAMPLES", count)), deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                               HealthCheck.filter_too_much])
