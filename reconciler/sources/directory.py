"""A watched directory as a source: complete listings, read only where something changed.

A listing is evidence only if the directory could be read as a whole and is still the same one:
another one in its place, without some of the files, may mean an unmounted disk, not a removal
(rule 3): it is `replaced` until `accept_root`. A file that is being written is `unfinished` until
it is closed, renamed into place, or unchanged for `settle` seconds and not open for writing. An
entry that cannot be read is reported, and does not hold up the other files.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.sources.listing import LONGEST, Listing, check_amount, is_domain_file

if TYPE_CHECKING:
    from pathlib import Path

_ATTEMPTS = 3
_LONGEST_WRITE = 60.0  # seconds after which a file is read although it is still open for writing
_SOON = 0.2  # seconds until a file that is being written is looked at again without an event


@dataclass(frozen=True, slots=True)
class Signature:
    """Changes whenever the contents of a file do."""

    inode: int
    modified: int  # nanoseconds
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Signature:
        """From a stat."""
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


@dataclass(frozen=True, slots=True)
class Root:
    """The identity of a directory: unmounting what is there changes it."""

    device: int
    inode: int


class _NotAFileError(Exception):
    """A directory, a FIFO or a device, which cannot hold a domain."""


class Directory:
    """Reads `path`. The watch fills `finished`: files that were closed after writing."""

    def __init__(self, path: Path, include: tuple[str, ...], settle: float,
                 root: Root | None = None) -> None:
        self.path = path
        self.root = root  # the accepted one
        self._here = root
        self.finished: dict[str, Signature] = {}
        # Files with an event since they were read: on older kernels, two writes within one clock
        # tick leave the same signature.
        self.touched: set[str] = set()
        self._include = include
        self._settle = settle
        self._seen: dict[str, tuple[Signature, bytes]] = {}

    def is_domain_file(self, name: str) -> bool:
        """See listing.py."""
        return is_domain_file(name, self._include)

    def doubt(self) -> None:
        """Read every file again at the next look, because events were lost."""
        self.touched.update(self._seen)

    def listing(self) -> Listing:
        """Every domain file; raises SourceError if one cannot be read."""
        found = self.look()
        if not found.complete:
            file, why = next(iter(found.unreadable.items()))
            raise SourceError(f"{self.path / file}: {why}")
        return found

    def look(self) -> Listing:
        """As `listing`, but a file that cannot be read is named in the listing instead."""
        for _ in range(_ATTEMPTS):
            try:
                return self._once()
            except FileNotFoundError as error:
                if not self.path.is_dir():
                    raise SourceError(f"{self.path}: {error.strerror}", reason="Incomplete",
                                      hint="the VMs stay as they are until it is back") from error
                continue  # a file was deleted between listing and reading: start again
            except OSError as error:
                raise SourceError(f"{error.filename or self.path}: {error.strerror}") from error
        raise SourceError(f"{self.path}: it changes faster than it can be read")

    def _once(self) -> Listing:
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._enter(os.fstat(handle))
            found: dict[str, tuple[Signature, bytes]] = {}
            unfinished: set[str] = set()
            unreadable: dict[str, str] = {}
            complete, size = True, 0
            waits: list[float] = []
            names = sorted(filter(self.is_domain_file, os.listdir(handle)))
            check_amount(len(names), 0)
            for name in names:
                try:
                    rest = self._take(handle, name, found)
                except _NotAFileError:
                    unreadable[name] = "not a regular file"
                    continue
                except OSError as error:
                    os.stat(name, dir_fd=handle, follow_symlinks=False)  # deleted: start again
                    if isinstance(error, FileNotFoundError):
                        # Its name says whose it may be: it casts no doubt on the other files.
                        unreadable[name] = "a link to a file that does not exist"
                        continue
                    unreadable[name], complete = error.strerror or str(error), False
                    continue
                size += len(found[name][1])
                check_amount(0, size)
                if rest is not None:
                    unfinished.add(name)
                    waits.append(rest)
        finally:
            os.close(handle)
        self._seen = found
        for name in self.finished.keys() - found.keys():
            self.finished.pop(name, None)
        return Listing({name: data for name, (_, data) in found.items() if name not in unfinished},
                       frozenset(unfinished), max(waits) if waits else None, unreadable, complete,
                       replaced=self._here != self.root,
                       remounted=self._here is not None and self.root is not None
                       and self._here.device != self.root.device)

    def _take(self, handle: int, name: str,
              found: dict[str, tuple[Signature, bytes]]) -> float | None:
        """Read a file unless it is known; seconds until it may be finished, or None if it is."""
        again = name in self.touched
        self.touched.discard(name)
        status = os.stat(name, dir_fd=handle)
        if not stat.S_ISREG(status.st_mode):
            raise _NotAFileError
        signature, known = Signature.of(status), self._seen.get(name)
        if known is None or known[0] != signature or again:
            reader = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=handle)
            with open(reader, "rb") as file:
                written = _open_for_writing(file.fileno())
                known = (signature, file.read(LONGEST + 1))
                written = written or Signature.of(os.fstat(file.fileno())) != signature
            age = time.time() - status.st_mtime
            rest = _SOON if written and age < _LONGEST_WRITE else self._settle - age
            unfinished = written or self.finished.get(name) != signature
            if unfinished and 0 < rest <= max(self._settle, _SOON):
                found[name] = (Signature(0, 0, 0), known[1])  # so that it is read again
                return rest
        found[name] = known
        return None

    def accept_root(self) -> None:
        """The directory that was read last is the one that is meant."""
        self.root = self._here

    def _enter(self, found: os.stat_result) -> None:
        here = Root(found.st_dev, found.st_ino)
        if here != self._here:
            self._seen = {}  # a file of another directory may look the same
        self._here = here
        if self.root is None:
            self.root = here


def _open_for_writing(handle: int) -> bool:
    """Whether a process has the file open for writing; the kernel then refuses a read lease."""
    with suppress(OSError):  # another user's file, or a file system without leases
        # The signal if another process opens the file meanwhile: SIGURG is ignored.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        try:
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return True
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
