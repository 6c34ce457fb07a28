"""The value that a source delivers: all finished domain files, as one consistent set (rule 3)."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from dataclasses import dataclass, field

from reconciler.errors import SourceError

LONGEST = 1 << 20  # bytes of a domain file; one byte more is read of a longer one, to refuse it
MOST_BYTES = 256 << 20  # of domain files altogether; a small compressed blob may expand to more
MOST_FILES = 10_000
# Defaults for all files of the directory (domain/merge.py); it lies among them and is not a domain.
DEFAULTS = "defaults.xml"
# What tools leave beside a file and no person writes: git mergetool (web_BASE_1234.xml), Syncthing,
# Nextcloud and Dropbox ("conflicted copy"), ownCloud, and parts, backups and rejects of any name.
# "web1 (copy).xml" may be meant: it is read, and refused as long as web1.xml is in force.
_DROPPING = re.compile(
    r"_(?:BASE|LOCAL|REMOTE|BACKUP)_\d+\.|\.sync-conflict-\d{8}-\d{6}|\(.*conflicted copy.*\)"
    r"|_conflict-\d{8}-\d{6}|\.conflict\d+(?:\.|$)"
    r"|\.(?:orig|rej|bak|swp|swx|tmp|part|partial|filepart|crdownload)$")


def is_domain_file(name: str, include: tuple[str, ...]) -> bool:
    """Whether a name matches `include`, and no editor, merge or sync tool left it there.

    The defaults always count, because every other file is read with them.
    """
    return name == DEFAULTS or (name[0] not in ".#~" and not name.endswith("~") and (
        _DROPPING.search(name) is None) and any(
        fnmatch.fnmatchcase(name, pattern) for pattern in include))


def check_amount(files: int, size: int) -> None:
    """Raise SourceError for more files, or more bytes of them, than a source may have."""
    if files > MOST_FILES:
        raise SourceError(f"{files} domain files; accepted: up to {MOST_FILES}")
    if size > MOST_BYTES:
        raise SourceError(f"{size} bytes of domain files; accepted: up to {MOST_BYTES}")


@dataclass(frozen=True, slots=True)
class Listing:
    """All files at one moment. Those in `unfinished` exist, but are still being written."""

    files: dict[str, bytes] = field(default_factory=dict)
    unfinished: frozenset[str] = frozenset()
    # Seconds until the next look is due because a file was unfinished.
    again_in: float | None = None
    # The entries with a domain file's name that could not be read as a file, with the reason.
    unreadable: dict[str, str] = field(default_factory=dict)
    # Whether the directory was read as a whole. Only then is a missing file evidence of a removal.
    complete: bool = True
    # Whether the directory is another one than the accepted one, and whether it is on another
    # file system, as after unmounting a disk.
    replaced: bool = False
    remounted: bool = False
    commit: str = ""  # the revision of the whole set, such as main@sha1:…
    # Why there is nothing newer: this is the set that was accepted last, and it stays in force.
    trouble: SourceError | None = None
    remark: str = ""  # a warning for the status, although all could be read

    @property
    def name(self) -> str:
        """A name of the whole set: the same files give the same name."""
        if self.commit:
            return self.commit
        parts = "".join(f"{file}\0{self.revision(file)}\0" for file in sorted(self.files))
        return f"sha256:{hashlib.sha256(os.fsencode(parts)).hexdigest()[:12]}"

    @property
    def doubt(self) -> str:
        """Why a file that is not in it may not be gone; empty if it is evidence (rule 6)."""
        if DEFAULTS in self.unreadable:
            return f"{DEFAULTS} cannot be read"
        if not self.complete:
            file = next(iter(self.unreadable), "")
            return f"{file} cannot be read ({self.unreadable[file]})" if file else (
                "the directory is changing")
        return f"{min(self.unfinished)} is being written" if self.unfinished else ""

    @property
    def domain_files(self) -> list[str]:
        """The names of the domain files, sorted: all but the defaults."""
        return sorted(self.files.keys() - {DEFAULTS})

    def revision(self, file: str) -> str:
        """The revision of one file: that of the whole set, or else a hash of its contents."""
        return self.revision_of(self.files[file])

    def revision_of(self, data: bytes) -> str:
        """The same for a text that was generated from a file."""
        return self.commit or f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"
