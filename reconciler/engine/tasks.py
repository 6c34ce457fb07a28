"""The tasks of the daemon: each has an owner that sees its exception.

An essential task that ends takes the daemon down with its exception; any other is reported, and the
rest goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Tasks:
    """`fault` gets the exception of a task that is not essential, and the task's name."""

    def __init__(self, fault: Callable[[str, Exception], None]) -> None:
        self._fault = fault
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._error: BaseException | None = None  # of an essential task that ended before `wait`

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run it until it ends; an exception is reported."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def spawn_essential(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run it as long as the daemon runs: its end, or its exception, ends `wait`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._essential_ended)

    async def wait(self, over: asyncio.Event) -> None:
        """Until `over` is set; raises the exception of an essential task."""
        if self._error is not None:
            raise self._error
        self._failed = asyncio.get_running_loop().create_future()
        stop = asyncio.create_task(over.wait())
        waits: set[asyncio.Future[Any]] = {stop, self._failed}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stop.cancel()
            self._failed = None

    async def close(self) -> None:
        """Cancel all of them, and wait until they have ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fault(task.get_name(), error)

    def _essential_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception() or RuntimeError(f"the task {task.get_name()} ended")
        if self._failed is None:
            self._error = self._error or error
        elif not self._failed.done():
            self._failed.set_exception(error)
