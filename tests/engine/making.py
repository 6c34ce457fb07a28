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
    reconciler = place.make()
    task = asyncio.create_task(reconciler.run())
    try:
        await until(reconciler, lambda: reconciler.sync.complete)
        yield reconciler
    finally:
        reconciler._over.set()
        await task
        reconciler.journal.close()


async def until(reconciler: Daemon, true) -> None:
    """Wait, woken by each new status, until it is so and no pass runs."""
    async with asyncio.timeout(LIMIT):
        while not true():
            waiter = asyncio.get_running_loop().create_future()
            reconciler.publisher.waiters.append(waiter)
            await waiter
        await reconciler.queue.rest()


def settled(reconciler: Daemon, count: int):
    return lambda: len(reconciler.keepers) == count and all(
        k.ledger.settled == k.memory.generation for k in reconciler.keepers.values())
