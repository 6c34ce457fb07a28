"""A daemon in this process, on a directory of files; no domain runs unless its file says so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.daemon import Daemon
from reconciler.engine.decide.inputs import Now
from reconciler.host.workers import DaemonThreads
from reconciler.report.events import Journal
from reconciler.settings import load
from reconciler.stratovirt.binary import simulator
from tests.values import xml

if TYPE_CHECKING:
    from reconciler.engine.decide.state import DomainState
    from reconciler.stratovirt.binary import Binary

CONFIG = """
paths: {runtime: run, state: state, images: images}
hypervisor: {path: simulator}
"""
LIMIT = 10.0


class ClockedDaemon(Daemon):
    """Its clocks move only when a test adds to `passed` (seconds)."""

    passed = 0.0

    def now(self) -> Now:
        return Now(1000.0 + self.passed, 1_800_000_000.0 + self.passed)


class Place:
    """The directory, and the events that were reported. `kind` is the daemon that is made."""

    kind: type[Daemon] = Daemon

    def __init__(self, path: Path, config: str = "") -> None:
        self.path = path
        self.events: list[dict] = []
        self._news = asyncio.Event()
        for name in ("domains", "state", "images"):
            (path / name).mkdir(exist_ok=True)
        (path / "config.yaml").write_text(CONFIG + config)
        (path / "images" / "fw.fd").write_bytes(b"x")

    def drop(self, name: str, state: str = "stopped", **values) -> None:
        (self.path / "images" / f"{name}.img").touch()
        fresh = self.path / "fresh"
        fresh.write_bytes(xml(name, state, **values))
        fresh.replace(self.file(name))

    def file(self, name: str) -> Path:
        return self.path / "domains" / f"{name}.xml"

    def make(self) -> Daemon:
        settings = load(self.path / "config.yaml", {})
        journal = Journal(settings.state / "events.jsonl", self.show)
        return self.kind(settings, self.binary(), journal, reading_host(settings), read_domain)

    def binary(self) -> Binary:
        return simulator()

    def show(self, event: dict) -> None:
        self.events.append(event)
        self._news.set()

    def reported(self, *names: str) -> list[dict]:
        return [event for event in self.events if event["event"] in names]

    async def until_reported(self, name: str) -> dict:
        """Wait for an event of this name; the first one."""
        async with asyncio.timeout(LIMIT):
            while not self.reported(name):
                self._news.clear()
                await self._news.wait()
        return self.reported(name)[0]


@asynccontextmanager
async def running(place: Place):
    """The daemon runs, as under `run`, until the end of the block."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    daemon = place.make()
    task = asyncio.create_task(daemon.run())
    try:
        await until(daemon, lambda: daemon.source.state.complete)
        yield daemon
    finally:
        daemon.stop()
        await task
        daemon.environment.journal.close()


@asynccontextmanager
async def looking(place: Place):
    """A daemon that does not look at its source by itself: see `look`."""
    daemon = place.make()
    try:
        yield daemon
    finally:
        await daemon.end()
        daemon.environment.journal.close()


async def look(daemon: Daemon) -> float:
    """One look at the source, and the passes that follow; seconds until the next look is due."""
    due = await daemon.source.look()
    await daemon.queue.rest()
    return due


async def until(daemon: Daemon, true) -> None:
    """Wait, woken by each new status, until `true` returns true and no pass runs."""
    async with asyncio.timeout(LIMIT):
        while not true():
            await daemon.publisher.next()
        await daemon.queue.rest()


def settled(daemon: Daemon, count: int):
    return lambda: len(daemon.domains) == count and all(
        c.state.attempts.observed_generation == c.state.record.generation for c in daemon.domains)


def states(daemon: Daemon) -> dict:
    """Every domain's state, by name."""
    return {c.name: c.state for c in daemon.domains}


def state_of(daemon: Daemon, name: str = "a") -> DomainState:
    """One domain's state, now."""
    return states(daemon)[name]
