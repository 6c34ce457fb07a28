"""Our bare clone of a repository: it is fetched into, and asked for ancestry.

There is never a work tree, so nothing in a repository (attributes, filters, hooks, submodules,
symbolic links) can take effect. git_tree.py reads the files. One task at a time uses a clone.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.sources.git_program import PLAIN
from reconciler.sources.git_remote import failure, meaning
from reconciler.sources.git_tree import Broken, TreeReader

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.sources.git_program import Programs, Ran, With
    from reconciler.sources.git_remote import Access, Remote

ACCEPTED = "refs/reconciler/accepted"
CANDIDATE = "refs/reconciler/candidate"
EVERYTHING = "+refs/heads/*:refs/reconciler/heads/*"
_LEFT_BEHIND = ("*.lock", "refs/reconciler/*.lock", "objects/pack/tmp_*", "objects/??/tmp_obj_*")
_UNADVERTISED = "unadvertised object"
_HEALS = "the reconciler clones it again from the server"


class TooLarge(SourceError):
    """The download exceeds source.max_size. The same commit is not downloaded again by itself."""


class Clone:
    """The bare repository at `path`."""

    def __init__(self, path: Path, programs: Programs, access: Access,
                 max_size: int | None) -> None:
        self.path = path
        self._programs = programs
        self._access = access
        self._max_size = max_size
        self.tree = TreeReader(programs, (f"--git-dir={path}",), str(path), _HEALS)

    @property
    def exists(self) -> bool:
        """Whether there is a repository at the path; it may be damaged."""
        return (self.path / "HEAD").exists()

    @property
    def shallow(self) -> bool:
        """Whether history is truncated."""
        return (self.path / "shallow").exists()

    async def make(self) -> None:
        """Create an empty repository in place of whatever is there."""
        self.remove()
        ran = await self._programs.run("git", "init", "--quiet", "--bare", "--template=",
                                       str(self.path))
        if ran.code != 0:
            raise SourceError(f"{self.path}: {meaning(ran.errors)}", reason="FetchFailed")

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)

    async def fetch(self, remote: Remote, what: str, into: str, *depth: str) -> None:
        """Fetch a ref or a commit into the ref `into`; raises Broken, TooLarge, SourceError."""
        ran = await self._fetch(remote, f"+{what}:{into}", depth)
        if ran.code != 0 and _UNADVERTISED in ran.errors:
            # Protocol 0 does not serve a commit by its id: fetch all branches.
            ran = await self._fetch(remote, EVERYTHING, ())
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
        """Raise TooLarge if the download hit the file size limit; git's own message is unclear."""
        limit = self._max_size
        if limit is not None and any(
                path.stat().st_size >= limit for path in self.path.glob("objects/pack/tmp_*")):
            self._tidy()
            raise TooLarge(
                f"{remote.shown}: the download was stopped at {limit} bytes",
                reason="FetchFailed", hint="source.max_size allows more")

    async def _blame(self, error: SourceError) -> None:
        """Raise Broken if damage to our clone is why the fetch failed."""
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
        """Remove the lock and temporary files of a git process that was killed."""
        for pattern in _LEFT_BEHIND:
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    async def resolve(self, name: str) -> tuple[str, str]:
        """The object that a ref points at (it may be a tag), and the commit that it leads to."""
        ran = await self._git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if ran.code != 0:
            raise Broken(f"{self.path}: {name} is missing", reason="FetchFailed")
        found = ran.out.decode().strip()
        commit = await self._git("rev-parse", "--verify", "--quiet", f"{found}^{{commit}}")
        if commit.code != 0:
            raise SourceError("source.ref does not lead to a commit", reason="FetchFailed",
                              hint="accepted: a branch, a tag, or a full commit id")
        return found, commit.out.decode().strip()

    async def has(self, commit: str) -> bool:
        """Whether the clone has this commit."""
        ran = await self._git("cat-file", "-e", f"{commit}^{{commit}}")
        return ran.code == 0

    async def descends(self, commit: str, ancestor: str) -> bool:
        """Whether `commit` is `ancestor` or one of its descendants."""
        ran = await self._git("merge-base", "--is-ancestor", ancestor, commit)
        if ran.code not in (0, 1):
            raise self._broken(ran)
        return ran.code == 0

    async def point(self, ref: str, commit: str) -> None:
        """Set a ref of ours to this commit."""
        ran = await self._git("update-ref", "--no-deref", ref, commit)
        if ran.code != 0:
            raise self._broken(ran)

    async def _git(self, *words: str, extra: With = PLAIN) -> Ran:
        return await self._programs.run("git", f"--git-dir={self.path}", *words, extra=extra)

    def _broken(self, ran: Ran) -> Broken:
        return Broken(f"{self.path}: {meaning(ran.errors) or 'git cannot read it'}",
                      reason="FetchFailed", hint=_HEALS)
