"""A reconciler as it is, in this process, on a directory of files; no VM is started by itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.daemon import Daemon
from reconciler.report.events import Journal
from reconciler.settings import load
from reconciler.stratovirt.binary import simulator
from tests.values import xml

CONFIG = """
paths: {runtime: run, state: state, images: images}
hypervisor: {path: simulator}
"""
LIMIT = 10.0


class Place:
    """The directory, and the events that were told."""

    def __init__(self, path: Path, config: str = "") -> None:
        self.path = path
        self.events: list[dict] = []
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
        journal = Journal(settings.state / "events.jsonl", self.events.append)
        return Daemon(settings, simulator(), journal, reading_host(settings), read_domain)

    def told(self, *names: str) -> list[dict]:
        return [event for event in self.events if event["event"] in names]


@asynccontextmanager
async def running(place: Place):
    """All of it, as `run` does it, until the end of the block."""
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
    """Only the source and the passes, each look by hand: `daemon.source.look()`."""
    daemon = place.make()
    try:
        yield daemon
    finally:
        await daemon.end()
        daemon.environment.journal.close()


async def until(daemon: Daemon, true) -> None:
    """Wait, woken by each new status, until it is so and no pass runs."""
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
