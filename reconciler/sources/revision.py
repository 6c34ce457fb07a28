"""The files of one revision of the repository that a watched directory lies in, for a review.

Read by the `git` program as blobs of one commit, never from a work tree; nobody's configuration of
git takes part, and nothing that a repository holds can act. A link is not followed: what it leads
to is not known, so that its absence proves nothing.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.sources.git_program import ISOLATED
from reconciler.sources.listing import LONGEST, Listing, is_domain_file

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 30.0  # seconds that one answer of git may take; all of it is on this disk
_REGULAR = ("100644", "100755")
_OVERRIDDEN = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "core.pager=",
               "core.attributesFile=/dev/null")


def files_of(directory: Path, ref: str, include: tuple[str, ...]) -> Listing:
    """What `directory` holds in the commit that `ref` is; raises SourceError."""
    if not directory.is_dir():
        raise SourceError(f"{directory}: no such directory")
    inside = os.fsdecode(_git(directory, "rev-parse", "--show-prefix").rstrip(b"\n"))
    commit = _git(directory, "rev-parse", "--verify", "--quiet", "--end-of-options",
                  f"{ref}^{{commit}}", complaint=f"'{ref}' is no branch, tag or commit of the "
                  f"repository that {directory} lies in").decode().strip()
    found = files_in(directory, commit, inside, include, f"{ref}@sha1:{commit}")
    if inside and not found.files and not found.unreadable and not _git(
            directory, "ls-tree", "--full-tree", commit, "--", inside):
        raise SourceError(f"'{ref}' has no directory {inside}",
                          hint="a branch without it is no evidence that its domains shall go")
    return found


def files_in(repository: Path, commit: str, inside: str, include: tuple[str, ...],
             name: str) -> Listing:
    """What the directory `inside` holds in a commit of a repository, bare or not; raises it, too.

    `inside` is nothing for the whole; `name` is how the commit is told.
    """
    inside = f"{inside.rstrip('/')}/" if inside else ""
    place = ("--", inside) if inside else ()
    listed = _git(repository, "ls-tree", "-z", "-l", "--full-tree", commit, *place)
    wanted: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    complete = True
    for entry in filter(None, listed.split(b"\0")):
        facts, _, path = entry.partition(b"\t")
        mode, _, blob, size = facts.decode().split()
        file = os.fsdecode(path).removeprefix(inside)
        if not is_domain_file(file, include):
            continue
        if mode not in _REGULAR:
            unreadable[file], complete = "no regular file in git", False
        elif int(size) > LONGEST:
            unreadable[file] = f"{size} bytes, and a domain file has at most {LONGEST}"
        else:
            wanted[file] = blob
    return Listing(_blobs(repository, wanted), unreadable=unreadable, complete=complete,
                   commit=name)


def _blobs(directory: Path, wanted: dict[str, str]) -> dict[str, bytes]:
    """The contents of each, in one run."""
    answer = _git(directory, "cat-file", "--batch",
                  feed="".join(f"{blob}\n" for blob in wanted.values()).encode())
    found: dict[str, bytes] = {}
    at = 0
    for name, blob in wanted.items():
        head, _, _ = answer[at:at + 200].partition(b"\n")
        words = head.split()
        if len(words) != 3 or words[1] != b"blob":
            raise SourceError(f"{name}: git has no contents of {blob}")
        at += len(head) + 1
        found[name] = answer[at:at + int(words[2])]
        at += int(words[2]) + 1
    return found


def _git(directory: Path, *words: str, feed: bytes = b"", complaint: str = "") -> bytes:
    """What git answers about the repository that the directory is in."""
    settings = [word for value in _OVERRIDDEN for word in ("-c", value)]
    try:
        ran = subprocess.run(  # noqa: S603  # a list, never a shell
            ["git", *settings, "-C", str(directory), *words],  # noqa: S607  # the PATH's, as the host has it
            input=feed, capture_output=True, timeout=LIMIT, check=False, env=_environment())
    except FileNotFoundError:
        raise SourceError("git: no such program on the PATH", hint="install git") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"git had not answered after {LIMIT:g} s") from None
    if ran.returncode != 0:
        said = ran.stderr.decode(errors="replace").strip().partition("\n")[0]
        if "dubious ownership" in said:
            raise SourceError(f"{directory}: its repository belongs to another user",
                              hint="ask as the user that it belongs to")
        raise SourceError(complaint or f"{directory}: {said.removeprefix('fatal: ')}")
    return ran.stdout


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", **ISOLATED}
