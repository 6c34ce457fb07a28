"""The heartbeat: only while the event loop runs and changes of the source are noticed."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from watchdog.observers.api import BaseObserver

from reconciler.engine.status.heartbeat import Heartbeat
from reconciler.report.events import Journal
from reconciler.report.status import HEARTBEAT
from reconciler.settings import load
from tests.engine.making import Place, running, until


@pytest.mark.simulated_time
async def test_pain_13_no_heartbeat_while_changes_are_not_noticed(tmp_path):
    events, watched = [], True
    (tmp_path / "config.yaml").write_text("paths: {state: state}\nreconcile: {heartbeat: 5s}\n")
    (tmp_path / "state").mkdir()
    beat = tmp_path / "state" / HEARTBEAT
    journal = Journal(tmp_path / "state" / "events.jsonl", events.append)
    heart = Heartbeat(load(tmp_path / "config.yaml", {}), journal, lambda: watched)
    task = asyncio.create_task(heart.run())

    async def beats_within(seconds):
        beat.unlink(missing_ok=True)
        await asyncio.sleep(seconds)
        return beat.exists()

    assert await beats_within(6)
    assert json.loads(beat.read_bytes())["heartbeatEvery"] == "5s"
    watched = False
    await asyncio.sleep(5)
    assert not await beats_within(60)
    event, = events
    assert (event["event"], event["reason"], event["severity"]) == (
        "source.failed", "WatcherDied", "error")
    watched = True
    assert await beats_within(6)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    journal.close()


async def test_pain_13_a_watcher_that_ended_is_reported_and_the_source_is_read_by_the_clock(
        tmp_path):
    place = Place(tmp_path, "reconcile: {heartbeat: 50ms, resync: 300ms}\n")
    async with running(place) as daemon:
        observer, = [t for t in threading.enumerate() if isinstance(t, BaseObserver)]
        observer.stop()
        observer.join()
        event = await place.until_reported("source.failed")
        assert event["reason"] == "WatcherDied"
        place.drop("a")
        await until(daemon, lambda: len(daemon.domains) == 1)
