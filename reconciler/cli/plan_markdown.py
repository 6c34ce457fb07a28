"""Formats a plan as Markdown, for the comment of a CI job on a change under review.

The order is fixed and there are no counters, so that two runs on the same state give the same
text. Text from domain files is escaped.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from reconciler.cli.plan_text import cost, eventful, place, summary, what, why_not_now

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "<!-- reconciler plan -->"  # by which a job finds its own comment
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~^-])")
_LONGEST, _LONGEST_ERROR = 200, 1000  # characters of one value, so that the table stays readable


def markdown(value: dict[str, Any]) -> str:
    """The plan as Markdown."""
    lines = [MARK, f"**Plan:** {escaped(summary(value))}", ""]
    if value["sourceError"]:
        lines += [f"**The source cannot be read:** {escaped(value['sourceError'])}", ""]
    if value["invalid"]:
        lines += ["**Invalid:**", ""]
        lines += [f"- {escaped(error, _LONGEST_ERROR)}" for entry in sorted(
            value["invalid"], key=lambda entry: str(entry["file"])) for error in entry["errors"]]
        lines.append("")
    plans = [plan for plan in value["plans"] if eventful(plan)]
    acting = [plan for plan in plans if plan["action"] != "none"]
    if acting:
        lines += _table(("Domain", "File", "What", "Waits for"), (
            (plan["name"], plan["file"] or "gone", what(plan), why_not_now(plan))
            for plan in acting))
    changes = [(place(plan, change), plan["name"], change["path"],
                f"{change['from']} → {change['to']}",
                cost(change) + (f", waits for {change['blockedBy']}" if change["blockedBy"] else "")
                ) for plan in plans for change in plan["changes"]]
    if changes:
        count = f"{len(changes)} field{'s' if len(changes) > 1 else ''}"
        lines += [f"<details><summary>{count}</summary>", "",
                  *_table(("Where", "Domain", "Field", "Change", "Class and cost"), changes),
                  "</details>", ""]
    for file in sorted(value.get("elsewhere", [])):
        lines.append(f"{escaped(file)}: assigned to another host  ")
    return "\n".join(lines).rstrip() + "\n"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}",
            *(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows), ""]


def escaped(text: str, longest: int = _LONGEST) -> str:
    """Text for a table cell, as it is: no markup, no mention of a user, no link, one line."""
    text = " ".join(text.split())
    if len(text) > longest:
        text = f"{text[:longest]}…"
    text = _SPECIAL.sub(r"\\\1", html.escape(text, quote=False))
    return text.replace("@", "&#64;").replace("://", "&#58;//").replace("www.", "www&#46;")
