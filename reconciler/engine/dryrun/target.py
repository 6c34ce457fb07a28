"""Which files a review is about: those of the source, of another directory, or of a revision."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import SourceError, UsageError
from reconciler.sources import git_record
from reconciler.sources.directory import Directory
from reconciler.sources.git import Git
from reconciler.sources.listing import DEFAULTS
from reconciler.sources.revision import files_in, files_of

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


async def files(settings: Settings, target: Target) -> Listing:
    """All of them, as of now; raises SourceError, UsageError."""
    include, git = settings.source.include, settings.source.kind == "git"
    if target.kind is Kind.REF:
        if git:
            return await _fetched(settings, target.name)
        return files_of(settings.domains, target.name, include)
    if target.kind is Kind.SOURCE and git:
        return _accepted(settings)
    path = settings.domains if target.kind is Kind.SOURCE else Path(target.name)
    if target.kind is Kind.DIRECTORY and not path.is_dir():
        raise UsageError(f"{path}: no such directory")
    found = Directory(path, include, 0.0).look()
    if found.unfinished and (target.kind is Kind.DIRECTORY or DEFAULTS in found.unfinished):
        first = DEFAULTS if DEFAULTS in found.unfinished else min(found.unfinished)
        raise SourceError(f"{path / first}: somebody writes it just now",
                          hint="plan again once it is written")
    return found


async def _fetched(settings: Settings, ref: str) -> Listing:
    """Another ref of the git repository, from its server, into a copy that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="reconciler-plan-") as place:
        source = Git(replace(
            settings, paths=replace(settings.paths, state=place),
            source=replace(settings.source, ref=ref)))
        await source.refresh()
        found = source.look()  # raises what kept it from being read
        if found is None:
            raise SourceError(f"{source.where}: nothing was read")
        return found


def _accepted(settings: Settings) -> Listing:
    """What a git source accepted last, of the copy that is there; the server is not asked."""
    home = settings.state / "git"
    record = git_record.load(home / "accepted.json")
    if record is None or record.ref != settings.source.ref:
        raise SourceError("nothing was accepted of the git repository yet", reason="FetchFailed",
                          hint="`reconciler run` looks at it")
    name = f"{record.ref}@sha1:{record.commit}"
    return files_in(home / "clone", record.commit, record.path, settings.source.include, name)
