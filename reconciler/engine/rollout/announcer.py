"""Takes what became of revisions to the operator's command and webhook, one after the other."""

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
    """Owned by the loop as a task. A newer outcome of the same revision replaces one that waits."""

    def __init__(self, settings: Settings, journal: Journal, where: str,
                 told: Callable[[Outcome], None]) -> None:
        self._settings = settings
        self._journal = journal
        self._where = where
        self._told = told
        self._waiting: dict[str, Outcome] = {}
        self._new = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told."""
        told = self._settings.source.post_sync
        return bool(told.command or told.webhook)

    def tell(self, outcome: Outcome) -> None:
        """Tell this one, soon."""
        if self.wanted:
            self._waiting.pop(outcome.revision, None)
            self._waiting[outcome.revision] = outcome
            self._new.set()

    async def forever(self) -> None:
        """Tell one after the other."""
        while True:
            await self._new.wait()
            self._new.clear()
            await self.flush()

    async def flush(self) -> None:
        """Tell what waits."""
        while self._waiting:
            outcome = self._waiting.pop(next(iter(self._waiting)))
            for way, told in (("command", self._run(outcome)), ("webhook", self._send(outcome))):
                try:
                    await told
                except webhook_sender.SendFailed as error:
                    self._journal.write("notification.failed", severity="warning", target=way,
                                        revision=outcome.revision, reason="NotificationFailed",
                                        error=str(error))
            self._told(outcome)

    def _value(self, outcome: Outcome) -> dict[str, str]:
        commit = outcome.revision.rpartition("sha1:")[2] if "sha1:" in outcome.revision else ""
        return {**outcome.value, "commit": commit, "source": self._where,
                "host": platform.node()}

    async def _run(self, outcome: Outcome) -> None:
        told = self._settings.source.post_sync
        if told.command:
            await webhook_sender.run(told.command, self._value(outcome), told.timeout)

    async def _send(self, outcome: Outcome) -> None:
        told = self._settings.source.post_sync
        if told.webhook:
            secret = webhook_sender.read_secret(self._settings.base / told.secret_file
                                      if told.secret_file else None)
            await webhook_sender.send(told.webhook, self._value(outcome), secret, told.timeout)
