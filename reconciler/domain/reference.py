"""The reference page of the domain file, made from the reader's tables.

    python -m reconciler.domain.reference > docs/reference/domain-file.md

A test compares the page with the tables.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.domain import xml_paths
from reconciler.domain.devices import Disk
from reconciler.domain.difference import impact_of
from reconciler.domain.metadata import RULE, URN
from reconciler.domain.model import Impact
from reconciler.domain.rules import Element, RowVerdict
from reconciler.domain.table import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = f"""# The domain file

Made from the reader's tables (`python -m reconciler.domain.reference`); do not edit.

A file defines one domain in libvirt's XML, or several with `reconcile/@count`
([how](../how-to/repeat-less.md)). Every element and attribute has one of these verdicts:

- **accept**: its value has an effect; the type is given.
- **ignore**: allowed without a message; it does not change the guest, or libvirt adds it by itself.
- **warn**: ignored, with one warning that gives its line; an error with `validate --strict`.
- **reject**: an error, because the guest would miss it or the user relies on it.
- **not yet**: an error, because it is not implemented yet.

Everything else is an error that suggests the nearest known name. Never accepted: a DTD, an entity,
a processing instruction, more than 1 MiB, more than 64 levels, more than 5 s to parse, and `,`,
`=`, control characters or a leading `-` in values that StratoVirt would parse as something else.

The desired state is the element `reconcile` of the namespace `{URN}` in `<metadata>`; metadata of
other namespaces is kept and ignored.

| where | verdict | accepted |
|---|---|---|
"""
_CLASSES = {Impact.NONE: "no effect", Impact.HOST: "host", Impact.LIVE: "live",
            Impact.RECREATE: "recreate"}


_COSTS = """
## Changes of a running VM

`reconciler plan` shows each change with its class:

- **live**: the running VM is changed, on q35 and virt, if a root port is free for a new device. If
  the guest does not cooperate (a device is removed, a processor changes), it takes a new process,
  and so does the removal of a processor that was there at the start.
- **host**: only the host's side changes; the guest does not notice.
- **recreate**: it takes a new process.
- **no effect**: nothing to apply to the running VM; the value is used from now on, or from the next
  start.

A device is named by its element and, in brackets, what identifies it: the target of a disk, the MAC
address of an interface, the port of a console, the name of a channel, the alias of an rng, the
address of a hostdev, and `pci.1`, `scsi0` or `virtio-serial0` for a controller. `r:ignore` takes
the same paths, paths of parents (`disk[vda]`, `disk[vda]/iotune`), and aliases in the brackets (for
interfaces also the tap).

| path | class |
|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = "".join(f"| `{where}` | {verdict} | {accepted} |\n"
                   for where, verdict, accepted in (
                       *_rows(DOMAIN, ""), *_rows(RULE, "domain/metadata")))
    return _HEAD + rows + _COSTS + "".join(f"| {what} | {impact} |\n" for what, impact in costs())


def costs() -> Iterator[tuple[str, str]]:
    """Every path that a difference can have, with its class."""
    for paths in (xml_paths.DOMAIN, xml_paths.BACKING, xml_paths.BOOT):
        yield from ((f"`{path}`", _CLASSES[impact_of(name)]) for name, path in paths.items())
    yield from ((f"`{path}`", _CLASSES[Impact.NONE]) for path in sorted(xml_paths.POLICY.values()))
    for kind in sorted(xml_paths.CLASSES, key=lambda d: (d.RANK, d.__name__)):
        name = (kind.ELEMENT or kind.KIND) + ("" if kind.SINGLE else "[…]")
        of_type = f" ({kind.KIND})" if kind.ELEMENT else (
            f" (bus='{kind.BUS}')" if issubclass(kind, Disk) else "")
        yield (f"`{name}`{of_type} added or removed",
               _CLASSES[Impact.LIVE if kind.HOTPLUG else Impact.RECREATE])
        for field, path in kind.PATHS.items():
            impact = kind.IMPACT.get(field, impact_of(field))
            yield f"`{name}/{path}`{of_type}", _CLASSES[impact]


def _rows(rule: Element, parent: str) -> Iterator[tuple[str, str, str]]:
    name = rule.name.rpartition("}")[2]
    where = f"{parent}/{name}" if parent else name
    text = rule.text.name if rule.text is not None else ""
    more = " (repeatable)" if rule.many and rule.verdict is RowVerdict.ACCEPT else ""
    yield where, rule.verdict.value, _cell(rule.because or text) + more
    for attribute in rule.attributes:
        accepted = "" if attribute.verdict is RowVerdict.IGNORE else (
            attribute.because or attribute.type.name)
        yield f"{where}/@{attribute.name}", attribute.verdict.value, _cell(accepted)
    for child in rule.children:
        yield from _rows(child, where)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
