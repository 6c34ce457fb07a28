"""heartbeat.json: a small file that is touched while the event loop runs and the source is watched.

systemd's watchdog is fed with it, where the unit asks for that.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from reconciler.host.systemd import Watchdog
from reconciler.report import status
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.report.events import Journal
    from reconciler.settings import Settings


class Heartbeat:
    """`watched`: whether changes of the source still reach the reconciler."""

    def __init__(self, settings: Settings, journal: Journal, watched: Callable[[], bool]) -> None:
        self._settings = settings
        self._journal = journal
        self._watched = watched

    async def run(self) -> None:
        """Until cancelled."""
        every, deaf = self._settings.reconcile.heartbeat, False
        watchdog = Watchdog.of(os.environ)
        while True:
            if self._watched():
                deaf = False
                watchdog.feed()
                self._beat(every)
            elif not deaf:
                deaf = True
                self._journal.write(
                    "source.failed", severity="error", reason="WatcherDied",
                    error="changes of the source are not noticed any more",
                    hint="restart the reconciler; until then the source is read every "
                         "reconcile.resync")
            await asyncio.sleep(min(every, watchdog.interval or every))

    def _beat(self, every: float) -> None:
        try:
            status.beat(self._settings.state, timestamp(), os.getpid(), every)
        except OSError as error:
            self._journal.write("state.unwritable", severity="warning", reason="StateUnwritable",
                                error=str(error))
