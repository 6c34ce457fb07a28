"""One poll of a git server: find the newest commit, check it, read its files, accept it.

The checks, in this order: the signature, whether the branch only moved forward, whether the
directory exists. A commit is in force once its record is on disk; a failure before that leaves the
last accepted one in force. The local clone is only a cache: if it is damaged or gone, it is cloned
again.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.errors import ConfigError, SourceError
from reconciler.sources import git_record
from reconciler.sources.git_clone import ACCEPTED, CANDIDATE, Clone, TooLarge
from reconciler.sources.git_program import LOCAL_LIMIT, Programs
from reconciler.sources.git_record import Accepted
from reconciler.sources.git_remote import Access, failure, own_remote, read_remote
from reconciler.sources.git_tree import Broken, Tree, TreeReader, revision_name
from reconciler.sources.git_verify import Verifier
from reconciler.sources.listing import Listing
from reconciler.units import timestamp

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.sources.git_remote import Remote

OLDEST_GIT = (2, 32)  # the first with GIT_CONFIG_GLOBAL, which keeps out users' configuration
CHANGES = 100  # accepted commits, each a pack of its own, until the clone is compacted
KEPT_DEPTH = 50  # commits that are kept then, enough to recognise most amended commits
_DEEPER = (("--deepen=50",), ("--deepen=1000",), ("--unshallow",))
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"(?![-/.])(?!.*(?:\.\.|//|@\{|/\.))[^\x00-\x20\x7f~^:?*\[\\]+(?<![/.])")
_RECORD, _CLONE = "accepted.json", "clone"


@dataclass(frozen=True, slots=True)
class Tip:
    """What the server reports for the ref: its full name, and the commit.

    `object` is the annotated tag if the ref is one, which may be replaced for the same commit.
    """

    name: str
    object: str
    commit: str

    @property
    def tag(self) -> str:
        """The tag's name, or nothing if the ref is not a tag."""
        return self.name.removeprefix("refs/tags/") if self.name.startswith("refs/tags/") else ""


class Repository:
    """The repository as the configuration names it, and what was accepted of it.

    One task at a time calls `load` and `look`.
    """

    def __init__(self, settings: Settings) -> None:
        source = settings.source
        self.home = settings.state / "git"
        self.ref = source.ref
        self.path = _inner_path(source.path)
        self._include = source.include
        self._forward_only = source.fast_forward_only
        self._max_size = source.max_size
        self._timeout = source.timeout
        self._programs = Programs(self.home, source.timeout)
        self._access = Access(settings, self.home)
        self._verifier = Verifier(settings, self._programs)
        if _REF.fullmatch(self.ref) is None:
            raise ConfigError(f"source.ref: {self.ref!r}; accepted: a branch, a tag, or a "
                              "full commit id")
        self._record = self.home / _RECORD
        self._clone = self._at(_CLONE)
        self.url = tuple(remote.shown for remote in self._access.remotes)
        self.answered = self._access.remotes[0]  # the remote that answered last
        self.accepted: Accepted | None = None
        self.listing: Listing | None = None
        self.rewind: str | None = None  # a rewound commit, until `allow` accepts it
        self.fetches = 0
        self._allowed = ""
        self._fetched = ""  # the object that the clone has as CANDIDATE
        self._too_large: tuple[str, TooLarge] | None = None
        self._blobs: dict[str, bytes] = {}  # contents of the listing in force, by object id

    def _at(self, name: str) -> Clone:
        return Clone(self.home / name, self._programs, self._access, self._max_size)

    def allow(self, commit: str) -> None:
        """Accept this one commit although it does not descend from the accepted one."""
        self._allowed = commit

    def try_again(self) -> None:
        """Also fetch once more what was too large, because a user or client asked."""
        self._too_large = None

    async def load(self) -> None:
        """Read what was accepted before a restart; raises SourceError."""
        self._programs.prepare()
        ran = await self._programs.run("git", "--version")
        version = re.search(rb"(\d+)\.(\d+)", ran.out)
        if version is None or (int(version[1]), int(version[2])) < OLDEST_GIT:
            raise SourceError(f"{ran.out.decode(errors='replace').strip() or 'git'} is too old; "
                              f"accepted: {'.'.join(map(str, OLDEST_GIT))} or newer",
                              reason="FetchFailed", hint="install a newer git")
        for name in ("fresh", "before"):  # a crash while one clone replaced another
            if not self._clone.exists and (self.home / name / "HEAD").exists():
                self._clone.remove()
                os.replace(self.home / name, self._clone.path)
        found = git_record.load(self._record)
        if found is None or not found.matches(self.url, self.ref, self.path):
            return
        self.accepted = found
        if self._clone.exists:
            with suppress(SourceError):  # the next look repairs the clone, or reports it
                self.listing = await self._read(found.commit, gone_is_empty=True)

    async def look(self) -> None:
        """Poll the server, and accept a new commit; raises SourceError."""
        remote, tip = await self._ask()
        self.answered = remote
        known = self.accepted
        if self.listing is not None and known is not None and known.commit == tip.commit and (
                known.mode == self._verifier.mode):
            self.rewind = None
            return
        try:
            await self._take(remote, tip)
        except Broken:
            await self._heal(remote, tip)
            await self._take(remote, tip)

    # What the server has

    async def _ask(self) -> tuple[Remote, Tip]:
        """The first remote that answers, and the ref there."""
        if _COMMIT.fullmatch(self.ref) and self.listing is not None and (
                self.accepted is not None and self.accepted.commit == self.ref):
            return self.answered, Tip(self.ref, self.ref, self.ref)
        errors: list[SourceError] = []
        for remote in self._access.remotes:
            limit = self._timeout / len(self._access.remotes)
            try:
                async with asyncio.timeout(limit):
                    return remote, await self._tip(remote)
            except SourceError as error:
                errors.append(error)
            except TimeoutError:
                errors.append(SourceError(f"{remote.shown}: no answer within {limit:g} s",
                                          reason="FetchFailed",
                                          hint="source.timeout is the limit"))
        raise SourceError("; ".join(map(str, errors)), reason=errors[0].reason,
                          hint=errors[0].hint)

    async def _tip(self, remote: Remote) -> Tip:
        ran = await self._programs.run(
            "git", "ls-remote", "--quiet", "--", remote.address, *_names(self.ref),
            *(f"{name}^{{}}" for name in _names(self.ref)),
            extra=self._access.reaching(remote))
        if ran.code != 0 or ran.cut:
            raise failure(remote, ran.errors, self._access.secrets(remote))
        if _COMMIT.fullmatch(self.ref):
            return Tip(self.ref, self.ref, self.ref)
        lines = (line.partition("\t") for line in ran.out.decode(errors="replace").splitlines())
        found = {name: number for number, _, name in lines if _COMMIT.fullmatch(number)}
        for name in _names(self.ref):
            if name in found:
                return Tip(name, found[name], found.get(f"{name}^{{}}", found[name]))
        raise SourceError(f"{remote.shown}: there is no branch or tag {self.ref}",
                          reason="FetchFailed", hint="source.ref is a branch, a tag, or a commit "
                          "id of 40 digits")

    # The checks

    async def _take(self, remote: Remote, tip: Tip) -> None:
        """Accept the commit of the ref; raises SourceError if a check fails."""
        if not self._clone.exists:
            await self._clone.make()
        self.rewind = None
        before = self.accepted
        if before is not None and self._fetched != tip.object and (
                not await self._clone.has(before.commit)):
            with suppress(SourceError):  # the server may have dropped it
                await self._fetch(self._clone, remote, before.commit, ACCEPTED, "--depth=1")
        if before is not None and self.listing is None and await self._clone.has(before.commit):
            with suppress(SourceError):  # accepted by an older version, which took it for empty
                self.listing = await self._read(before.commit, gone_is_empty=True)
        found, commit = await self._candidate(remote, tip)
        signer = await self._verifier.check(self._clone.path, found, commit, tip.tag)
        forward = await self._forward(remote, tip, commit)
        if not forward and await self._is_behind(remote, commit):
            return
        if not forward and self._forward_only and commit != self._allowed:
            self.rewind = commit
            raise _rewound(self.ref, commit, before)
        gone_is_empty = before is not None and forward
        tree = await self._tree(commit, gone_is_empty=gone_is_empty)
        if commit != self._allowed:
            await self._check_moved(commit, tree.listing)
        accepted = Accepted(
            self.url, self.ref, self.path, commit, timestamp(), self._verifier.mode,
            signer.by if signer else "", signer.name if signer else "",
            (before.changes if before else 0) + 1)
        await self._clone.point(ACCEPTED, commit)
        git_record.save(self._record, accepted)
        self.accepted, self.listing, self._blobs = accepted, tree.listing, tree.blobs
        self._allowed = ""

    async def _candidate(self, remote: Remote, tip: Tip) -> tuple[str, str]:
        """Fetch the tip unless the clone has it: the object of the ref, and its commit."""
        if self._fetched != tip.object:
            if self._too_large is not None and self._too_large[0] == tip.commit:
                raise self._too_large[1]
            self._fetched = ""
            known = self.accepted is not None and await self._clone.has(self.accepted.commit)
            try:
                await self._fetch(self._clone, remote, tip.name, CANDIDATE,
                                  *(() if known else ("--depth=1",)))
            except TooLarge as error:
                self._too_large = (tip.commit, error)
                raise
        found, commit = await self._clone.resolve(CANDIDATE)
        self._fetched = found
        return found, commit

    async def _forward(self, remote: Remote, tip: Tip, commit: str) -> bool:
        """Whether it descends from the accepted commit; fetches older commits as far as needed."""
        before = self.accepted
        if before is None or before.commit == commit:
            return True
        for depth in _DEEPER:
            if await self._clone.has(before.commit) or not self._clone.shallow:
                break
            await self._fetch(self._clone, remote, tip.name, CANDIDATE, *depth)
        return await self._clone.has(before.commit) and (
            await self._clone.descends(commit, before.commit))

    async def _is_behind(self, remote: Remote, commit: str) -> bool:
        """Whether a mirror is behind: its commit is an ancestor of the accepted one."""
        return (self.accepted is not None and remote is not self._access.remotes[0]
                and commit != self._allowed
                and await self._clone.has(self.accepted.commit)
                and await self._clone.descends(self.accepted.commit, commit))

    async def _fetch(self, clone: Clone, remote: Remote, what: str, into: str,
                     *depth: str) -> None:
        self.fetches += 1
        await clone.fetch(remote, what, into, *depth)

    # Its files

    async def _read(self, commit: str, *, gone_is_empty: bool) -> Listing:
        """The listing of the commit in force."""
        tree = await self._tree(commit, gone_is_empty=gone_is_empty)
        self._blobs = tree.blobs
        return tree.listing

    async def _tree(self, commit: str, *, gone_is_empty: bool) -> Tree:
        """The files of a commit. `gone_is_empty`: a missing directory was removed on purpose."""
        name = revision_name(self.ref, commit)
        tree = await self._clone.tree.read(commit, self.path, self._include, name, self._blobs)
        if tree is None and not gone_is_empty:
            raise SourceError(f"{self.ref} ({commit[:12]}) has no directory {self.path}",
                              reason="Incomplete",
                              hint="source.path is the directory within the repository")
        return tree or Tree(Listing(commit=name))

    async def _check_moved(self, commit: str, found: Listing) -> None:
        """Raise SourceError if all domain files are gone, and are elsewhere in the repository.

        That is a directory that was moved, and not the wish to destroy every VM (rule 6).
        """
        before = self.listing
        files = {name: before.files[name] for name in before.domain_files} if before else {}
        if not files or found.domain_files or found.unreadable:
            return
        place = await self._clone.tree.moved_to(commit, files)
        if place:
            raise SourceError(
                f"{self.ref} ({commit[:12]}) has no domain file in {self.path or 'its top'} any "
                f"more; {place} is where one of them was moved to", reason="Incomplete",
                hint="the VMs stay as they are; set source.path to the new directory, or move the "
                     "files back")

    # The clone

    async def _heal(self, remote: Remote, tip: Tip) -> None:
        """Clone again; the damaged clone is removed only once the server has delivered."""
        fresh = self._at("fresh")
        await fresh.make()
        whole = False
        if self.accepted is not None:
            with suppress(SourceError):  # the server may have dropped it
                await self._fetch(fresh, remote, self.accepted.commit, ACCEPTED, "--depth=1")
                whole = True
        if not whole:
            await self._fetch(fresh, remote, tip.name, CANDIDATE, "--depth=1")
        self._replace(fresh)

    async def compact(self) -> None:
        """Every CHANGES commits, reduce the clone to the newest KEPT_DEPTH of them."""
        if self.accepted is None or self.accepted.changes < CHANGES:
            return
        fresh = self._at("fresh")
        with suppress(SourceError, OSError):  # the large clone works as well; tried again later
            await fresh.make()
            await fresh.fetch(own_remote(self._clone.path), ACCEPTED, ACCEPTED,
                              f"--depth={KEPT_DEPTH}")
            accepted = replace(self.accepted, changes=0)
            git_record.save(self._record, accepted)
            self._replace(fresh)
            self.accepted = accepted

    def _replace(self, fresh: Clone) -> None:
        before = self._at("before")
        before.remove()
        if self._clone.path.exists():
            os.replace(self._clone.path, before.path)
        os.replace(fresh.path, self._clone.path)
        shutil.rmtree(before.path, ignore_errors=True)
        self._fetched = ""


async def accepted_listing(settings: Settings) -> Listing:
    """The listing of the commit accepted last, without asking the server; raises SourceError."""
    source, home = settings.source, settings.state / "git"
    record = git_record.load(home / _RECORD)
    urls = tuple(read_remote(url, settings.base).shown for url in source.url)
    if record is None or not record.matches(urls, source.ref, _inner_path(source.path)):
        raise SourceError("no commit of the configured git repository was accepted yet",
                          reason="FetchFailed", hint="`reconciler run` fetches it")
    clone = home / _CLONE
    tree = await TreeReader(Programs(None, LOCAL_LIMIT), (f"--git-dir={clone}",), str(clone),
                            "`reconciler run` clones it again").read(
        record.commit, record.path, source.include, revision_name(record.ref, record.commit))
    return tree.listing if tree is not None else Listing(
        commit=revision_name(record.ref, record.commit))


def _names(ref: str) -> tuple[str, ...]:
    """The full names that a ref may have on the server: a branch comes before a tag."""
    if _COMMIT.fullmatch(ref):
        return ("HEAD",)
    if ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}")


def _inner_path(path: str) -> str:
    """source.path normalised, relative to the top of the repository, which is empty."""
    found = posixpath.normpath(path.strip("/") or ".")
    if found.split("/")[0] == "..":
        raise ConfigError(f"source.path: {path!r}; accepted: a directory within the repository")
    return "" if found == "." else found


def _rewound(ref: str, commit: str, before: Accepted | None) -> SourceError:
    old = before.commit[:12] if before else ""
    return SourceError(
        f"{ref} was rewound: {commit[:12]} does not descend from {old}, which stays in force",
        reason="NotFastForward",
        hint="`reconciler approve` accepts this one; source.fast_forward_only: false accepts all")
