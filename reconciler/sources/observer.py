"""A watchdog observer on inotify that reports when it misses events.

It uses watchdog's public interface (`BaseObserver`, `EventEmitter`, the event classes), and
asyncinotify to read from the kernel. watchdog's own inotify emitter would hold back a rename out of
the directory for half a second together with everything after it, report a rename from elsewhere
as a creation, and be silent when the kernel drops events (docs/decisions/0012).
"""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING

from asyncinotify import Inotify, Mask
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
)
from watchdog.observers.api import BaseObserver, EventEmitter

if TYPE_CHECKING:
    from asyncinotify import Event

# Not opening, reading or writing: only what finishes a change.
_MASK = (Mask.CLOSE_WRITE | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
         | Mask.DELETE_SELF | Mask.ONLYDIR | Mask.DONT_FOLLOW)


class EventsLost(FileSystemEvent):
    """The kernel's queue overflowed: any number of events is missing."""

    event_type = "lost"
    is_directory = True


class _Emitter(EventEmitter):
    """Reads the events of one directory, in a thread of its own.

    It ends by itself when the directory is deleted or unmounted. The two ends of a rename are
    reported at once and separately, each as a move whose other path is empty.
    """

    def on_thread_start(self) -> None:
        """Begin to watch, in the thread of the caller; raises OSError."""
        self._inotify = Inotify(sync_timeout=0)
        try:
            self._inotify.add_watch(os.fsdecode(self.watch.path), _MASK)
        except OSError:
            self._inotify.close()
            raise
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._ended = False

    def on_thread_stop(self) -> None:
        """Wake the thread, so that it ends."""
        with self._lock:  # once closed, the descriptor's number may be that of another file
            if not self._ended:
                os.eventfd_write(self._stopping, 1)

    def run(self) -> None:
        """The thread."""
        try:
            super().run()
        finally:
            with self._lock:
                self._ended = True
                self._inotify.close()
                os.close(self._stopping)

    def queue_events(self, timeout: float) -> None:
        """Wait until there are events or the thread is to stop; queue the events."""
        waiting = select.poll()
        for descriptor in (self._inotify.fd, self._stopping):
            waiting.register(descriptor, select.POLLIN)
        waiting.poll()
        while self.should_keep_running() and (event := self._inotify.sync_get()) is not None:
            self._queue(event)

    def _queue(self, event: Event) -> None:
        mask, is_directory = event.mask, Mask.ISDIR in event.mask
        directory = os.fsdecode(self.watch.path)
        if Mask.Q_OVERFLOW in mask:
            self.queue_event(EventsLost(directory))
        elif mask & (Mask.DELETE_SELF | Mask.IGNORED):
            self.queue_event(DirDeletedEvent(directory))
            self.stop()
        else:
            path = os.path.join(directory, str(event.name or ""))
            if Mask.CLOSE_WRITE in mask:
                self.queue_event(FileClosedEvent(path))
            elif Mask.CREATE in mask:
                self.queue_event((DirCreatedEvent if is_directory else FileCreatedEvent)(path))
            elif Mask.DELETE in mask:
                self.queue_event((DirDeletedEvent if is_directory else FileDeletedEvent)(path))
            else:
                ends = (path, "") if Mask.MOVED_FROM in mask else ("", path)
                self.queue_event((DirMovedEvent if is_directory else FileMovedEvent)(*ends))


class Observer(BaseObserver):
    """Calls the handlers of the scheduled directories, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__(_Emitter)

    @property
    def sound(self) -> bool:
        """Whether no thread has ended except those of directories that are gone."""
        return self.is_alive() and all(
            emitter.is_alive() or not emitter.should_keep_running() for emitter in self.emitters)

    @property
    def watching(self) -> bool:
        """Whether every scheduled directory is still there and watched."""
        return all(emitter.should_keep_running() for emitter in self.emitters)
