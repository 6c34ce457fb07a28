"""Plans and explanations without a running reconciler: the same functions on the same facts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.domain.chosen import restored
from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.control.environment import clocks
from reconciler.engine.dryrun.plan_view import expanded_from, explain_domain
from reconciler.engine.dryrun.review import Review, meaning, review
from reconciler.engine.dryrun.snapshot import take
from reconciler.engine.dryrun.target import Kind, Target, files
from reconciler.errors import SourceError
from reconciler.stratovirt import binary

if TYPE_CHECKING:
    from reconciler.engine.dryrun.snapshot import Snapshot
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing


async def plans(settings: Settings, name: str | None) -> dict[str, Any]:
    """What a reconciler would do if it were started now."""
    return (await draw(settings, Target())).review.value(name)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A review, and all that it rests on. `current`: what the source has, if that is known."""

    review: Review
    snapshot: Snapshot
    listing: Listing | None
    current: Listing | None = None


async def draw(settings: Settings, target: Target) -> Drawn:
    """What would be done if the source were the target; raises SourceError."""
    snapshot = await take(settings)
    if target.kind is Kind.SOURCE:
        try:
            listing = await files(settings, target)
        except SourceError as problem:
            return Drawn(review(settings, snapshot, str(problem), clocks()), snapshot, None)
        found = meaning(settings, snapshot, listing)
        return Drawn(review(settings, snapshot, found, clocks()), snapshot, listing, listing)
    listing, current = await files(settings, target), await _current(settings)
    obeyed: frozenset[str] = frozenset()
    if current is not None:
        now = meaning(settings, snapshot, current)
        obeyed = frozenset() if now.unsure else frozenset(snapshot.domains.keys() - now.present)
    found = meaning(settings, snapshot, listing)
    return Drawn(review(settings, snapshot, found, clocks(), obeyed), snapshot, listing, current)


async def _current(settings: Settings) -> Listing | None:
    with suppress(SourceError):  # then it is not known which files were missing before
        return await files(settings, Target())
    return None


async def explain(settings: Settings, name: str) -> dict[str, Any] | None:
    """Everything filled in, for a domain that no reconciler keeps now; None if there is none."""
    snapshot = await take(settings)
    found = meaning(settings, snapshot, await files(settings, Target()))
    for uuid, key in found.keys.items():
        domain = found.definitions.accepted[key]
        if name in (domain.name, domain.uuid):
            known, source = snapshot.domains.get(uuid), found.definitions.sources[key]
            host = reading_host(settings)
            own = restored(read_domain(source.data, domain.file, host),
                           found.definitions.chosen[key])
            return explain_domain(
                own, source.data, dict(known.state.record.places) if known is not None else {},
                settings.defaults.spare_ports,
                [*binary.find(settings).program, *settings.hypervisor.arguments],
                settings.runtime / "vms" / domain.name, host.defaults) | expanded_from(
                    domain.file, source.note)
    return None
