"""Runs system calls on files that may never return, outside the event loop.

Each owner (a domain, the source) has a worker of its own, which makes one call after the other: one
that hangs keeps only its owner waiting, and takes one thread, however often it is asked for again.
A thread that hangs on a remote file system cannot be ended, and keeps its whole process from
ending; such paths are looked at by the helper process (helper.py), which may stay behind.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.errors import HostError
from reconciler.host.mounts import Mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconciler.host.helper import Helper

PATIENCE = 5.0  # seconds that calls which belong together may take
_T = TypeVar("_T")


class Unanswered(HostError):
    """A path did not answer in time; what is there is unknown."""

    reason = "StorageTimeout"


@dataclass(frozen=True, slots=True)
class Call:
    """`touches`: the paths that it looks at; then it and its result can be pickled."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    touches: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    """Calls that belong together, while a thread or the helper makes them."""

    calls: Sequence[Call]
    since: float  # time of day
    results: list[Any] = field(default_factory=list)
    remote: str = ""  # the path of the call that is being made, if one is remote

    @property
    def path(self) -> str:
        """What is being looked at."""
        at = self.calls[min(len(self.results), len(self.calls) - 1)]
        return self.remote or (at.touches[0] if at.touches else "the host")

    def local(self) -> bool:
        """Make them (in a thread) up to one that touches a remote path; whether all are made."""
        mounts: Mounts | None = None
        while len(self.results) < len(self.calls):
            call = self.calls[len(self.results)]
            if call.touches:
                mounts = mounts or Mounts.now()
                self.remote = next(filter(mounts.remote_kind, call.touches), "")
                if self.remote:
                    return False
            self.results.append(call.function(*call.arguments))
        return True


class Worker:
    """Makes the calls of one owner. `answered`: a call that had hung has ended.

    `helper` is shared by all workers. `patience`: seconds that a call may take.
    """

    def __init__(self, helper: Helper, answered: Callable[[], None] = lambda: None,
                 patience: float = PATIENCE) -> None:
        self._helper = helper
        self._answered = answered
        self._patience = patience
        self._threads = DaemonThreads()
        self._turn = asyncio.Lock()
        self._work: _Work | None = None
        self._hung = False

    async def run(self, calls: Iterable[Call],
                  unused: Callable[[list[Any]], None] = lambda _results: None, *,
                  limited: bool = True) -> list[Any]:
        """Make the calls; their results. Raises the exception of one, and Unanswered.

        `unused` gets the results if they come after this call was given up. `limited`: they may
        take no longer than `patience`.
        """
        work = _Work(tuple(calls), 0.0)
        if not work.calls:
            return []
        if self._hung:
            raise self._unanswered()
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            self._hung = True
            raise self._unanswered() from None
        work.since, self._work = time.time(), work
        done = asyncio.ensure_future(self._make(work))
        done.add_done_callback(self._ended)
        taken = False
        try:
            await asyncio.wait({done}, timeout=self._patience if limited else None)
            taken = done.done()
        finally:
            if not taken:
                done.add_done_callback(lambda _: _given(done, unused))
        if not taken:
            self._hung = True
            raise self._unanswered()
        return done.result()

    async def call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Make one call that touches no path of a user, and ends by itself."""
        found: _T
        found, = await self.run([Call(function, arguments)], limited=False)
        return found

    async def _make(self, work: _Work) -> list[Any]:
        loop = asyncio.get_running_loop()
        while not await loop.run_in_executor(self._threads, work.local):
            call = work.calls[len(work.results)]
            work.results.append(await self._helper.run(call.function, call.arguments))
        return work.results

    def _ended(self, _: asyncio.Future[list[Any]]) -> None:
        self._turn.release()
        if self._hung:
            self._hung, self._work = False, None
            self._answered()

    def _unanswered(self) -> Unanswered:
        work = self._work
        path, since = (work.path, work.since) if work is not None else ("the host", time.time())
        at = time.strftime("%H:%M:%S", time.localtime(since))
        return Unanswered(f"{path} does not answer since {at}",
                          hint="tried again as soon as it answers; check its file system")


def _given(done: asyncio.Future[list[Any]], unused: Callable[[list[Any]], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        unused(done.result())


class DaemonThreads(ThreadPoolExecutor):
    """A thread for each call, which the end of the process does not wait for.

    The pool of asyncio has a few threads for everything, and is waited for at the end.
    """

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Run it in a thread of its own. Where none can be made, the result is an OSError."""
        future: Future[_T] = Future()

        def work() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # raised again where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(result)

        future.set_running_or_notify_cancel()
        try:
            threading.Thread(target=work, daemon=True, name="call").start()
        except RuntimeError as error:
            future.set_exception(OSError(errno.EAGAIN, str(error)))
        return future

    def shutdown(self, *_: object, **__: object) -> None:
        """Nothing is waited for."""
