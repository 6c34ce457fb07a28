"""The value that a source delivers: every domain file that is finished, complete (rule 3)."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.errors import SourceError

LONGEST = 1 << 20  # a domain file has at most 1 MiB; of a longer one, enough to be refused is read
# What the files of a directory need not say each (domain/merge.py): among them, and no domain file.
DEFAULTS = "defaults.xml"


def is_domain_file(name: str, include: tuple[str, ...]) -> bool:
    """What matches `include` and is no hidden, backup or temporary file of an editor.

    The defaults always are, since the others mean nothing without them.
    """
    return name == DEFAULTS or (name[0] not in ".#~" and not name.endswith("~") and any(
        fnmatch.fnmatchcase(name, pattern) for pattern in include))


@dataclass(frozen=True, slots=True)
class Listing:
    """All files at one moment. `unfinished` are there, but somebody still writes them."""

    files: dict[str, bytes] = field(default_factory=dict)
    unfinished: frozenset[str] = frozenset()
    # When the next look is due because something was unfinished; seconds from now.
    again_in: float | None = None
    # What has a domain file's name and is none, or cannot be read: why.
    unreadable: dict[str, str] = field(default_factory=dict)
    complete: bool = True  # all was read: only then is what is missing evidence of a removal
    commit: str = ""  # a revision that covers all files, such as main@sha1:…
    # Why there is nothing newer: then this is the last set that was accepted, and stays in force.
    trouble: SourceError | None = None
    remark: str = ""  # what somebody should see to, although all could be read

    @property
    def name(self) -> str:
        """A name for the whole of it: the same files give the same one."""
        if self.commit:
            return self.commit
        parts = "".join(f"{file}\0{self.revision(file)}\0" for file in sorted(self.files))
        return f"sha256:{hashlib.sha256(os.fsencode(parts)).hexdigest()[:12]}"

    @property
    def domain_files(self) -> list[str]:
        """The names of those that are of domains, sorted."""
        return sorted(self.files.keys() - {DEFAULTS})

    def revision(self, file: str) -> str:
        """A name for the contents of one file: what covers all, else what is in it."""
        return self.revision_of(self.files[file])

    def revision_of(self, data: bytes) -> str:
        """The same for a text that was made of a file and more."""
        return self.commit or f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"
