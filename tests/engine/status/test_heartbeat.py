"""The heartbeat: only while the loop and the watcher live."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from watchdog.observers.api import BaseObserver

from reconciler.report.status import HEARTBEAT
from tests.engine.making import LIMIT, Place, running


async def beats(place, reconciler, number):
    """So many more, by their time."""
    seen = set()
    async with asyncio.timeout(LIMIT):
        while len(seen) <= number:
            seen.add(json.loads((place.path / "state" / HEARTBEAT).read_bytes())["at"])
            await asyncio.sleep(0.01)
    return max(seen)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_pain_13_the_heart_beats_only_while_changes_are_heard(tmp_path):
    place = Place(tmp_path, "reconcile: {heartbeat: 50ms, resync: 300ms}\n")
    async with running(place) as reconciler:
        await beats(place, reconciler, 3)
        assert not place.told("source.failed")
        observer, = (one for one in threading.enumerate() if isinstance(one, BaseObserver))
        observer.event_queue.put("not an event")
        observer.join(LIMIT)
        async with asyncio.timeout(LIMIT):
            while not place.told("source.failed"):
                await asyncio.sleep(0.01)
        last = json.loads((place.path / "state" / HEARTBEAT).read_bytes())["at"]
        await asyncio.sleep(0.3)  # six beats would have come
        assert json.loads((place.path / "state" / HEARTBEAT).read_bytes())["at"] == last
        told, = place.told("source.failed")
        assert (told["reason"], told["severity"]) == ("WatcherDied", "error")
        # It looks all the same, by its clock.
        place.drop("a")
        async with asyncio.timeout(LIMIT):
            while not reconciler.keepers:
                await asyncio.sleep(0.01)
