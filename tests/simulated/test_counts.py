"""What costs something is counted: with fifty domain files at rest, nothing happens at all."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.cli.client import Unreachable, ask
from reconciler.report.requests import Request
from tests.engine.making import Place, running, settled, until
from tests.simulated.site import Site

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

    def __init__(self, reconciler):
        self._reconciler = reconciler
        self._before = self._now()

    def _now(self):
        r = self._reconciler
        return {"passes": r.queue.passes, "parses": r.sync.intake.parses,
                "reads": r.sync.source.directory.reads, "looks": r.sync.handled,
                "statuses": r.publisher.sequence}

    def __call__(self):
        return {key: value - self._before[key] for key, value in self._now().items()}


async def moment(reconciler, wanted=None):
    """Until a pass, a parse, a read or a look too many comes, but a moment at most."""
    counts = Counts(reconciler)
    wakes = asyncio.Event()
    original = reconciler.sync.wake
    reconciler.sync.wake = lambda delay=0.0: (wakes.set(), original(delay))
    try:
        async with asyncio.timeout(MOMENT):
            await wakes.wait()
    except TimeoutError:
        pass
    finally:
        reconciler.sync.wake = original
    return counts()


async def test_at_rest_nothing_happens(place):
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, COUNT))
        assert reconciler.sync.intake.parses == COUNT
        await moment(reconciler)  # the last status is written
        assert await moment(reconciler) == dict.fromkeys(
            ("passes", "parses", "reads", "looks", "statuses"), 0)


async def test_a_look_at_files_that_rest_reads_and_parses_none(place):
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, COUNT))
        counts = Counts(reconciler)
        for _ in range(10):
            handled = reconciler.sync.handled
            reconciler.sync.wake()
            await until(reconciler, lambda before=handled: reconciler.sync.handled > before)
        found = counts()
        assert (found["looks"], found["reads"], found["parses"], found["passes"]) == (10, 0, 0, 0)


async def test_rule_4_a_touch_reads_one_file_and_does_nothing(place):
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, COUNT))
        generations = {k.name: k.memory.generation for k in reconciler.keepers.values()}
        told, counts = len(place.events), Counts(reconciler)
        with place.file("d7").open("ab"):
            os.utime(place.file("d7"))
        await until(reconciler, lambda: reconciler.sync.source.directory.reads > COUNT)
        await moment(reconciler)
        found = counts()
        assert (found["parses"], found["passes"]) == (0, 0)
        assert found["reads"] <= 2  # the second if it was looked at before it was closed
        assert {k.name: k.memory.generation for k in reconciler.keepers.values()} == generations
        assert len(place.events) == told


async def test_one_change_of_fifty_is_one_parse_and_one_domain(place):
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, COUNT))
        counts = Counts(reconciler)
        place.drop("d7", memory=256)
        keeper = next(k for k in reconciler.keepers.values() if k.name == "d7")
        await until(reconciler, lambda: keeper.memory.generation == 2)
        await until(reconciler, settled(reconciler, COUNT))
        await moment(reconciler)
        found = counts()
        assert found["parses"] == 1
        assert found["reads"] <= 2
        assert found["passes"] <= 3
        assert [e["domain"] for e in place.told("domain.accepted")[COUNT:]] == ["d7"]


async def test_a_burst_of_changes_of_one_file_is_looked_at_a_few_times(place):
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, COUNT))
        counts = Counts(reconciler)
        for memory in range(129, 229):
            place.drop("d7", memory=memory)
        keeper = next(k for k in reconciler.keepers.values() if k.name == "d7")
        await until(reconciler, lambda: keeper.domain.memory == 228 << 20)
        await moment(reconciler)
        assert counts()["looks"] <= 5
        assert counts()["parses"] <= 5


# A real process: the kernel's own counts

def wakeups(pid: int) -> int:
    return sum(int(re.search(r"voluntary_ctxt_switches:\s+(\d+)", status.read_text())[1])
               for status in Path(f"/proc/{pid}/task").glob("*/status"))


def reads(pid: int) -> int:
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


def test_a_resting_process_is_woken_by_its_clocks_alone(tmp_path):
    with resting(tmp_path) as site:
        pid = site.reconciler.pid
        value = site.until(lambda v: True)
        before = wakeups(pid), reads(pid)
        # The long poll that hears nothing is the moment; nobody asks meanwhile.
        with pytest.raises(Unreachable, match="does not answer within 1 s"):
            ask(site.settings, Request.STATUS, limit=1.0,
                query={"wait": str(value["sequence"] + 5)})
        assert wakeups(pid) - before[0] < 40  # 5 a second to look at monitors, and the asking
        assert reads(pid) - before[1] < 20
