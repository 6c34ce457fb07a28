"""Plans and explanations without a running reconciler: the same functions on the same facts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.domain.numbers import complete, of_text
from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.control.environment import clocks
from reconciler.engine.dryrun.plan_view import expanded_from, explain_domain
from reconciler.engine.dryrun.review import Review, intake_of, meaning, review
from reconciler.engine.dryrun.snapshot import look
from reconciler.engine.dryrun.target import Kind, Target, files
from reconciler.engine.records.store import DomainRecord, Store
from reconciler.errors import SourceError
from reconciler.stratovirt import binary
from reconciler.stratovirt.record import boot_id

if TYPE_CHECKING:
    from reconciler.engine.dryrun.snapshot import Snapshot
    from reconciler.engine.source.loader import Definitions
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing


async def plans(settings: Settings, name: str | None) -> dict[str, Any]:
    """What a reconciler would do if it were started now."""
    return (await draw(settings, Target())).review.value(name)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A review, and all that it rests on. `current`: what the source has, where that is known."""

    review: Review
    world: Snapshot
    listing: Listing | None
    current: Listing | None = None


async def draw(settings: Settings, target: Target) -> Drawn:
    """What would be done if the source were the target; raises SourceError where it is none."""
    world = await look(settings)
    if target.kind is Kind.SOURCE:
        try:
            listing = await files(settings, target)
        except SourceError as problem:
            return Drawn(review(settings, world, str(problem), clocks()), world, None)
        found = meaning(settings, world, listing)
        return Drawn(review(settings, world, found, clocks()), world, listing, listing)
    listing, current = await files(settings, target), await _current(settings)
    obeyed: frozenset[str] = frozenset()
    if current is not None:
        now = meaning(settings, world, current)
        obeyed = frozenset() if now.unsure else frozenset(world.domains.keys() - now.present)
    found = meaning(settings, world, listing)
    return Drawn(review(settings, world, found, clocks(), obeyed), world, listing, current)


async def _current(settings: Settings) -> Listing | None:
    with suppress(SourceError):  # then nothing of it says that a domain was gone before
        return await files(settings, Target())
    return None


def explain(settings: Settings, name: str) -> dict[str, Any] | None:
    """Everything filled in, for a domain that no reconciler keeps now."""
    memories = {m.uuid: m for m in Store(settings.state / "domains").all(boot_id())}
    found = asyncio.run(_definitions(settings, memories))
    for key, domain in found.accepted.items():
        if name in (domain.name, domain.uuid):
            source = found.sources[key]
            places = memories[domain.uuid].places if domain.uuid in memories else {}
            program = [*binary.find(settings).program, *settings.hypervisor.arguments]
            host = reading_host(settings)
            own = complete(read_domain(source.data, domain.file, host), found.numbers.get(key, {}))
            return explain_domain(own, source.data, places, settings.defaults.spare_ports, program,
                                  settings.runtime / "vms" / domain.name, host.defaults) | (
                expanded_from(domain.file, source.note))
    return None


async def _definitions(settings: Settings, memories: dict[str, DomainRecord]) -> Definitions:
    known = {uuid: memory.definition for uuid, memory in memories.items() if memory.definition}
    return intake_of(settings).definitions(
        await files(settings, Target()), {uuid: text.file for uuid, text in known.items()},
        {uuid: of_text(text.read_with.get("numbers", "")) for uuid, text in known.items()})
