"""Which files a dry run is about: those of the source, of another directory, or of a revision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import SourceError, UsageError
from reconciler.sources.directory import Directory
from reconciler.sources.kinds import configured_class
from reconciler.sources.listing import DEFAULTS

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing


class Kind(StrEnum):
    """Where the files come from."""

    SOURCE = "source"
    DIRECTORY = "directory"
    REF = "ref"


@dataclass(frozen=True, slots=True)
class Target:
    """`name`: the directory's path, or the branch, tag or commit; nothing for the source."""

    kind: Kind = Kind.SOURCE
    name: str = ""


async def files(settings: Settings, target: Target) -> Listing:
    """All files of a target, as of now; raises SourceError, UsageError."""
    if target.kind is Kind.REF:
        return await configured_class(settings).at_revision(settings, target.name)
    if target.kind is Kind.SOURCE:
        found, path = await configured_class(settings).offline(settings), settings.domains
    else:
        path = Path(target.name)
        if not path.is_dir():
            raise UsageError(f"{path}: no such directory")
        found = Directory(path, settings.source.include, 0.0).look()
    if found.unfinished and (target.kind is Kind.DIRECTORY or DEFAULTS in found.unfinished):
        first = DEFAULTS if DEFAULTS in found.unfinished else min(found.unfinished)
        raise SourceError(f"{path / first}: it is being written right now; try again")
    return found
