"""From the source to the keepers: a listing in, every keeper told what its file says now.

Level-triggered: each look is complete and forgets nothing; what woke it does not matter. Failures
of the source have a patience of their own (1 s doubled to 5 min), and stop no VM (rule 3).
"""

from __future__ import annotations

import asyncio
import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.expand import expand
from reconciler.domain.numbers import as_text
from reconciler.engine.composition import admission, variables
from reconciler.engine.control.controller import DomainController, Fresh
from reconciler.engine.decide import prune_evidence
from reconciler.engine.decide.inputs import Removal
from reconciler.engine.records.store import EXPANDED, DomainRecord, StoredDefinition
from reconciler.engine.records.store import as_text as file_text
from reconciler.engine.source.loader import Definitions, Loader, Rejected
from reconciler.errors import SourceError
from reconciler.host.ports import free_on_host
from reconciler.report.events import timestamp
from reconciler.sources.kinds import KINDS
from reconciler.sources.listing import DEFAULTS

if TYPE_CHECKING:
    from reconciler.domain.model import Domain
    from reconciler.engine.daemon import Daemon
    from reconciler.sources.listing import Listing

PATIENCE, LONGEST_PATIENCE = 1.0, 300.0
REWIND = "NotFastForward"  # of an approval: a branch that was rewound
REJECTED = (REWIND, "VerificationFailed")  # it could be read, and is not taken


class SourceSync:
    """Keeps the keepers' definitions as the directory has them."""

    def __init__(self, owner: Daemon) -> None:
        settings = owner.settings
        self._owner = owner
        self.source = KINDS[settings.source.kind](settings)
        self.intake = Loader(owner.context.host, admission(settings), platform.node(), expand,
                             free_on_host, variables(settings))
        self.rules = prune_evidence.Rules(settings.prune.enabled, settings.prune.settle,
                                   settings.prune.hold_above, settings.prune.hold_minimum)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.error: SourceError | None = None
        self.failures = 0
        self.last_attempt = ""
        self.last_success = ""
        self.files = 0
        self.revision = ""
        self.remark = ""
        self.rejected: tuple[Rejected, ...] = ()
        self.elsewhere: tuple[str, ...] = ()
        self.held: dict[str, str] = {}  # uuid -> name of what the breaker holds
        self.complete = False  # one complete listing was seen
        self.looked = False  # the source was looked at, and was read or is in trouble
        self.looks = 0  # how many looks there were, whatever came of them
        self.handled = 0  # how many of them were complete, or could tell what they lack
        self._absences = prune_evidence.Absences()
        self._unjudged: frozenset[str] = frozenset()  # missing, and not yet for long enough
        self._settling: frozenset[str] = frozenset()  # of which the next look may know more
        self._blind: dict[str, float] = {}  # files that may be anybody's, since when
        self._told: dict[tuple[str, str | None], str] = {}
        self._without_defaults: float | None = None  # since when they are missing that some had
        self._wake = asyncio.Event()
        self.unfinished: frozenset[str] = frozenset()  # files of the last look that must rest
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, delay: float = 0.0) -> None:
        """Look at the source in `delay` seconds; from the loop's thread."""
        if delay <= 0:
            self._wake.set()
        elif self.loop is not None:
            self.loop.call_later(delay, self._wake.set)

    def ask(self) -> None:
        """Somebody wants what is newest, now."""
        self.source.ask()
        self.wake()

    async def forever(self) -> None:
        """Look whenever woken, and when something was left to look at later."""
        self.loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            again = self.look()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_later(again, self._wake.set)
            await self._wake.wait()

    async def once(self, *, settle: bool) -> None:
        """For `run --once`: look, and again where something has to rest first."""
        await self.source.refresh()
        again = self.look()
        while settle and (self._absences.since or self.unfinished) and not self.held and (
                again <= max(self.rules.settle, self._owner.settings.source.settle) + 0.1):
            await asyncio.sleep(again)
            again = self.look()
            if not any(k.removal is Removal.NONE for u, k in self._owner.keepers.items()
                       if u in self._absences.since) and not self.unfinished:
                break

    def look(self) -> float:
        """One look; returns seconds until the next is due."""
        self.last_attempt = timestamp()
        self.looks += 1
        try:
            listing = self.source.look()
        except SourceError as error:
            return self._source_failed(error)
        if listing is None:
            return self._owner.context.resync()
        self._source_back(listing)
        owner = self._owner
        in_force = {k.uuid: k.memory.definition.file for k in owner.keepers.values()
                    if k.memory.definition is not None}
        numbers = {k.uuid: found for k in owner.keepers.values() if (found := k.numbers)}
        held = {k.uuid: k.domain for k in owner.keepers.values() if k.domain is not None}
        now = owner.context.now().clock
        rest = self._defaults_rest(listing, now)
        if rest is None:
            definitions = self.intake.definitions(listing, in_force, numbers, held)
            present = self._tell_keepers(definitions, listing, now)
        else:  # no file means anything for certain: the last definitions stay (rule 3)
            present = self._owners_of({*listing.files, *listing.unreadable})
        present |= self._owners_of(listing.unfinished)
        self._remove(present, listing, now, sure=rest is None)
        self.unfinished = listing.unfinished
        self.handled += 1
        self._let_start()
        owner.publisher.changed("")
        waits = [owner.context.resync(), listing.again_in, rest,
                 prune_evidence.next_look(self._absences, self.rules, now)]
        return min(wait for wait in waits if wait is not None) + 0.005

    def _defaults_rest(self, listing: Listing, now: float) -> float | None:
        """How long the defaults must rest before any file is judged; None where they need not.

        A file that is replaced by some tools is gone for a moment; without its defaults, each
        domain would be another one.
        """
        if DEFAULTS in listing.unfinished:
            return listing.again_in or self._owner.settings.source.settle
        there = DEFAULTS in listing.files or DEFAULTS in listing.unreadable
        if there or listing.commit or not any(
                _had_defaults(keeper) for keeper in self._owner.keepers.values()):
            self._without_defaults = None
            return None
        if self._without_defaults is None:
            self._without_defaults = now
        rest = self._without_defaults + self.rules.settle - now
        return rest if rest > 0 else None

    # The source itself

    def _source_failed(self, error: SourceError) -> float:
        self._tell_trouble(error)
        self._absences, self._settling = replace(self._absences, since={}), frozenset()
        self._owner.publisher.changed("")
        self._let_start()
        self.failures += 1
        patience = min(PATIENCE * 2.0 ** min(self.failures - 1, 20), LONGEST_PATIENCE)
        return patience * self._owner.context.jitter()

    def _tell_trouble(self, error: SourceError) -> None:
        if self.error is None or str(self.error) != str(error):
            event = "source.rejected" if error.reason in REJECTED else "source.failed"
            self._owner.journal.write(event, severity="error", reason=error.reason,
                                      error=str(error), hint=error.hint)
        self.error = error

    def _source_back(self, listing: Listing) -> None:
        """All of it is known; with `trouble`, it is what was accepted last (rule 3)."""
        news = listing.commit and listing.commit != self.revision
        if news or (listing.trouble is None and (self.error is not None or not self.last_success)):
            self._owner.journal.write("source.synced", files=len(listing.domain_files),
                                      revision=listing.commit, message=self.source.where)
        if listing.trouble is not None:
            self._tell_trouble(listing.trouble)
        else:
            self.error = None
            self.last_success = timestamp()
        self.failures = 0
        self.complete = True
        self.files = len(listing.domain_files)
        self.revision = listing.name
        if listing.remark and listing.remark != self.remark:
            self._owner.journal.write("source.remarked", severity="warning",
                                      message=listing.remark)
        self.remark = listing.remark
        if not listing.unfinished:
            self._owner.revisions.accept(listing.name)

    def _let_start(self) -> None:
        """What may be started now and not before: by the newest files, or those accepted last."""
        unjudged = frozenset(u for u in self._absences.since if not self._judged(u))
        if not self.looked or unjudged != self._unjudged:
            self.looked, self._unjudged = True, unjudged
            self._owner.neighbours.wake_all()

    def listed(self, uuid: str) -> bool:
        """Whether the source was looked at, and the domain's file is no riddle.

        One that is missing just now may be gone for good: what ended with it must not come back.
        """
        return self.looked and self._judged(uuid)

    def _judged(self, uuid: str) -> bool:
        since = self._absences.since.get(uuid)
        return since is None or not self.rules.enabled or (
            since + self.rules.settle <= self._owner.context.now().clock)

    # Definitions

    def _tell_keepers(self, definitions: Definitions, listing: Listing, now: float) -> set[str]:
        """Give every keeper its definition; the uuids that a file speaks for."""
        keepers = self._owner.keepers
        names = {keeper.name: keeper for keeper in keepers.values()}
        present: set[str] = set()
        for key, domain in definitions.accepted.items():
            keeper = keepers.get(domain.uuid) or names.get(domain.name)
            if keeper is None:
                keeper = self._owner.keep(DomainRecord(domain.uuid, domain.name))
            self._define(keeper, domain, listing, self._text(key, definitions))
            present.add(domain.uuid)
        blind: dict[str, float] = {}
        for rejected in definitions.rejected:
            owners = self._owners(rejected, present)
            for uuid in owners:
                keepers[uuid].reject(rejected.reason, rejected.message, rejected.file)
            present |= owners
            self._tell_rejected(rejected, bool(owners))
            if not owners and rejected.name is None and rejected.file != DEFAULTS:
                blind[rejected.file] = self._blind.get(rejected.file, now)
        self._blind = blind
        self.rejected, self.elsewhere = definitions.rejected, definitions.elsewhere
        rejected_now = {(rejected.file, rejected.name) for rejected in definitions.rejected}
        self._told = {key: m for key, m in self._told.items() if key in rejected_now}
        return present

    def _text(self, key: str, definitions: Definitions) -> StoredDefinition:
        source = definitions.sources[key]
        more = {"numbers": as_text(definitions.numbers.get(key, {})), EXPANDED: source.note}
        return StoredDefinition(file_text(source.data), source.domain.file, "", {
            **self._owner.context.host.keep(),
            **{name: value for name, value in more.items() if value}})

    def _owners(self, rejected: Rejected, present: set[str]) -> set[str]:
        """Whose business a file is that is not accepted: of those that no good file is of."""
        named = {k.uuid for k in self._owner.keepers.values()
                 if k.uuid == rejected.uuid or k.name == rejected.name}
        whole = self._owners_of({rejected.file})
        if rejected.alone:
            return (named - present) or (whole - present)
        return (whole or named) - present

    def _define(self, keeper: DomainController, domain: Domain, listing: Listing,
                text: StoredDefinition) -> None:
        kept = keeper.memory.definition
        if kept is None or kept.text != text.text or kept.file != text.file or keeper.invalid or (
                keeper.domain is None or keeper.removal is not Removal.NONE):
            old = keeper.uuid
            keeper.define(Fresh(domain, replace(text, revision=listing.revision_of(text.data))))
            if keeper.uuid != old:
                self._owner.rename(old, keeper)
        elif keeper.domain != domain:
            # The same text means something else: the configuration's defaults changed.
            keeper.define(Fresh(domain, replace(kept, read_with=text.read_with)))
        else:
            keeper.domain = domain  # the same, but with the lines of the file, not of its own text

    def _tell_rejected(self, rejected: Rejected, owned: bool) -> None:
        """Say once what is wrong with a file that is nobody's; its owner tells its own."""
        key = (rejected.file, rejected.name)
        if not owned and self._told.get(key) != rejected.message:
            self._owner.journal.write("domain.invalid", severity="error", file=rejected.file,
                                      domain=rejected.name, reason=rejected.reason,
                                      error=rejected.message)
        self._told[key] = rejected.message

    def _owners_of(self, files: frozenset[str] | set[str]) -> set[str]:
        """Whose definition was last in these files."""
        return {k.uuid for k in self._owner.keepers.values()
                if k.memory.definition is not None and k.memory.definition.file in files}

    # Removal

    def _remove(self, present: set[str], listing: Listing, now: float, *, sure: bool) -> None:
        keepers = self._owner.keepers
        absent = {uuid for uuid in keepers if uuid not in present}
        self._absences = prune_evidence.seen(self._absences, absent, now)
        unsure = not sure or bool(listing.unfinished) or not listing.complete or (
            DEFAULTS in listing.unreadable)
        uncertain = {uuid for uuid in absent if unsure or any(
            since >= self._absences.since[uuid] for since in self._blind.values())}
        if not self.handled:  # what the breaker had before our restart, it still has
            kept = {uuid for uuid in absent if keepers[uuid].memory.prune_held}
            self._absences = replace(self._absences, held=frozenset(kept))
        verdicts, self._absences = prune_evidence.judge(self._absences, keepers.keys(), self.rules,
                                                        now)
        for uuid, keeper in keepers.items():
            keeper.prune_held(held=uuid in self._absences.held)
        for uuid in keepers.keys() - uncertain:
            # What was believed stays so until the file is back, whatever a later look cannot tell:
            # else what was stopped for good would be started again.
            verdict = verdicts.get(uuid) if uuid in absent else Removal.NONE
            if verdict is not None:
                keepers[uuid].judge(verdict, now)
        rests = not sure or bool(listing.unfinished)
        self._settling = frozenset(
            uuid for uuid in absent if self.rules.enabled and keepers[uuid].removal is Removal.NONE
            and (rests or self._absences.since[uuid] + self.rules.settle > now))
        held = {uuid: keepers[uuid].name for uuid, verdict in verdicts.items()
                if verdict is Removal.HELD}
        if held and held != self.held:
            token = prune_evidence.token(held)
            self._owner.journal.write("prune.held", severity="warning", reason="MassRemoval",
                                      domains=sorted(held.values()), token=token,
                                      hint=f"`reconciler approve {token}` removes "
                                           "them, or the files come back")
        self.held = held

    @property
    def rejecting(self) -> list[str]:
        """Files that are not accepted."""
        return [rejected.file for rejected in self.rejected]

    @property
    def absent(self) -> frozenset[str]:
        """The uuids of domains whose file is not there, while something comes of that by itself."""
        keepers = self._owner.keepers
        return self._settling | {uuid for uuid in self._absences.since
                                 if uuid in keepers and _goes(keepers[uuid])}

    def approve(self, token: str | None) -> list[str]:
        """Approve what waits under this token (all of it, without); in words, what that is."""
        chosen = [a for a in self.approvals() if token in (None, a["token"])]
        names = sorted(name for approval in chosen for name in approval["domains"])
        keys = [u for u, k in self._owner.keepers.items() if k.name in names]
        self._absences = prune_evidence.approve(self._absences, keys)
        if names:
            self._owner.journal.write("prune.approved", domains=names, cause="approval")
        rewinds = [str(a["revision"]) for a in chosen if a["kind"] == REWIND]
        for revision in rewinds:
            self._owner.journal.write("source.approved", revision=revision, cause="approval",
                                      reason=REWIND)
            self.source.allow(revision)
        if chosen:
            self.wake()
        return [*names, *(f"revision {revision}" for revision in rewinds)]

    def approvals(self) -> list[dict[str, Any]]:
        """What waits for somebody's word."""
        found: list[dict[str, Any]] = []
        rewind = self.source.rewind
        if rewind is not None:
            found.append({"token": f"r-{rewind[:7]}", "kind": REWIND, "domains": [],
                          "revision": rewind})
        if self.held:
            found.append({"token": prune_evidence.token(self.held), "kind": "MassRemoval",
                          "domains": sorted(self.held.values())})
        for uuid, keeper in self._owner.keepers.items():
            held = keeper.plan.condition("PruneHeld") if keeper.plan.conditions else None
            if held is not None and held.reason == "ConfirmRequired":
                found.append({"token": prune_evidence.token([uuid]), "kind": "ConfirmRequired",
                              "domains": [keeper.name]})
        return found


def _goes(keeper: DomainController) -> bool:
    """Whether its removal is under way, and waits for no window, no time and nobody's word."""
    decided = keeper.plan
    if keeper.removal not in (Removal.PROVEN, Removal.APPROVED) or not decided.conditions:
        return False
    waits = decided.ready.reason in ("WaitingForWindow", "ConfirmRequired", "HoldRequested")
    return bool(decided.steps or (decided.blocked and not waits)) and (
        decided.condition("Stalled") is None)


def _had_defaults(keeper: DomainController) -> bool:
    """Whether something of the defaults is in its definition."""
    kept = keeper.memory.definition
    return kept is not None and DEFAULTS in kept.read_with.get(EXPANDED, "")
