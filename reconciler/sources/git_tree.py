"""The domain files of one commit, read from a repository's objects and never from a work tree.

Every caller reads through here: the git source (git_repository.py), `plan` of what the source
accepted last, and `plan --ref` (revision.py), so that all of them take the same entries for files
and report the same problems. A listing is complete as soon as the tree could be read: an entry
that is not a regular file is known, and is named in `unreadable` with the reason.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.sources.git_program import PLAIN, With
from reconciler.sources.git_remote import meaning
from reconciler.sources.listing import LONGEST, Listing, check_amount, is_domain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.sources.git_program import Programs, Ran

REGULAR = ("100644", "100755")  # git reports every other mode of a file as one of these
_LONGEST_HEADER = 100  # bytes that cat-file --batch writes beside the contents of an object
_DIRECTORY = "040000"
_HASHES = ("sha1", "sha256")  # a repository uses one of them for the ids of its objects
_NOT_A_FILE = {"120000": "a symbolic link, which is not followed",
               "160000": "a submodule, which is not followed"}


class Broken(SourceError):
    """The repository's own data cannot be read. Our clone is then replaced by a new one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a git tree. `size` is in bytes, and None for what is not a blob."""

    mode: str
    object: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory of a commit. `blobs` are the contents by object id, for the next read."""

    listing: Listing
    blobs: dict[str, bytes] = field(default_factory=dict)


def revision_name(ref: str, commit: str) -> str:
    """How a commit is written in status and events: main@sha1:…, or sha1:… if it is the ref."""
    return f"sha1:{commit}" if ref == commit else f"{ref}@sha1:{commit}"


def _object_id(data: bytes, algorithm: str) -> str:
    """The id of a git blob with these contents."""
    return hashlib.new(algorithm, b"blob %d\0%s" % (len(data), data),
                       usedforsecurity=False).hexdigest()


class TreeReader:
    """Reads directories of one repository.

    `where` are git's options that name it (--git-dir=…, or -C and a path), `place` is its name in
    messages, and `hint` says what to do when it cannot be read.
    """

    def __init__(self, programs: Programs, where: tuple[str, ...], place: str,
                 hint: str = "") -> None:
        self._programs = programs
        self._where = where
        self._place = place
        self._hint = hint

    async def read(self, commit: str, directory: str, include: tuple[str, ...], name: str,
                   known: Mapping[str, bytes] | None = None) -> Tree | None:
        """The domain files of a directory (empty: the top); None if the commit has none such.

        Contents that are in `known` are not read again. A file longer than a domain file may be
        is read as far as it takes to refuse it. Raises Broken, SourceError.
        """
        entries = await self._entries(commit, directory)
        if entries is None:
            return None
        chosen = {file: entry for file, entry in sorted(entries.items())
                  if is_domain_file(file, include)}
        check_amount(len(chosen), 0)
        files = {file: entry for file, entry in chosen.items() if entry.mode in REGULAR}
        have = known or {}
        fresh = await self._blobs([e for e in files.values() if e.object not in have])
        blobs = {e.object: fresh[e.object] if e.object in fresh else have[e.object]
                 for e in files.values()}
        unreadable = {file: _NOT_A_FILE.get(entry.mode, "not a regular file")
                      for file, entry in chosen.items() if file not in files}
        return Tree(Listing({file: blobs[entry.object] for file, entry in files.items()},
                            unreadable=unreadable, commit=name), blobs)

    async def moved_to(self, commit: str, files: Mapping[str, bytes]) -> str:
        """Where in the commit one of these files is now, by its contents or its name; else "".

        For files that are missing in their directory. Raises Broken; SourceError if the commit has
        too many files to tell.
        """
        wanted = {_object_id(data, number) for data in files.values() for number in _HASHES}
        ran = await self._git("ls-tree", "-r", "-z", "--full-tree", commit)
        if ran.cut:
            raise SourceError(f"{self._place}: too many files to tell whether some were moved",
                              reason="Incomplete")
        if ran.code != 0:
            raise self._broken(ran)
        for line in ran.out.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            name = os.fsdecode(path.rpartition(b"/")[2])
            if facts.split()[2].decode("ascii") in wanted or name in files:
                return os.fsdecode(path)
        return ""

    async def _check_directory(self, commit: str, directory: str) -> None:
        """Raise SourceError if another kind of entry is at the path of the directory."""
        parts = directory.split("/")
        prefixes = ["/".join(parts[:number + 1]) for number in range(len(parts))]
        ran = await self._git("ls-tree", "-z", "--full-tree", commit, "--", *prefixes)
        if ran.code != 0 or ran.cut:
            raise self._broken(ran)
        for line in ran.out.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode = facts.split()[0].decode("ascii")
            if mode != _DIRECTORY:
                what = _NOT_A_FILE.get(mode, "a file, and not a directory")
                raise SourceError(f"{os.fsdecode(path)} is {what}", reason="Incomplete",
                                  hint="the VMs stay as they are; source.path is the directory "
                                       "within the repository")

    async def _entries(self, commit: str, directory: str) -> dict[str, Entry] | None:
        """The entries of a directory by name; None if there is no such directory.

        Raises SourceError if something else is there.
        """
        place = ("--", f"{directory}/") if directory else ()
        ran = await self._git("ls-tree", "-z", "-l", "--full-tree", commit, *place)
        if ran.code != 0 or ran.cut:
            raise self._broken(ran)
        found: dict[str, Entry] = {}
        for line in ran.out.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            if path == os.fsencode(directory):  # a submodule is listed as if it were in itself
                continue
            mode, _, number, size = facts.decode("ascii").split()
            if size == "BAD":  # git's word for a missing object; its exit code is 0 all the same
                raise self._broken(ran)
            found[os.fsdecode(path.rpartition(b"/")[2])] = Entry(
                mode, number, None if size == "-" else int(size))
        if found or not directory:
            return found
        await self._check_directory(commit, directory)
        return None

    async def _blobs(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """The contents by object id; of a large one as much as it takes to refuse it."""
        wanted = {entry.object: entry.size or 0 for entry in entries}
        check_amount(0, sum(min(size, LONGEST + 1) for size in wanted.values()))
        small = {number: size for number, size in wanted.items() if size <= LONGEST}
        found = await self._small(small) if small else {}
        for number in wanted.keys() - found.keys():
            ran = await self._git("cat-file", "blob", number, extra=With(most=LONGEST + 1))
            if not ran.cut and ran.code != 0:
                raise self._broken(ran)
            found[number] = ran.out
        return found

    async def _small(self, objects: dict[str, int]) -> dict[str, bytes]:
        """The whole contents of several blobs of these sizes, in one run of git."""
        feed = "".join(f"{number}\n" for number in objects).encode()
        ran = await self._git("cat-file", "--batch", "--buffer",
                              extra=With(feed=feed, most=sum(objects.values())
                                         + _LONGEST_HEADER * len(objects)))
        found: dict[str, bytes] = {}
        at = 0
        for number in objects:
            head, _, _ = ran.out[at:at + _LONGEST_HEADER].partition(b"\n")
            words = head.split()
            if ran.code != 0 or len(words) != 3 or words[1] != b"blob":
                raise self._broken(ran)
            start = at + len(head) + 1
            at = start + int(words[2]) + 1
            found[number] = ran.out[start:at - 1]
        return found

    async def _git(self, *words: str, extra: With = PLAIN) -> Ran:
        return await self._programs.run("git", *self._where, *words, extra=extra)

    def _broken(self, ran: Ran) -> Broken:
        return Broken(f"{self._place}: {meaning(ran.errors) or 'git cannot read it'}",
                      reason="FetchFailed", hint=self._hint)
