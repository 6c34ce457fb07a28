"""Records that were saved are synced soon, and again after the disk refused it."""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress

import pytest

from reconciler.engine.decide.state import DomainRecord
from reconciler.engine.records.store import Store
from reconciler.engine.records.syncer import keep_synced
from reconciler.failpoints import Point
from reconciler.report.events import Journal

pytestmark = pytest.mark.simulated_time


async def test_a_sync_that_failed_is_tried_again_and_reported_once(tmp_path):
    events, attempts = [], []

    def reached(point):
        if point is Point.SYNC:
            attempts.append(point)
            if len(attempts) < 3:
                raise OSError(errno.EIO, "Input/output error")

    store, saved = Store(tmp_path / "domains", reached), asyncio.Event()
    first, second = DomainRecord("u", "a", 1), DomainRecord("u", "a", 2)
    for record in (first, second):
        store.save(record)
    saved.set()
    journal = Journal(tmp_path / "events.jsonl", events.append)
    task = asyncio.create_task(keep_synced(store, saved, journal))
    for _ in range(100):
        await asyncio.sleep(0.1)
        if len(attempts) == 3 and not list((tmp_path / "domains").glob(".*")):
            break
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    journal.close()
    assert len(attempts) == 3
    assert [e["event"] for e in events] == ["state.unwritable"]
    assert [p.name for p in (tmp_path / "domains").iterdir()] == ["u.json"]
