"""Announces the results of revisions to the command and the webhook of source.post_sync."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

from reconciler.report import webhook_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.rollout.revisions import Outcome
    from reconciler.report.events import Journal
    from reconciler.settings import Settings


class Announcer:
    """One after the other. A newer outcome of the same revision replaces one that waits."""

    def __init__(self, settings: Settings, journal: Journal, where: str,
                 announced: Callable[[Outcome], None]) -> None:
        self._settings = settings
        self._journal = journal
        self._where = where
        self._announced = announced
        self._waiting: dict[str, Outcome] = {}
        self._new = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether there is a command or a webhook."""
        target = self._settings.source.post_sync
        return bool(target.command or target.webhook)

    def announce(self, outcome: Outcome) -> None:
        """Announce this one, soon."""
        if self.wanted:
            self._waiting.pop(outcome.revision, None)
            self._waiting[outcome.revision] = outcome
            self._new.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._new.wait()
            self._new.clear()
            await self.flush()

    async def flush(self) -> None:
        """Announce what waits."""
        while self._waiting:
            outcome = self._waiting.pop(next(iter(self._waiting)))
            for way, announce in (("command", self._run), ("webhook", self._send)):
                try:
                    await announce(outcome)
                except webhook_sender.SendFailed as error:
                    self._journal.write("notification.failed", severity="warning", target=way,
                                        revision=outcome.revision, reason="NotificationFailed",
                                        error=str(error))
            self._announced(outcome)

    def _value(self, outcome: Outcome) -> dict[str, str]:
        commit = outcome.revision.rpartition("sha1:")[2] if "sha1:" in outcome.revision else ""
        return {**outcome.value, "commit": commit, "source": self._where,
                "host": platform.node()}

    async def _run(self, outcome: Outcome) -> None:
        target = self._settings.source.post_sync
        if target.command:
            await webhook_sender.run(target.command, self._value(outcome), target.timeout)

    async def _send(self, outcome: Outcome) -> None:
        target = self._settings.source.post_sync
        if target.webhook:
            secret = webhook_sender.read_secret(self._settings.base / target.secret_file
                                      if target.secret_file else None)
            await webhook_sender.send(target.webhook, self._value(outcome), secret, target.timeout)
