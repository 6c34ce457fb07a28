"""The reconciler: listings in, a keeper for each domain, the status out."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
import signal
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.domain.checks import claimed
from reconciler.domain.model import Domain, InvalidDomain, Policy
from reconciler.domain.reader import read_domain
from reconciler.engine.keeper import Keeper
from reconciler.report import status
from reconciler.report.events import Journal, timestamp
from reconciler.sources.directory import Incomplete, Watch, listing

if TYPE_CHECKING:
    from reconciler.settings import Settings


class AlreadyRunning(Exception):
    """Another reconciler has these directories."""


class Reconciler:
    """Owns the keepers and the source."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        for path in (settings.runtime / "vms", settings.state):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(settings.runtime / "reconciler.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another reconciler runs on {settings.runtime}") from None
        self.journal = Journal(settings.state / "events.jsonl")
        self.keepers: dict[str, Keeper] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.missing: dict[str, float] = {}
        self.invalid: dict[str, str] = {}
        self.source_error = ""
        self.held: list[str] = []
        self._files: dict[str, bytes] = {}
        self._names: dict[str, str] = {}
        self._parsed: dict[str, Domain] = {}
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()

    def read(self, data: bytes, file: str) -> Domain:
        """One file, with this host's defaults."""
        s = self.settings
        return read_domain(data, file, s.images, s.state, s.arch, Policy())

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; the VMs live on (rule 2)."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        self.journal.write("reconciler.started", version=__version__, pid=os.getpid(),
                           simulated=self.settings.simulated)
        if self.settings.simulated:
            self.journal.write("hypervisor.simulated", severity="warning",
                               message="no stratovirt on PATH: the simulator stands in")

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        watch = Watch(self.settings.domains, wake)
        for entry in os.listdir(self.settings.runtime / "vms"):
            self._keeper(entry)
        tasks = [asyncio.create_task(self._sync_forever()),
                 asyncio.create_task(self._write_status())]
        stop = asyncio.create_task(over.wait())
        done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, *self.tasks.values(), stop):
            task.cancel()
        await asyncio.gather(*tasks, *self.tasks.values(), return_exceptions=True)
        watch.stop()
        self.journal.write("reconciler.stopped")
        for task in done - {stop}:
            task.result()

    async def _sync_forever(self) -> None:
        while True:
            self._wake.clear()
            again = self.sync()
            self._dirty.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again):
                    await self._wake.wait()

    def sync(self) -> float:
        """One complete listing; returns the seconds until the next is due."""
        s = self.settings
        try:
            files = listing(s.domains)
        except Incomplete as error:
            if str(error) != self.source_error:
                self.journal.write("source.failed", severity="error", error=str(error))
            self.source_error = str(error)
            self.missing.clear()
            return 5.0
        self.source_error = ""
        self.invalid = {}
        present: set[str] = set()
        owners: dict[str, str] = {}
        claims: dict[str, str] = {}
        # What runs comes first, so that a newcomer never takes anything from it.
        order = sorted(files, key=lambda file: self._names.get(file, "") not in self.keepers)
        for file in order:
            data = files[file]
            changed = self._files.get(file) != data
            try:
                domain = self._parsed.get(file) if not changed else None
                domain = self._parsed[file] = domain or self.read(data, file)
            except InvalidDomain as error:
                self._parsed.pop(file, None)
                self.invalid[file] = str(error)
                name = self._names.get(file)
                if changed:
                    self.journal.write("domain.invalid", severity="error", file=file,
                                       domain=name, error=str(error))
                # Whose file it was is unknown after a restart: then nothing counts as removed.
                present |= {name} if name else set(self.keepers)
                if name in self.keepers:
                    self.keepers[name].invalid = str(error)
                    self.keepers[name].wake()
                continue
            name = domain.name
            present.add(name)
            self._names[file] = name
            if name in owners:
                self.invalid[file] = f"{file}: domain '{name}' is also in {owners[name]}"
                self._keeper(name).invalid = self.invalid[file]
                continue
            owners[name] = file
            clash = next((f"{what} is also in {claims[what]}" for what in claimed(domain)
                          if what in claims), "")
            if clash:
                self.invalid[file] = f"{file}: {clash}"
                if name in self.keepers:
                    self.keepers[name].invalid = self.invalid[file]
                if changed:
                    self.journal.write("domain.invalid", severity="error", reason="Conflict",
                                       domain=name, file=file, error=clash)
                continue
            claims |= dict.fromkeys(claimed(domain), file)
            self._keeper(name).define(domain, data)
        self._files = files
        for known in (self._names, self._parsed):
            for file in known.keys() - files.keys():
                del known[file]
        return self._remove(present)

    def _remove(self, present: set[str]) -> float:
        """Two complete listings apart by `settle`, then the breaker (rule 6)."""
        s, clock = self.settings, asyncio.get_running_loop().time()
        absent = {name for name in self.keepers if name not in present}
        self.missing = {name: self.missing.get(name, clock) for name in absent}
        ripe = [name for name, at in self.missing.items() if clock - at >= s.settle]
        held = s.prune and len(absent) >= 3 and len(absent) > s.hold_above * len(self.keepers)
        if held and sorted(absent) != self.held:
            self.journal.write("prune.held", severity="warning", reason="MassRemoval",
                               domains=sorted(absent))
        self.held = sorted(absent) if held else []
        if s.prune and not held:
            for name in ripe:
                self.keepers[name].gone = True
                self.keepers[name].wake()
        return s.settle + 0.01 if len(ripe) < len(absent) else s.resync

    def _keeper(self, name: str) -> Keeper:
        if name not in self.keepers:
            keeper = Keeper(name, self.settings, self.journal, self.read, self._dirty.set)
            self.keepers[name] = keeper
            task = asyncio.create_task(keeper.run())
            task.add_done_callback(lambda done: self._ended(name, done))
            self.tasks[name] = task
        return self.keepers[name]

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self.keepers[name], self.tasks[name]
        self._dirty.set()
        if not task.cancelled() and (error := task.exception()):
            self.journal.write("domain.stalled", severity="error", domain=name,
                               error=f"a fault of the reconciler: {error!r}")
            self._wake.set()

    async def _write_status(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            status.write(self.settings.state / "status.json", self.status())
            await asyncio.sleep(0.05)  # many changes at once are one write

    def status(self) -> dict[str, object]:
        """status.json as a value."""
        s = self.settings
        domains = [self.keepers[name].status() for name in sorted(self.keepers)]
        ready = sum(d["conditions"][0]["status"] == "True" for d in domains)
        return {
            "apiVersion": "reconciler/v1", "kind": "Status", "generatedAt": timestamp(),
            "reconciler": {"version": __version__, "pid": os.getpid()},
            "host": {"name": platform.node(), "arch": s.arch, "kvm": os.path.exists("/dev/kvm"),
                     "hypervisor": {"path": s.hypervisor[0], "simulated": s.simulated}},
            "source": {"kind": "directory", "path": str(s.domains), "error": self.source_error,
                       "invalid": self.invalid},
            "summary": {"domains": len(domains), "ready": ready,
                        **{state: sum(d["observed"]["state"] == state for d in domains)
                           for state in ("running", "paused")}},
            "pruneHeld": self.held, "domains": domains,
        }
