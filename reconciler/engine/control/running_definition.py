"""What the process that runs has got: from its record after a restart, and as live changes go on.

The definition beside the lock is the file's own text until something was changed live; from then on
it is written by us, complete.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.hot_change import as_started, placed
from reconciler.engine.records.store import StoredDefinition, as_text
from reconciler.stratovirt.record import DEFINITION

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.engine.control.environment import Environment
    from reconciler.stratovirt.addresses import Layout
    from reconciler.stratovirt.record import Record


def of_layout(domain: Domain, layout: Layout) -> Domain:
    """What a process has got that was just started with this."""
    return as_started(placed(domain, layout.ports, dict(layout.places)))


def of_record(domain: Domain, record: Record | None) -> Domain:
    """What a process has got, by its definition as it was kept and by its record."""
    if record is None or record.updated:
        return domain
    if not record.places:  # microvm has none
        return as_started(domain)
    ports = (RootPort(alias=f"pcie.{index}", index=index, place=place)
             for index, place in record.ports.items())
    return as_started(placed(domain, ports, record.places))


def load(context: Environment, home: Path, record: Record | None,
         kept: StoredDefinition | None) -> tuple[Domain | None, StoredDefinition | None]:
    """The kept definition, read by today's code (rule 4), and its text; nothing if it is lost."""
    with suppress(OSError):
        text = as_text((home / DEFINITION).read_bytes())
        source = kept if kept is not None and kept.text == text else StoredDefinition(
            text, record.file if record else "", "",
            record.read_with if record else context.host.keep())
        domain = context.read(source)
        if domain is not None:
            return of_record(domain, record), source
    return None, None


def without(applied: Domain, alias: str) -> Domain | None:
    """What it has got without a device that went; None if it had none of this name."""
    left = tuple(d for d in applied.devices if not (d.HOTPLUG and d.alias == alias))
    return None if len(left) == len(applied.devices) else replace(applied, devices=left)
