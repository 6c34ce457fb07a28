"""A loop whose time jumps to the next timer as soon as nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors


class _Jumping(selectors.DefaultSelector):
    loop: SimulatedLoop

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout:
            self.loop.passed += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 and costs nothing; what would run in a thread runs at once.

    A thread takes real time, in which the simulated time would jump: no run would be like another.
    """

    def __init__(self) -> None:
        self.passed = 0.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.passed

    def run_in_executor(self, executor, func, *args):
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done
