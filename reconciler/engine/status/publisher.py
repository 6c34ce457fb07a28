"""Publishes the status: gathers what is known into one value, and writes it soon, not too often.

A domain's part is built again only when that domain changed, so that a thousand domains at rest
cost nothing. Requests read the value that is published; reading changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.engine.decide.condition_events import Since, since_of
from reconciler.engine.rollout.revision_status import failing, unsettled
from reconciler.engine.status.builder import domain_status, source_conditions, source_status
from reconciler.failpoints import Point
from reconciler.host import memory
from reconciler.report import status
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.control.coordinator import Coordinator
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.domains import Domains
    from reconciler.engine.rollout.revisions import Revisions
    from reconciler.engine.source.source_sync import SourceSync
    from reconciler.stratovirt.binary import Binary
    from reconciler.stratovirt.unmanaged import UnmanagedProcess

# Writing takes a twentieth of the time at most: a few domains are written at once, a thousand every
# second or so.
SHARE = 20
# Changes mostly come in a row that ends with a process being made: nothing slow before its exec.
QUIET = 0.003  # seconds without a further change
LONGEST = 0.02  # seconds after the first change
WRITE_AGAIN = 1.0  # seconds after a write that failed


@dataclass(frozen=True, slots=True)
class Reported:
    """What the status is about."""

    environment: Environment
    binary: Binary
    domains: Domains
    source: SourceSync
    coordinator: Coordinator
    revisions: Revisions
    unmanaged: Callable[[], tuple[UnmanagedProcess, ...]]


class StatusPublisher:
    """Owns status.json, and the value that requests read."""

    def __init__(self, reported: Reported) -> None:
        self._reported = reported
        self._directory = reported.environment.settings.state
        self._started = timestamp()
        self._parts: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._first = 0.0  # the loop's time of the first change that is not written
        self._next = 0.0  # the loop's time from which on it may be written again
        self._total_memory = memory.total()
        self._source_since: Since = {}
        self._machine_id = _read("/etc/machine-id")
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False
        self.sequence = 0
        self.problem = ""
        self._shown_error = ""
        reported.environment.journal.subscribe(self._event)

    def changed(self, uuid: str = "") -> None:
        """The status of a domain is another one (or that of the source): write soon."""
        if self._closed:
            return
        self._dirty.add(uuid)
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None:
            self._first = now
        else:
            self._timer.cancel()
        at = max(min(now + QUIET, self._first + LONGEST), self._next)
        self._timer = loop.call_at(at, self.write)

    async def next(self) -> None:
        """Wait until the next status is published."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def write(self) -> None:
        """Write it now; a full disk is reported in the log, and it is written again later."""
        loop = asyncio.get_running_loop()
        self._cancel()
        begun = time.perf_counter()
        journal = self._reported.environment.journal
        self._judge_revision()
        self.sequence += 1
        if journal.full:
            journal.retry()
        try:
            self._reported.environment.reached(Point.STATUS)
            status.write(self._directory, self.value())
            self.problem = ""
            self._reported.domains.save_again()
        except OSError as error:
            if not self.problem:
                journal.write(
                    "state.unwritable", severity="error", reason="StateUnwritable",
                    error=str(error))
            self.problem = str(error)
        written, self._shown_error = self._shown_error, self.state_error
        if not self._closed and (self.state_error or written):
            # Until the file on disk says that it is over, too.
            self._cancel()
            self._timer = loop.call_later(WRITE_AGAIN, self.write)
        self._next = loop.time() + SHARE * (time.perf_counter() - begun)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    @property
    def state_error(self) -> str:
        """Why the state directory does not take everything; empty while it does."""
        environment = self._reported.environment
        unsaved = "records of domains could not be saved" if environment.unsaved else ""
        return self.problem or environment.journal.full or environment.store.problem or unsaved

    def _event(self, _event: dict[str, Any]) -> None:
        """Publish it when the journal cannot be written any more."""
        if self._timer is None and self.state_error:
            self.changed()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Write the last status, and no more after it."""
        self._closed = True
        self.write()

    def _judge_revision(self) -> None:
        """Note the result of the newest revision once every domain has settled."""
        reported, source = self._reported, self._reported.source
        revisions, state = reported.revisions, source.state
        if revisions.open and state.complete and not state.unfinished and not source.source.busy:
            states = [c.state for c in reported.domains]
            revisions.judge(unsettled(states, source.leaving),
                            failing(states, source.held,
                                    [(r.file, r.name) for r in state.rejected]),
                            len(states))
        revisions.save()

    def value(self) -> dict[str, Any]:
        """The whole status."""
        reported = self._reported
        for uuid in self._dirty:
            self._parts.pop(uuid, None)
        self._dirty.clear()
        self._parts = {c.uuid: self._parts.get(c.uuid) or domain_status(
            c.state, reported.coordinator.dependencies(c.state), reported.environment.clocks())
            for c in reported.domains}
        domains = sorted(self._parts.values(), key=lambda part: str(part["name"]))
        return {
            "apiVersion": "reconciler/v1", "kind": "Status", "generatedAt": timestamp(),
            "sequence": self.sequence, "reconciler": self._reconciler(), "host": self._host(),
            "source": self._source(), "summary": status.summary(domains),
            "approvals": [a.value for a in reported.source.approvals()], "domains": domains,
            "unmanaged": [one.value for one in reported.unmanaged()],
        }

    def _reconciler(self) -> dict[str, Any]:
        every = self._reported.environment.settings.reconcile.heartbeat
        return {"version": __version__, "pid": os.getpid(), "startedAt": self._started,
                "stateError": self.state_error or None,
                "watcher": "polling" if self._reported.source.source.polling else "inotify",
                "heartbeatEvery": f"{every:g}s"}

    def _host(self) -> dict[str, Any]:
        binary, coordinator = self._reported.binary, self._reported.coordinator
        limit, taken = coordinator.limits.memory, coordinator.memory
        return {"name": platform.node(), "machineId": self._machine_id,
                "arch": self._reported.environment.settings.arch,
                "kvm": os.path.exists("/dev/kvm"),
                "hypervisor": {"path": binary.path, "version": binary.version,
                               "simulated": binary.simulated},
                "memoryBytes": {"total": self._total_memory, "reserved": taken,
                                "available": None if limit is None else max(0, limit - taken)}}

    def _source(self) -> dict[str, Any]:
        sync, now = self._reported.source, self._reported.environment.clocks()
        described, leaving = sync.source.describe(), sync.leaving
        conditions = source_conditions(sync.state, described, sync.source.stale_after, now)
        self._source_since = since_of(self._source_since, conditions, timestamp(now.wall))
        settling = {c.name for c in self._reported.domains if c.uuid in leaving}
        return source_status(
            sync.state, described, conditions, self._source_since,
            history=self._reported.revisions.value,
            settling=sorted(settling | set(sync.state.unfinished)))


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip() or None
    except OSError:
        return None
