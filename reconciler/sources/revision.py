"""`plan --ref` of a watched directory: its files in a commit of the repository that it lies in.

The files are read from the repository's objects (git_tree.py), not from the work tree, and nothing
in the repository takes effect. A missing directory is not treated as a removal.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.sources.git_program import LOCAL_LIMIT, Programs
from reconciler.sources.git_remote import meaning
from reconciler.sources.git_tree import TreeReader, revision_name

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.sources.listing import Listing


async def files_of(directory: Path, ref: str, include: tuple[str, ...]) -> Listing:
    """The domain files of `directory` in the commit of `ref`; raises SourceError."""
    _require(directory)
    programs = Programs(None, LOCAL_LIMIT)
    inside = os.fsdecode(await _git(programs, directory, "rev-parse", "--show-prefix"))
    inside = inside.rstrip("\n").rstrip("/")
    commit = os.fsdecode(await _git(
        programs, directory, "rev-parse", "--verify", "--quiet", "--end-of-options",
        f"{ref}^{{commit}}", problem=f"'{ref}' is not a branch, tag or commit of the repository "
        f"of {directory}")).strip()
    tree = await TreeReader(programs, ("-C", str(directory)), str(directory)).read(
        commit, inside, include, revision_name(ref, commit))
    if tree is None:
        raise SourceError(f"'{ref}' has no directory {inside}",
                          hint="a missing directory is not treated as a removal")
    return tree.listing


def _require(directory: Path) -> None:
    if not directory.is_dir():
        raise SourceError(f"{directory}: no such directory")


async def _git(programs: Programs, directory: Path, *words: str, problem: str = "") -> bytes:
    """The output of git in the directory's repository; `problem` replaces git's own message."""
    ran = await programs.run("git", "-C", str(directory), *words)
    if "dubious ownership" in ran.errors:
        raise SourceError(f"{directory}: its repository belongs to another user",
                          hint="run the command as that user")
    if ran.code != 0:
        raise SourceError(problem or f"{directory}: {meaning(ran.errors)}")
    return ran.out
