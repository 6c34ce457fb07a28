"""From the source to the domains: each look reads a complete listing, and updates every domain.

Level-triggered: each look is complete and forgets nothing; it does not matter what woke it.
Failures of the source are retried with a backoff of their own, and stop no VM (rule 3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.backoff import Backoff
from reconciler.engine.decide.events import DefinitionAccepted, DefinitionRejected
from reconciler.engine.decide.identity import owners_of_rejected
from reconciler.engine.decide.prune_evidence import Rules
from reconciler.engine.decide.state import EXPANDED, StoredDefinition
from reconciler.engine.decide.state import as_text as file_text
from reconciler.engine.source.absences import AbsenceTracker, Look
from reconciler.engine.source.approvals import REWIND, Approval, approvals
from reconciler.engine.source.loader import in_force
from reconciler.engine.source.root_check import REPLACED, RootCheck
from reconciler.engine.source.unclear import UnclearFiles
from reconciler.errors import SourceError
from reconciler.failpoints import Point
from reconciler.sources.listing import DEFAULTS
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from reconciler.engine.control.environment import Environment
    from reconciler.engine.decide.inputs import Now
    from reconciler.engine.decide.state import DomainState
    from reconciler.engine.domains import Domains
    from reconciler.engine.source.loader import Definitions, InForce, Loader, Rejected
    from reconciler.sources.listing import Listing
    from reconciler.sources.source import Source

_RETRY = Backoff(1.0, 300.0)
_REFUSED = (REWIND, "VerificationFailed")  # the revision could be read, and is not accepted


@dataclass(frozen=True, slots=True)
class SourceState:
    """What the last looks saw. Times are RFC 3339."""

    error: SourceError | None = None
    last_attempt: str = ""
    last_success: str = ""
    files: int = 0
    revision: str = ""
    remark: str = ""
    rejected: tuple[Rejected, ...] = ()
    elsewhere: tuple[str, ...] = ()  # files of domains that are assigned to another host
    unfinished: frozenset[str] = frozenset()  # files of the last look that are being written
    complete: bool = False  # a complete listing was seen
    attempted: bool = False  # the source was looked at, and was read or failed
    looks: int = 0  # the number of the last look that ended, with any outcome
    handled: int = 0  # how many of them read the source


@dataclass(frozen=True, slots=True)
class SourceListeners:
    """Who hears of what: a new revision; a change of the status; domains that may start now."""

    accepted: Callable[[str], None]
    changed: Callable[[], None]
    start_allowed: Callable[[], None]


class SourceSync:
    """Keeps the definitions of all domains as the source has them."""

    def __init__(self, source: Source, loader: Loader, environment: Environment,
                 domains: Domains, listeners: SourceListeners) -> None:
        prune = environment.settings.prune
        self.source = source
        self.state = SourceState()
        self.begun = 0  # looks that have begun
        self._loader = loader
        self._environment = environment
        self._domains = domains
        self._listeners = listeners
        self._settle = environment.settings.source.settle
        self._rules = Rules(prune.enabled, prune.settle, prune.hold_above, prune.hold_minimum)
        self._absences = AbsenceTracker(domains, self._rules)
        self._failures = 0
        self._unjudged: frozenset[str] = frozenset()
        self._unclear = UnclearFiles(environment.settings.state / "unclear.json")
        self._reported: dict[tuple[str, str | None], str] = {}
        self._reported_held: dict[str, str] = {}
        self._root = RootCheck(source, domains)
        self._without_defaults: float | None = None  # since when the defaults are missing
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    # When to look

    def wake(self, delay: float = 0.0) -> None:
        """Look at the source in `delay` seconds."""
        if delay <= 0:
            self._woken.set()
        elif self._loop is not None:
            self._loop.call_later(delay, self._woken.set)

    def wake_from_thread(self, delay: float) -> None:
        """The same, called by a thread that watches files."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake, delay)

    def ask(self) -> None:
        """A user wants the newest revision now, not when it is due."""
        self.source.ask()
        self.wake()

    def start(self) -> None:
        """Begin to watch the source; before `run`, so that no change is missed."""
        self._loop = asyncio.get_running_loop()
        self.source.start(self.wake_from_thread)

    async def run(self) -> None:
        """Look whenever woken, and when something was left to look at later."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            again = await self.look()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(again, self._woken.set)
            await self._woken.wait()

    async def once(self) -> None:
        """For `run --once`: look, and again where a file or an absence has to settle first."""
        await self.source.refresh()
        again = await self.look()
        longest = max(self._rules.settle, self._settle) + 0.1
        while (self._absences.any_missing or self.state.unfinished) and not self._absences.held:
            if again > longest:
                return
            await asyncio.sleep(again)
            again = await self.look()
            if self._absences.all_believed and not self.state.unfinished:
                return

    # A look

    async def look(self) -> float:
        """One look; returns seconds until the next is due."""
        attempt, self.begun = timestamp(), self.begun + 1
        number = self.begun
        try:
            listing = await self.source.look()
            if listing is not None:
                await self._read_ahead(listing)
        except SourceError as error:
            self._looked(attempt, number)
            return self._source_failed(error)
        self._looked(attempt, number)
        return self._environment.resync() if listing is None else self._take(listing)

    async def _read_ahead(self, listing: Listing) -> None:
        """Parsing takes a while where much has changed."""
        try:
            await asyncio.to_thread(self._loader.read_ahead, listing,
                                    {kept.file for kept in self._in_force().values()})
        except OSError as error:  # there is no room for a thread
            raise SourceError(f"the files cannot be read: {error.strerror}") from error

    def _looked(self, attempt: str, number: int) -> None:
        self.state = replace(self.state, last_attempt=attempt, looks=number)

    def _take(self, listing: Listing) -> float:
        now = self._environment.now()
        try:
            approved = self._root.check(listing, now)
        except SourceError as error:
            return self._source_failed(error)
        self._source_read(listing)
        rest = self._defaults_rest(listing, now)
        if rest is None:
            present = self._define(self._load(listing), listing, now)
            present |= self._owners_of_files(listing.unfinished)
        else:  # no file means anything for certain: the last definitions stay in force (rule 3)
            present = self._owners_of_files({*listing.files, *listing.unreadable,
                                             *listing.unfinished})
        writing = rest is not None or bool(listing.unfinished)
        doubt = listing.doubt if rest is None else f"{DEFAULTS} is missing"
        reason = REPLACED if self._root.missing else "Incomplete"
        self._absences.note(Look(present, doubt or self._root.doubt, self._unclear.since, writing,
                                 reason), now)
        self._absences.approve(approved)
        self._report_held()
        self.state = replace(self.state, unfinished=listing.unfinished,
                             handled=self.state.handled + 1)
        self._allow_starts(now)
        self._listeners.changed()
        waits = [self._environment.resync(), listing.again_in, rest, self._absences.next_look(now)]
        return min(wait for wait in waits if wait is not None) + 0.005

    def _load(self, listing: Listing) -> Definitions:
        return self._loader.definitions(listing, self._in_force())

    def _in_force(self) -> dict[str, InForce]:
        return {c.uuid: in_force(c.state) for c in self._domains}

    def _defaults_rest(self, listing: Listing, now: Now) -> float | None:
        """Seconds that the defaults must rest before any file is judged; None where they need not.

        A file that is replaced by some tools is gone for a moment; without its defaults, each
        domain would be another one.
        """
        if DEFAULTS in listing.unfinished:
            return listing.again_in or self._settle
        there = DEFAULTS in listing.files or DEFAULTS in listing.unreadable
        if there or listing.commit or not any(_had_defaults(c.state) for c in self._domains):
            self._without_defaults = None
            return None
        if self._without_defaults is None:
            self._without_defaults = now.clock
        rest = self._without_defaults + self._rules.settle - now.clock
        return rest if rest > 0 else None

    # The source itself

    def _source_failed(self, error: SourceError) -> float:
        self._report_trouble(error)
        self._absences.forget_evidence()
        self._listeners.changed()
        self._allow_starts(self._environment.now())
        self._failures += 1
        return _RETRY.delay(self._failures, self._environment.now().jitter)

    def _report_trouble(self, error: SourceError) -> None:
        before = self.state.error
        if before is None or str(before) != str(error):
            event = "source.rejected" if error.reason in _REFUSED else "source.failed"
            self._environment.journal.write(event, severity="error", reason=error.reason,
                                            error=str(error), hint=error.hint)
        self.state = replace(self.state, error=error)

    def _source_read(self, listing: Listing) -> None:
        """The listing is complete; with `trouble`, it is the last accepted one (rule 3)."""
        before, journal = self.state, self._environment.journal
        news = listing.commit and listing.commit != before.revision
        back = listing.trouble is None and (before.error is not None or not before.last_success)
        if news or back:
            journal.write("source.synced", files=len(listing.domain_files),
                          revision=listing.commit, message=self.source.where)
        if listing.trouble is not None:
            self._report_trouble(listing.trouble)
        else:
            self.state = replace(self.state, error=None, last_success=timestamp())
        self._failures = 0
        if listing.remark and listing.remark != before.remark:
            journal.write("source.remarked", severity="warning", message=listing.remark)
        self.state = replace(self.state, complete=True, files=len(listing.domain_files),
                             revision=listing.name, remark=listing.remark)
        if not listing.unfinished:
            self._listeners.accepted(listing.name)

    def _allow_starts(self, now: Now) -> None:
        """Domains may be started by the newest files, or by those that were accepted last."""
        unjudged = self._absences.unjudged(now)
        if not self.state.attempted or unjudged != self._unjudged:
            self.state, self._unjudged = replace(self.state, attempted=True), unjudged
            self._listeners.start_allowed()

    def start_allowed(self, uuid: str) -> bool:
        """Whether the source was looked at, and does not just miss the domain's file.

        A domain whose file is missing may be gone for good: it must not be started again.
        """
        return self.state.attempted and self._absences.judged(uuid, self._environment.now())

    # Definitions

    def _define(self, definitions: Definitions, listing: Listing, now: Now) -> set[str]:
        """Give every domain its definition; the uuids of those that have a file."""
        present: set[str] = set()
        for key, controller in self._domains.owners_of(definitions.accepted).items():
            domain = definitions.accepted[key]
            self._domains.accept(controller, DefinitionAccepted(
                now, domain, self._stored(key, controller.state, definitions, listing)))
            present.add(domain.uuid)
        unclear: dict[str, bytes | None] = {}
        writing = self._owners_of_files(listing.unfinished)
        for rejected in definitions.rejected:
            owners = self._owners(rejected, present | writing)
            for uuid in owners:
                controller = self._domains.known(uuid)
                controller.apply(DefinitionRejected(now, rejected.reason, rejected.message,
                                                    rejected.file))
            present |= owners
            self._report_rejected(rejected, bool(owners))
            if not owners and rejected.name is None and rejected.file != DEFAULTS:
                unclear[rejected.file] = listing.files.get(rejected.file)
        self._unclear.note(unclear, now.clock)
        self.state = replace(self.state, rejected=definitions.rejected,
                             elsewhere=definitions.elsewhere)
        rejected_now = {(rejected.file, rejected.name) for rejected in definitions.rejected}
        self._reported = {k: m for k, m in self._reported.items() if k in rejected_now}
        return present

    def _stored(self, key: str, state: DomainState, definitions: Definitions,
                listing: Listing) -> StoredDefinition:
        """The text of a definition; its revision is looked up only where it is a new one."""
        source = definitions.sources[key]
        note = {EXPANDED: source.note} if source.note else {}
        read_with = {**self._environment.host.keep(), **definitions.chosen[key], **note}
        text, file = file_text(source.data), source.domain.file
        kept = state.record.definition
        same = kept is not None and (kept.text, kept.file) == (text, file)
        revision = kept.revision if same and kept is not None else listing.revision_of(source.data)
        return StoredDefinition(text, file, revision, read_with)

    def _owners(self, rejected: Rejected, present: Collection[str]) -> set[str]:
        states = [c.state for c in self._domains]
        return owners_of_rejected(
            rejected.file, rejected.name, rejected.uuid,
            only_this_domain=rejected.only_this_domain, present=present,
            known={s.uuid: s.name for s in states},
            files={s.uuid: s.record.definition.file for s in states
                   if s.record.definition is not None})

    def _report_rejected(self, rejected: Rejected, owned: bool) -> None:
        """Report once a file that belongs to no domain; a domain reports its own."""
        key = (rejected.file, rejected.name)
        if not owned and self._reported.get(key) != rejected.message:
            self._environment.journal.write(
                "domain.invalid", severity="error", file=rejected.file, domain=rejected.name,
                reason=rejected.reason, error=rejected.message)
        self._reported[key] = rejected.message

    def _owners_of_files(self, files: Collection[str]) -> set[str]:
        """The domains whose definition in force is of these files."""
        return {c.uuid for c in self._domains if c.state.record.definition is not None
                and c.state.record.definition.file in files}

    # Removal

    @property
    def leaving(self) -> frozenset[str]:
        """The uuids of domains without a file of which something comes by itself."""
        return self._absences.leaving

    @property
    def held(self) -> dict[str, str]:
        """Removals that need an approval: names by uuid."""
        return self._absences.held

    def _report_held(self) -> None:
        held = self._absences.held
        found = next((a for a in self.approvals() if a.kind == "MassRemoval"), None)
        if found is not None and held != self._reported_held:
            self._environment.journal.write(
                "prune.held", severity="warning", reason="MassRemoval",
                domains=sorted(held.values()), token=found.token,
                hint=f"`reconciler approve {found.token}` removes them, or the files come back")
        self._reported_held = held

    def approvals(self) -> list[Approval]:
        """What waits for a user's approval."""
        return approvals(self.source.rewind, self._absences.held, self._root.missing, self._domains)

    def approve(self, token: str | None) -> list[str]:
        """Approve what waits under this token (everything, without); what that was, in words."""
        chosen = [a for a in self.approvals() if token in (None, a.token)]
        uuids = {uuid: name for approval in chosen for uuid, name in approval.domains.items()}
        names = sorted(uuids.values())
        self._environment.reached(Point.APPROVE)
        self._absences.approve(uuids)
        for approval in chosen:
            if approval.kind == REPLACED:
                self._root.approve(approval.domains)
        journal = self._environment.journal
        if names:
            journal.write("prune.approved", domains=names, cause="approval")
        revisions = [approval.revision for approval in chosen if approval.revision]
        for revision in revisions:
            journal.write("source.approved", revision=revision, cause="approval", reason=REWIND)
            self.source.allow(revision)
        if chosen:
            self.wake()
        return [*names, *(f"revision {revision}" for revision in revisions)]


def _had_defaults(state: DomainState) -> bool:
    """Whether something of the defaults is in its definition."""
    kept = state.record.definition
    return kept is not None and DEFAULTS in kept.read_with.get(EXPANDED, "")

