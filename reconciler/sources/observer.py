"""watchdog's inotify observer, as sources/watch.py needs it: it does not fail in silence.

When more happens than the kernel keeps, it drops events and says so; watchdog does nothing about
that where it watches single directories. And it has threads of its own, of which any may end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import InotifyEvent, InotifyFD

if TYPE_CHECKING:
    from collections.abc import Callable


class _Reader(InotifyFD):
    """Reads the kernel's events; tells when some were dropped."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__()
        self._lost = lost

    def handle_event(self, event: InotifyEvent) -> None:
        """In this thread."""
        super().handle_event(event)
        if event.is_queue_overflow:
            self._lost()


class Observer(BaseObserver):
    """Full events: what is renamed into place from elsewhere is a move, not a creation."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._reader = _Reader(lost)
        self._reader.start()
        super().__init__(InotifyFullEmitter, inotify_fd=self._reader)

    @property
    def sound(self) -> bool:
        """Whether every thread runs that nobody has ended; one does when its directory goes."""
        return self.is_alive() and self._reader.is_alive() and all(
            emitter.is_alive() or not emitter.should_keep_running() for emitter in self.emitters)

    def on_thread_stop(self) -> None:
        """End the reader, too."""
        super().on_thread_stop()
        self._reader.stop()
        self._reader.join()
