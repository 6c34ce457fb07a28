"""Another directory in the place of the accepted one, without the files of some domains.

On another file system, or empty, it may be what lies below a mount point: nothing of it is accepted
until a user approves it, or the files are back: an old copy is as wrong as a missing file (rule 3).
On the same one it was made again or exchanged: its files are meant, but what is missing is not
believed to be gone (rule 6). A directory that has all files is accepted as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.events import AbsenceJudged
from reconciler.engine.decide.inputs import Removal
from reconciler.engine.decide.prune_evidence import token
from reconciler.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.engine.decide.inputs import Now
    from reconciler.engine.domains import Domains
    from reconciler.sources.listing import Listing
    from reconciler.sources.source import Source

REPLACED = "SourceChanged"


class RootCheck:
    """Asks for an approval where the directory of the source was replaced."""

    def __init__(self, source: Source, domains: Domains) -> None:
        self._source = source
        self._domains = domains
        self._allowed: frozenset[str] = frozenset()
        self.missing: dict[str, str] = {}  # names by uuid, of domains without a file in it

    def approve(self, uuids: Collection[str]) -> None:
        """A user wants the directory although the files of these are not in it."""
        self._allowed = frozenset(uuids)

    def check(self, listing: Listing, now: Now) -> tuple[str, ...]:
        """Accept the directory; the uuids that are missing in it, which a user has approved.

        Raises SourceError if it is not accepted.
        """
        if not listing.replaced:
            self.missing = {}
            return ()
        files = {*listing.files, *listing.unreadable, *listing.unfinished}
        missing = {c.uuid: c for c in self._domains
                   if c.state.record.definition is not None and not c.state.removal.believed
                   and c.state.record.definition.file not in files}
        if missing.keys() <= self._allowed:
            self.missing = {}
            self._source.accept_root()
            return tuple(missing)
        self.missing = {uuid: c.name for uuid, c in missing.items()}
        if files and not listing.remounted:
            return ()
        approval = token(self.missing)
        for controller in missing.values():
            controller.apply(AbsenceJudged(
                now, Removal.UNPROVEN, REPLACED, "its file is gone, and the directory is "
                "another one than before; is a disk not mounted? `reconciler approve "
                f"{approval}` removes it"))
        raise SourceError(
            f"{self._source.where}: another directory than before, without the files of "
            f"{len(missing)} of {len(self._domains)} domains; is a disk not mounted?",
            reason=REPLACED, hint="the VMs stay as they are until it is back, or `reconciler "
                                  f"approve {approval}`")

    @property
    def doubt(self) -> str:
        """Why the missing files are not believed to be gone; empty if nothing is in the way."""
        if not self.missing:
            return ""
        return ("the directory is another one than before; `reconciler approve "
                f"{token(self.missing)}` accepts it")
