"""The main loop: descriptors, timers and signals."""

import heapq
import os
import select
import signal
import time
from collections.abc import Callable

Reader = Callable[[int], None]
Action = Callable[[], None]


class Loop:
    """Waits for descriptors and deadlines; never wakes up periodically."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.readers: dict[int, Reader] = {}
        self.timers: list[tuple[float, int, Action]] = []
        self.count = 0
        self.running = True
        self.signal_number = 0

    def watch(self, handle: int, reader: Reader) -> None:
        """Call `reader` whenever the descriptor is readable or hung up."""
        self.readers[handle] = reader
        self.poll.register(handle, select.POLLIN)

    def unwatch(self, handle: int) -> None:
        """Stop watching the descriptor."""
        if self.readers.pop(handle, None):
            self.poll.unregister(handle)

    def later(self, seconds: float, action: Action) -> None:
        """Call `action` after so many seconds."""
        self.count += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.count, action))

    def catch_signals(self, ignored: bool, on_signal: Callable[[int], None]) -> None:
        """On SIGTERM, SIGINT and SIGHUP call `on_signal`, and end the loop unless ignored."""
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def handler(number: int, _frame: object) -> None:
            if not self.signal_number:
                on_signal(number)
                if not ignored:
                    self.signal_number = number
                    self.running = False

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, handler)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        self.watch(read_end, lambda _events: void(os.read(read_end, 512)))

    def run(self) -> None:
        """Run until `running` is false."""
        while self.running:
            wait = None
            if self.timers:
                wait = max(0.0, (self.timers[0][0] - time.monotonic()) * 1000)
            for handle, events in self.poll.poll(wait):
                reader = self.readers.get(handle)
                if reader:
                    reader(events)
            while self.running and self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()


def void(value: object) -> None:
    """Ignore a value."""
