"""The values of the gauges of report/metrics.py, from the states of all domains. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.report.metrics import (
    DOMAIN_READY,
    DOMAIN_STATE,
    QUEUE_DEPTH,
    SOURCE_LAST_SUCCESS,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.engine.decide.state import DomainState
    from reconciler.engine.source.source_sync import SourceState


def gauges(states: Iterable[DomainState], queued: int, source: SourceState) -> Iterator[Sample]:
    """All values as of now. `queued`: domains whose pass is running or waits."""
    for state in states:
        yield Sample(DOMAIN_STATE, (state.name, str(state.vm.state)), 1)
        yield Sample(DOMAIN_READY, (state.name,), int(state.plan.is_ready))
    yield Sample(QUEUE_DEPTH, (), queued)
    if source.last_success:
        at = datetime.fromisoformat(source.last_success).timestamp()
        yield Sample(SOURCE_LAST_SUCCESS, (), at)
