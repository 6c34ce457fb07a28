"""The reference page of the domain file, made from the tables that the reader reads by.

    python -m reconciler.domain.reference > docs/reference/domain-file.md

A test holds the page to the tables.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.domain.metadata import RULE, URN
from reconciler.domain.rules import Element, Verdict
from reconciler.domain.table import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = f"""# The domain file

Made from the reader's own tables (`python -m reconciler.domain.reference`); do not edit.

One file is one domain, in libvirt's XML. Every element and attribute has one of these verdicts:

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
_WORDS = {Verdict.READ: "read", Verdict.SILENT: "accepted", Verdict.WARNED: "ignored",
          Verdict.REFUSED: "refused", Verdict.LATER: "later"}


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(f"| `{where}` | {verdict} | {accepted} |\n"
                           for where, verdict, accepted in (
                               *_rows(DOMAIN, ""), *_rows(RULE, "domain/metadata")))


def _rows(rule: Element, parent: str) -> Iterator[tuple[str, str, str]]:
    name = rule.name.rpartition("}")[2]
    where = f"{parent}/{name}" if parent else name
    text = rule.text.name if rule.text is not None else ""
    more = " (repeatable)" if rule.many and rule.verdict is Verdict.READ else ""
    yield where, _WORDS[rule.verdict], _cell(rule.message or text) + more
    for attribute in rule.attributes:
        accepted = "" if attribute.verdict is Verdict.SILENT else (
            attribute.message or attribute.type.name)
        yield f"{where}/@{attribute.name}", _WORDS[attribute.verdict], _cell(accepted)
    for child in rule.children:
        yield from _rows(child, where)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
