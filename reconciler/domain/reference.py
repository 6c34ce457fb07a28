"""The reference page of the domain file, made from the tables that the reader reads by.

    python -m reconciler.domain.reference > docs/reference/domain-file.md

A test holds the page to the tables.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from reconciler.domain import devices
from reconciler.domain.difference import impact_of
from reconciler.domain.metadata import RULE, URN
from reconciler.domain.model import Boot, Device, Domain, Impact
from reconciler.domain.rules import Element, RowVerdict
from reconciler.domain.table import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = f"""# The domain file

Made from the reader's own tables (`python -m reconciler.domain.reference`); do not edit.

One file is one domain, in libvirt's XML, or several by `reconcile/@count`
([how](../how-to/repeat-less.md)). Every element and attribute has one of these verdicts:

- **read**: it means something here; its type is given.
- **accepted**: it changes nothing for the guest, or libvirt adds it by itself.
- **ignored**: with one warning that names its line; `validate --strict` counts it.
- **refused**: an error, since the guest would miss it or the operator counts on it.
- **later**: refused with its line as not built yet.

What stands in none of these rows is an error that names the nearest known name. Never accepted:
a DTD, an entity, a processing instruction, more than 1 MiB, more than 64 levels, and in any value
that StratoVirt would take apart a `,`, a `=`, a control character or a leading `-`.

The desired state is one element `reconcile` of the namespace `{URN}` in `<metadata>`; metadata of
other namespaces is kept and ignored.

| where | verdict | accepted |
|---|---|---|
"""
_PARTS = ("devices", "boot", "policy")
_CLASSES = {Impact.NONE: "no effect", Impact.HOST: "host", Impact.LIVE: "live",
            Impact.RECREATE: "recreate"}
_WORDS = {RowVerdict.ACCEPT: "read", RowVerdict.IGNORE: "accepted", RowVerdict.WARN: "ignored",
          RowVerdict.REJECT: "refused", RowVerdict.NOT_YET: "later"}


_COSTS = """
## What a change costs a VM that runs

`reconciler plan` shows each change with its class:

- **live**: the VM that runs is told; only on q35 and virt, and where a root port is free. What the
  guest must agree to (a device that goes, a processor) takes a new process if it does not, and so
  does a processor that is to go though it was there at the start.
- **host**: the host's side changes; the guest does not notice.
- **recreate**: it takes a new process.
- **no effect**: nothing that runs notices; it counts from now on, or from the next start.

| what | class |
|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = "".join(f"| `{where}` | {verdict} | {accepted} |\n"
                   for where, verdict, accepted in (
                       *_rows(DOMAIN, ""), *_rows(RULE, "domain/metadata")))
    return _HEAD + rows + _COSTS + "".join(f"| {what} | {impact} |\n" for what, impact in costs())


def costs() -> Iterator[tuple[str, str]]:
    """What each change costs, read off where it is decided."""
    for name in (f.name for f in fields(Domain) if f.compare and f.name not in _PARTS):
        yield f"`{name}`", _CLASSES[impact_of(name)]
    for name in (f.name for f in fields(Boot)):
        yield f"`{name}`", _CLASSES[impact_of(name)]
    yield "`policy`: all of the metadata", _CLASSES[Impact.NONE]
    for device in sorted(_device_classes(), key=lambda d: (d.RANK, d.__name__)):
        whole = Impact.LIVE if device.HOTPLUG else Impact.RECREATE
        yield f"a `{device.__name__}` comes or goes", _CLASSES[whole]
        yield from ((f"`{device.__name__}.{name}`", _CLASSES[impact])
                    for name, impact in sorted(device.IMPACT.items()))
    yield "`alias` of a device", _CLASSES[impact_of("alias")]
    yield "anything else of a device", _CLASSES[Impact.RECREATE]


def _device_classes() -> list[type[Device]]:
    found = [getattr(devices, name) for name in devices.__all__]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, Device)]


def _rows(rule: Element, parent: str) -> Iterator[tuple[str, str, str]]:
    name = rule.name.rpartition("}")[2]
    where = f"{parent}/{name}" if parent else name
    text = rule.text.name if rule.text is not None else ""
    more = " (repeatable)" if rule.many and rule.verdict is RowVerdict.ACCEPT else ""
    yield where, _WORDS[rule.verdict], _cell(rule.because or text) + more
    for attribute in rule.attributes:
        accepted = "" if attribute.verdict is RowVerdict.IGNORE else (
            attribute.because or attribute.type.name)
        yield f"{where}/@{attribute.name}", _WORDS[attribute.verdict], _cell(accepted)
    for child in rule.children:
        yield from _rows(child, where)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
