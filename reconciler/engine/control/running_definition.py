"""What the process of a VM has: from the record beside its lock, and after changes while it runs.

The definition beside the lock is the file's own text until something was changed while the VM ran;
from then on the reconciler writes it, complete.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.hot_change import as_started, placed
from reconciler.engine.decide.state import Running, StoredDefinition, as_text
from reconciler.stratovirt.record import DEFINITION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.stratovirt.addresses import Layout
    from reconciler.stratovirt.record import Record


def of_layout(domain: Domain, layout: Layout) -> Domain:
    """What a process has that is started with this layout."""
    return as_started(placed(domain, layout.ports, dict(layout.places)))


def of_record(domain: Domain, record: Record | None) -> Domain:
    """What a process has, by its kept definition and its record."""
    if record is None or record.updated:
        return domain
    if not record.places:  # microvm has none
        return as_started(domain)
    ports = (RootPort(alias=f"pcie.{index}", index=index, place=place)
             for index, place in record.ports.items())
    return as_started(placed(domain, ports, record.places))


def load(home: Path, record: Record | None, kept: StoredDefinition | None,
         read: Callable[[StoredDefinition], Domain | None]) -> Running | None:
    """The definition beside the lock, read by today's code (rule 4); None if it is lost.

    `kept` is the accepted definition: where its text is the same, its revision is known, too.
    """
    try:
        text = as_text((home / DEFINITION).read_bytes())
    except OSError:
        return None
    if kept is not None and kept.text == text:
        stored = kept
    elif record is not None:
        stored = StoredDefinition(text, record.file, "", record.read_with)
    else:
        stored = StoredDefinition(text)
    domain = read(stored)
    return None if domain is None else Running(of_record(domain, record), stored, domain)


def without_device(running: Domain, alias: str) -> Domain | None:
    """What it has without a device that was removed; None if it had none of this name."""
    left = tuple(d for d in running.devices if not (d.HOTPLUG and d.alias == alias))
    return None if len(left) == len(running.devices) else replace(running, devices=left)
