"""With fifty domain files at rest, nothing is read, parsed, decided or written."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.cli.client import Unreachable, ask
from reconciler.domain.expand import expand
from reconciler.engine.decide.gather import decide
from reconciler.report.requests import Request
from tests.counting import calls, reads
from tests.engine.making import Place, running, settled, state_of, states, until
from tests.simulated.site import LIMIT, Site

COUNT = 50
MOMENT = 0.5


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path, "source: {settle: 50ms}\n")
    for n in range(COUNT):
        found.drop(f"d{n}")
    return found


class Counts:
    """What was done since they were begun."""

    def __init__(self, daemon, read, called):
        self._daemon = daemon
        self._read = read
        self._called = called
        self._before = self._now()

    def _now(self):
        return {"decisions": self._called["decide"], "parses": self._called["expand"],
                "reads": len(self._read), "looks": self._daemon.source.state.handled,
                "statuses": self._daemon.publisher.sequence}

    def __call__(self):
        return {key: value - self._before[key] for key, value in self._now().items()}


@asynccontextmanager
async def at_rest(place):
    """A daemon that has nothing to do, and what it does from now on."""
    async with running(place) as daemon:
        with reads() as read, calls(decide, expand) as called:
            await until(daemon, settled(daemon, COUNT))
            await quiet(daemon)
            yield daemon, Counts(daemon, read, called)


async def quiet(daemon):
    """Until no status was published for a moment."""
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(MOMENT):
                await daemon.publisher.next()


async def test_at_rest_nothing_happens(place):
    async with at_rest(place) as (daemon, counts):
        for _ in range(10):  # on a busy machine a last status may come after a quiet moment
            before = counts()
            await quiet(daemon)
            found = {key: value - before[key] for key, value in counts().items()}
            if not any(found.values()):
                break
        assert found == dict.fromkeys(("decisions", "parses", "reads", "looks", "statuses"), 0)


async def test_each_file_is_parsed_once(place):
    with calls(expand) as called:
        async with running(place) as daemon:
            await until(daemon, settled(daemon, COUNT))
            await quiet(daemon)
    assert called["expand"] == COUNT


async def test_a_look_at_files_that_rest_reads_and_parses_none(place):
    async with at_rest(place) as (daemon, counts):
        for _ in range(10):
            handled = daemon.source.state.handled
            daemon.source.wake()
            await until(daemon, lambda before=handled: daemon.source.state.handled > before)
        found = counts()
        assert (found["looks"], found["reads"], found["parses"], found["decisions"]) == (
            10, 0, 0, 0)


async def test_rule_4_a_touch_reads_one_file_and_does_nothing(place):
    async with at_rest(place) as (daemon, counts):
        generations = {name: s.record.generation for name, s in states(daemon).items()}
        events = len(place.events)
        with place.file("d7").open("ab"):
            os.utime(place.file("d7"))
        await until(daemon, lambda: counts()["reads"])
        await quiet(daemon)
        found = counts()
        assert (found["parses"], found["decisions"]) == (0, 0)
        assert found["reads"] <= 2  # the second if it was looked at before it was closed
        assert {name: s.record.generation for name, s in states(daemon).items()} == generations
        assert len(place.events) == events


async def test_one_change_of_fifty_is_one_parse_and_one_domain(place):
    async with at_rest(place) as (daemon, counts):
        place.drop("d7", memory=256)
        await until(daemon, lambda: state_of(daemon, "d7").record.generation == 2)
        await until(daemon, settled(daemon, COUNT))
        await quiet(daemon)
        found = counts()
        assert found["parses"] == 1
        assert found["reads"] <= 2
        assert found["decisions"] <= 3
        assert [e["domain"] for e in place.reported("domain.accepted")[COUNT:]] == ["d7"]


async def test_a_burst_of_changes_of_one_file_is_looked_at_a_few_times(place):
    async with at_rest(place) as (daemon, counts):
        for memory in range(129, 229):
            place.drop("d7", memory=memory)
        await until(daemon, lambda: state_of(daemon, "d7").domain.memory == 228 << 20)
        await quiet(daemon)
        assert counts()["looks"] <= 5
        assert counts()["parses"] <= 5


# A real process: the kernel's own counts

def wakeups(pid: int) -> int:
    return sum(int(re.search(r"voluntary_ctxt_switches:\s+(\d+)", status.read_text())[1])
               for status in Path(f"/proc/{pid}/task").glob("*/status"))


def read_calls(pid: int) -> int:
    return int(re.search(r"syscr: (\d+)", Path(f"/proc/{pid}/io").read_text())[1])


@contextmanager
def resting(tmp_path):
    site = Site(tmp_path)
    try:
        site.start()
        for n in range(COUNT):
            site.drop(f"d{n}", "stopped")
        site.until(lambda v: v["summary"]["ready"] == COUNT)
        yield site
    finally:
        site.close()


def until_nothing_changes(site):
    """A long poll of one second without a new status and without any other request."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        sequence = ask(site.settings, Request.STATUS)["sequence"]
        try:
            ask(site.settings, Request.STATUS, limit=1.0, query={"wait": str(sequence)})
        except Unreachable:
            return
    raise AssertionError(site.log())


def test_a_resting_process_is_woken_by_its_clocks_alone(tmp_path):
    with resting(tmp_path) as site:
        pid = site.reconciler.pid
        until_nothing_changes(site)
        before, begun = (wakeups(pid), read_calls(pid)), time.monotonic()
        until_nothing_changes(site)
        seconds = time.monotonic() - begun
        # 5 a second to look at monitors, and some for the request.
        assert wakeups(pid) - before[0] < 30 * seconds + 10
        assert read_calls(pid) - before[1] < 20 * seconds
