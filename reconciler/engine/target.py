"""Which files a review is about: those of the source, of another directory, or of a revision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import SourceError, UsageError
from reconciler.sources.directory import Directory
from reconciler.sources.revision import files_of

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing


class Kind(StrEnum):
    """Where the files are."""

    SOURCE = "source"
    DIRECTORY = "directory"
    REF = "ref"


@dataclass(frozen=True, slots=True)
class Target:
    """`name`: the directory's path, or the branch, tag or commit; nothing for the source."""

    kind: Kind = Kind.SOURCE
    name: str = ""


def files(settings: Settings, target: Target) -> Listing:
    """All of them, as of now; raises SourceError, UsageError."""
    include = settings.source.include
    if target.kind is Kind.REF:
        if settings.source.kind != "directory":
            raise UsageError("plan --ref is not built for a source that is a git repository",
                             hint="check the branch out, and plan with --dir")
        return files_of(settings.domains, target.name, include)
    path = settings.domains if target.kind is Kind.SOURCE else Path(target.name)
    if target.kind is Kind.DIRECTORY and not path.is_dir():
        raise UsageError(f"{path}: no such directory")
    found = Directory(path, include, 0.0).look()
    if found.unfinished and target.kind is Kind.DIRECTORY:
        raise SourceError(f"{path / min(found.unfinished)}: somebody writes it just now",
                          hint="plan again once it is written")
    return found
