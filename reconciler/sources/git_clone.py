"""Our bare copy of a repository: fetched into, asked for ancestry, read as blobs of one commit.

There is never a work tree, so that nothing which a repository holds (attributes, filters, hooks,
submodules, symbolic links) can act. One task at a time uses it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.sources.git_program import PLAIN, With
from reconciler.sources.git_remote import failure, meaning
from reconciler.sources.listing import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reconciler.sources.git_program import Programs, Ran
    from reconciler.sources.git_remote import Access, Remote

ACCEPTED = "refs/reconciler/accepted"
CANDIDATE = "refs/reconciler/candidate"
_EVERYTHING = "+refs/heads/*:refs/reconciler/heads/*"
_LEFT_BEHIND = ("*.lock", "refs/reconciler/*.lock", "objects/pack/tmp_*", "objects/??/tmp_obj_*")
_MOST_BYTES = 256 << 20  # of domain files altogether; a compressed blob may become far more
_UNADVERTISED = "unadvertised object"


class Broken(SourceError):
    """Our copy is not what it was: it is made anew."""


class TooLarge(SourceError):
    """It would be as large the next time: not to be downloaded again for the same commit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a tree; `size` is None for what is no blob."""

    mode: str
    object: str
    size: int | None


class Clone:
    """The bare repository at `path`."""

    def __init__(self, path: Path, programs: Programs, access: Access,
                 max_size: int | None) -> None:
        self.path = path
        self._programs = programs
        self._access = access
        self._max_size = max_size

    @property
    def exists(self) -> bool:
        """Whether it was ever made."""
        return (self.path / "HEAD").exists()

    @property
    def shallow(self) -> bool:
        """Whether older commits are left out."""
        return (self.path / "shallow").exists()

    async def make(self) -> None:
        """Begin with an empty one."""
        self.remove()
        ran = await self._programs.run("git", "init", "--quiet", "--bare", "--template=",
                                       str(self.path))
        if ran.code != 0:
            raise SourceError(f"{self.path}: {meaning(ran.errors)}", reason="FetchFailed")

    def remove(self) -> None:
        """Take it away."""
        shutil.rmtree(self.path, ignore_errors=True)

    async def fetch(self, remote: Remote, what: str, into: str, *depth: str) -> None:
        """Bring a ref or a commit with what it needs; raises SourceError, or Broken."""
        ran = await self._fetch(remote, f"+{what}:{into}", depth)
        if ran.code != 0 and _UNADVERTISED in ran.errors:
            # A server of the older protocol gives no single commit: one of all branches, then.
            ran = await self._fetch(remote, _EVERYTHING, ())
            if ran.code == 0:
                await self.point(into, what)
        if ran.code != 0:
            self._check_size(remote)
            self._tidy()
            error = failure(remote, ran.errors, self._access.secrets(remote))
            if error.reason == "FetchFailed":
                await self._blame(error)
            raise error

    def _check_size(self, remote: Remote) -> None:
        """Raise TooLarge if the kernel stopped the download at our limit; git does not say so."""
        limit = self._max_size
        if limit is not None and any(
                path.stat().st_size >= limit for path in self.path.glob("objects/pack/tmp_*")):
            self._tidy()
            raise TooLarge(
                f"{remote.shown}: a download of more than {limit} bytes was given up",
                reason="FetchFailed", hint="source.max_size allows more")

    async def _blame(self, error: SourceError) -> None:
        """Raise Broken if our copy is why it failed."""
        ran = await self._git("fsck", "--no-dangling", "--no-progress")
        if ran.code != 0:
            raise Broken(f"{self.path}: {meaning(ran.errors)}", reason=error.reason) from error

    async def _fetch(self, remote: Remote, what: str, depth: tuple[str, ...]) -> Ran:
        self._tidy()
        return await self._git(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
            "--no-recurse-submodules", "--update-shallow", *depth, "--", remote.address, what,
            extra=self._access.reaching(remote))

    def _tidy(self) -> None:
        """What a run that was ended has left behind."""
        for pattern in _LEFT_BEHIND:
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    async def resolve(self, name: str) -> tuple[str, str]:
        """What a ref points at, and the commit that this leads to."""
        ran = await self._git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if ran.code != 0:
            raise Broken(f"{self.path}: {name} is not there", reason="FetchFailed")
        found = ran.out.decode().strip()
        commit = await self._git("rev-parse", "--verify", "--quiet", f"{found}^{{commit}}")
        if commit.code != 0:
            raise SourceError("source.ref leads to no commit", reason="FetchFailed",
                              hint="accepted: a branch, a tag, or a whole commit")
        return found, commit.out.decode().strip()

    async def has(self, commit: str) -> bool:
        """Whether this commit is here."""
        ran = await self._git("cat-file", "-e", f"{commit}^{{commit}}")
        return ran.code == 0

    async def descends(self, commit: str, ancestor: str) -> bool:
        """Whether one commit is the other, or came after it."""
        ran = await self._git("merge-base", "--is-ancestor", ancestor, commit)
        if ran.code not in (0, 1):
            raise self._broken(ran)
        return ran.code == 0

    async def point(self, ref: str, commit: str) -> None:
        """Let a ref of ours be this commit."""
        ran = await self._git("update-ref", "--no-deref", ref, commit)
        if ran.code != 0:
            raise self._broken(ran)

    async def entries(self, commit: str, path: str) -> dict[str, Entry] | None:
        """What a directory of this commit holds, by name; None when there is no such directory."""
        place = ("--", f"{path}/") if path else ()
        ran = await self._git("ls-tree", "-z", "-l", "--full-tree", commit, *place)
        if ran.code != 0 or ran.cut:
            raise self._broken(ran)
        found: dict[str, Entry] = {}
        for line in ran.out.split(b"\0")[:-1]:
            facts, _, name = line.partition(b"\t")
            mode, _, number, size = facts.decode("ascii").split()
            found[os.fsdecode(name.rpartition(b"/")[2])] = Entry(
                mode, number, None if size == "-" else int(size))
        return found if found or not path else None

    async def blobs(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """The contents by object; of a large one as much as is needed to refuse it."""
        wanted = {entry.object: entry.size or 0 for entry in entries}
        total = sum(min(size, LONGEST + 1) for size in wanted.values())
        if total > _MOST_BYTES:
            raise SourceError(f"{total} bytes of domain files; accepted: up to {_MOST_BYTES}",
                              reason="Incomplete")
        small = [number for number, size in wanted.items() if size <= LONGEST]
        found = await self._small(small) if small else {}
        for number in wanted.keys() - found.keys():
            ran = await self._git("cat-file", "blob", number, extra=With(most=LONGEST + 1))
            if not ran.cut and ran.code != 0:
                raise self._broken(ran)
            found[number] = ran.out
        return found

    async def _small(self, objects: list[str]) -> dict[str, bytes]:
        feed = "".join(f"{number}\n" for number in objects).encode()
        ran = await self._git("cat-file", "--batch", "--buffer",
                              extra=With(feed=feed, most=_MOST_BYTES * 2))
        found: dict[str, bytes] = {}
        at = 0
        for number in objects:
            head, _, _ = ran.out[at:at + 100].partition(b"\n")
            words = head.split()
            if ran.code != 0 or len(words) != 3 or words[1] != b"blob":
                raise self._broken(ran)
            start = at + len(head) + 1
            at = start + int(words[2]) + 1
            found[number] = ran.out[start:at - 1]
        return found

    async def _git(self, *words: str, extra: With = PLAIN) -> Ran:
        return await self._programs.run("git", f"--git-dir={self.path}", *words, extra=extra)

    def _broken(self, ran: Ran) -> Broken:
        return Broken(f"{self.path}: {meaning(ran.errors) or 'it cannot be read'}",
                      reason="FetchFailed", hint="it is made anew from the server")
