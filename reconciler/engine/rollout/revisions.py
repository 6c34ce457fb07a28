"""What became of each revision of the source: pending, success or failure.

A revision has its result when every domain is Ready or Stalled with it. The result is announced
once, and once more if a failure was corrected; what breaks later does not change it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.host.files import Sync, write_whole
from reconciler.report.events import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

KEPT = 20  # revisions


class Result(StrEnum):
    """As forges call the states of a commit."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    SUPERSEDED = "superseded"  # a newer one came before it was settled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a revision so far; `at` is when it was accepted."""

    revision: str
    at: str
    result: Result = Result.PENDING
    message: str = ""
    announced: bool = False  # to the command and the webhook of source.post_sync

    @property
    def value(self) -> dict[str, str]:
        """As the status has it."""
        return {"revision": self.revision, "at": self.at, "result": str(self.result),
                "message": self.message}


def judged(outcome: Outcome, waiting: Iterable[str], failing: Iterable[str],
           domains: int) -> Outcome:
    """The outcome by the domains that have not settled, and those that are not Ready."""
    waits, fails = sorted(waiting), sorted(failing)
    if outcome.result is Result.SUCCESS or (waits and outcome.result is Result.PENDING):
        return outcome
    if waits or (fails and outcome.result is Result.FAILURE):
        return outcome
    if fails:
        return replace(outcome, result=Result.FAILURE, announced=False,
                       message=f"not ready: {', '.join(fails)}")
    return replace(outcome, result=Result.SUCCESS, announced=False,
                   message=f"{domains} domains are ready")


class Revisions:
    """The newest ones, kept across restarts. `announce` gets each new outcome."""

    def __init__(self, state: Path, announce: Callable[[Outcome], None]) -> None:
        self._path = state / "revisions.json"
        self._announce = announce
        self._unsaved = False
        self._all = self._load()

    @property
    def newest(self) -> Outcome | None:
        """The one in force."""
        return self._all[-1] if self._all else None

    @property
    def open(self) -> bool:
        """Whether the newest one may still come to another result."""
        return self.newest is not None and self.newest.result is not Result.SUCCESS

    @property
    def value(self) -> list[dict[str, str]]:
        """As the status has them, the newest last."""
        return [outcome.value for outcome in self._all]

    def accept(self, revision: str) -> None:
        """The source is at this one."""
        newest = self.newest
        if newest is None or newest.revision != revision:
            if newest is not None and newest.result is Result.PENDING:
                self._all = (*self._all[:-1], replace(
                    newest, result=Result.SUPERSEDED, announced=False, message=f"by {revision}"))
                self._changed()
            self._all = (*self._all, Outcome(revision, timestamp()))[-KEPT:]
            self._changed()

    def judge(self, waiting: Iterable[str], failing: Iterable[str], domains: int) -> None:
        """Look whether the newest one has its result by now."""
        newest = self.newest
        if newest is None or newest.result is Result.SUCCESS:
            return
        found = judged(newest, waiting, failing, domains)
        if found != newest:
            self._all = (*self._all[:-1], found)
            self._changed()

    def note_announced(self, outcome: Outcome) -> None:
        """It was announced, and is not announced again after a restart."""
        self._all = tuple(replace(known, announced=True) if known == outcome else known
                          for known in self._all)
        self._unsaved = True
        self.save()

    def announce_again(self) -> None:
        """What the last run did not announce; only the newest where nothing ever was announced."""
        known = [number for number, outcome in enumerate(self._all) if outcome.announced]
        first = known[-1] + 1 if known else len(self._all) - 1
        for outcome in self._all[max(first, 0):]:
            self._announce(outcome)

    def _changed(self) -> None:
        self._unsaved = True
        self._announce(self._all[-1])

    def save(self) -> None:
        """Keep what is new; not at once, so that the VMs of a new commit do not wait for it."""
        if not self._unsaved:
            return
        self._unsaved = False
        values = [{**outcome.value, "told": outcome.announced} for outcome in self._all]
        with suppress(OSError):  # a full disk: it is announced all the same
            write_whole(self._path, json.dumps(values).encode(), Sync.CONTENT)

    def _load(self) -> tuple[Outcome, ...]:
        try:
            values: list[dict[str, Any]] = json.loads(self._path.read_bytes())
            return tuple(Outcome(v["revision"], v["at"], Result(v["result"]), v["message"],
                                 v["told"]) for v in values)
        except (OSError, ValueError, TypeError, KeyError):
            return ()
