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
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What to read: all files but those that still have the signature by which they are `known`.

    `root` is the directory in which these were read. `finished`: see Directory.
    """

    path: Path
    include: tuple[str, ...]
    settle: float
    root: Root | None = None
    known: dict[str, Signature] = field(default_factory=dict)
    finished: dict[str, Signature] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """A file. `data`: None for a known one. `rest`: seconds until it may be finished."""

    signature: Signature
    data: bytes | None
    rest: float | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole directory at one moment."""

    root: Root
    files: dict[str, Found]
    unreadable: dict[str, str]
    complete: bool


class _NotAFileError(Exception):
    """A directory, a FIFO or a device, which cannot hold a domain."""


def scan(request: ScanRequest) -> Scan:
    """Read a directory (blocking); raises SourceError."""
    path = request.path
    for _ in range(_ATTEMPTS):
        try:
            return _once(request)
        except FileNotFoundError as error:
            if not path.is_dir():
                raise SourceError(f"{path}: {error.strerror}", reason="Incomplete",
                                  hint="the VMs stay as they are until it is back") from error
            continue  # a file was deleted between listing and reading: start again
        except OSError as error:
            raise SourceError(f"{error.filename or path}: {error.strerror}") from error
    raise SourceError(f"{path}: it changes faster than it can be read")


def _once(request: ScanRequest) -> Scan:
    handle = os.open(request.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        root = Root(status.st_dev, status.st_ino)
        if root != request.root:  # a file of another directory may look the same
            request = replace(request, known={})
        files: dict[str, Found] = {}
        unreadable: dict[str, str] = {}
        complete, size = True, 0
        names = sorted(n for n in os.listdir(handle) if is_domain_file(n, request.include))
        check_amount(len(names), 0)
        for name in names:
            try:
                files[name] = _read(handle, name, request)
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
            size += min(files[name].signature.size, LONGEST + 1)
            check_amount(0, size)
    finally:
        os.close(handle)
    return Scan(root, files, unreadable, complete)


def _read(handle: int, name: str, request: ScanRequest) -> Found:
    """Read a file unless it is known."""
    status = os.stat(name, dir_fd=handle)
    if not stat.S_ISREG(status.st_mode):
        raise _NotAFileError
    signature = Signature.of(status)
    if request.known.get(name) == signature:
        return Found(signature, None)
    reader = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=handle)
    with open(reader, "rb") as file:
        written = _open_for_writing(file.fileno())
        data = file.read(LONGEST + 1)
        written = written or Signature.of(os.fstat(file.fileno())) != signature
    age = time.time() - status.st_mtime
    rest = _SOON if written and age < _LONGEST_WRITE else request.settle - age
    unfinished = written or request.finished.get(name) != signature
    if unfinished and 0 < rest <= max(request.settle, _SOON):
        return Found(signature, data, rest)
    return Found(signature, data)


class Directory:
    """What was read of `path`. `finished`: files that were closed after writing, by the watch."""

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
        return self.take(scan(self.request()))

    def request(self) -> ScanRequest:
        """What to read now; its result is for `take`."""
        touched = frozenset(self.touched)
        self.touched -= touched
        for name in touched:
            self._seen.pop(name, None)
        return ScanRequest(self.path, self._include, self._settle, self._here,
                           {name: signature for name, (signature, _) in self._seen.items()},
                           dict(self.finished))

    def take(self, found: Scan) -> Listing:
        """The directory as it was read."""
        if found.root != self._here:
            self._seen = {}
        self._here = found.root
        if self.root is None:
            self.root = found.root
        data = {name: self._seen[name][1] if file.data is None else file.data
                for name, file in found.files.items()}
        unfinished = {name: file.rest for name, file in found.files.items()
                      if file.rest is not None}
        # Unfinished ones are read again.
        self._seen = {name: (file.signature, data[name]) for name, file in found.files.items()
                      if name not in unfinished}
        for name in self.finished.keys() - found.files.keys():
            self.finished.pop(name, None)
        return Listing({name: text for name, text in data.items() if name not in unfinished},
                       frozenset(unfinished), max(unfinished.values(), default=None),
                       found.unreadable, found.complete,
                       replaced=self._here != self.root,
                       remounted=self.root is not None and self._here.device != self.root.device)

    def accept_root(self) -> None:
        """The directory that was read last is the one that is meant."""
        self.root = self._here


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
