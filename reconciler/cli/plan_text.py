"""Formats a plan as text and as a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import paint
from reconciler.units import show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS = {"start": "+", "stop": "-", "destroy": "-", "recreate": "!", "pause": "~", "resume": "~",
          "update": "~"}
_PAINTS = {"+": "green", "-": "red", "!": "red", "~": "yellow"}
_BECOMES = {"stop": "stopped", "pause": "paused", "resume": "running"}
# Reasons whose messages have counters, which would differ in every run.
COUNTING = ("BackOff", "CrashLoop", "DriftFight", "QmpTimeout")


def text(value: dict[str, Any]) -> str:
    """The plan as text."""
    lines = [paint(f"source: {value['sourceError']}", "red")] if value["sourceError"] else []
    for entry in value["invalid"]:
        lines += [paint(error, "red") for error in entry["errors"]]
    for plan in value["plans"]:
        if eventful(plan):
            lines += _one(plan)
    for file in value.get("elsewhere", []):
        lines.append(paint(f"{file}: assigned to another host (placement/@host)", "dim"))
    return "\n".join([*lines, summary(value)])


def eventful(plan: dict[str, Any]) -> bool:
    """Whether the plan of a domain is worth a line."""
    return bool(plan["changesAnything"] or plan["changes"] or plan["action"] != "none")


def summary(value: dict[str, Any]) -> str:
    """For example: 2 to start, 1 to recreate (down about 31 s), 9 unchanged; 1 of them waits."""
    counts = dict(value["summary"])
    waiting, same = counts.pop("waiting"), counts.pop("unchanged")
    parts = [f"{count} to {action}{_longest(value) if action == 'recreate' else ''}"
             for action, count in counts.items() if count]
    if not parts:
        return f"{same} domain{'s' if same != 1 else ''}: nothing to do" if same else "no domains"
    waits = f"; {waiting} of them wait{'s' if waiting == 1 else ''}" if waiting else ""
    return ", ".join([*parts, *([f"{same} unchanged"] if same else [])]) + waits


def _longest(value: dict[str, Any]) -> str:
    down = [plan["downSeconds"] for plan in value["plans"] if plan["action"] == "recreate"]
    most = "" if len(set(down)) == 1 else "up to "
    return f" ({'each ' if len(down) > 1 else ''}down {most or 'about '}{show_seconds(max(down))})"


def what(plan: dict[str, Any]) -> str:
    """The action on a domain and its effect on the guest."""
    if plan["action"] == "none":
        return plan["conditions"][0]["reason"] if plan["conditions"] else "no changes"
    cost = f", {plan['cost']}" if plan["cost"] else ""
    return f"{plan['action']}{cost}"


def why_not_now(plan: dict[str, Any]) -> str:
    """What the action waits for, without counters."""
    if not plan["waits"]:
        return ""
    by_type = {c["type"]: c for c in plan["conditions"]}
    for kind in ("PruneHeld", "Ready", "Stalled", "Reconciling"):
        if kind in by_type and by_type[kind]["reason"] != "InSync":
            found = by_type[kind]
            counts = found["reason"] in COUNTING or not found["message"]
            return str(found["reason"] if counts else found["message"])
    return ""


def cost(change: dict[str, Any]) -> str:
    """A change's class and its effect on the guest."""
    return change["cost"] if change["class"] == "none" else f"{change['class']}, {change['cost']}"


def place(plan: dict[str, Any], change: dict[str, Any]) -> str:
    """Where the change is written: file:line."""
    file = change.get("file") or plan["file"] or ""
    return f"{file}:{change['line']}" if change["line"] else file


def _one(plan: dict[str, Any]) -> Iterator[str]:
    sign = _SIGNS.get(plan["action"], " ")
    file = f" ({plan['file']})" if plan["file"] else " (no file)"
    cause = f" (cause: {plan['cause']})" if plan["steps"] else ""
    yield (f"{paint(sign, _PAINTS.get(sign, 'dim'))} {paint(plan['name'], 'bold')}{file}: "
           f"{what(plan)}{cause}")
    waits = why_not_now(plan)
    if waits:
        yield paint(f"    waits: {waits}", "yellow")
    if any(step.get("rollback") for step in plan["steps"]):
        yield "    with the last known good definition"
    for change in plan["changes"]:
        blocked = f", waits for {change['blockedBy']}" if change["blockedBy"] else ""
        yield (f"    {place(plan, change)}  {change['path']}: {change['from']} → {change['to']}  "
               f"{paint(cost(change) + blocked, 'dim')}")


def diff(value: dict[str, Any]) -> str:
    """A unified diff with a hunk for each field; a change of state is a field too."""
    return "\n".join(line for plan in value["plans"] if eventful(plan) for line in _hunks(plan))


def _hunks(plan: dict[str, Any]) -> Iterator[str]:
    yield paint(f"--- {plan['name']} (current)", "bold")
    yield paint(f"+++ {plan['name']} ({plan['file'] or 'no file'})", "bold")
    if plan["action"] not in ("none", "update", "recreate"):
        waits = why_not_now(plan)
        yield paint(f"@@ {what(plan)}{f', waits: {waits}' if waits else ''} @@", "blue")
        if plan["action"] == "destroy":
            yield paint(f"-domain: {plan['name']}", "red")
        else:
            paused = any(s["verb"] == "start-paused" for s in (*plan["steps"], *plan["blocked"]))
            state = _BECOMES.get(plan["action"], "paused" if paused else "running")
            yield paint(f"+state: {state}", "green")
    for change in plan["changes"]:
        blocked = f", waits for {change['blockedBy']}" if change["blockedBy"] else ""
        yield paint(f"@@ {place(plan, change)} {cost(change)}{blocked} @@", "blue")
        for sign, side, colour in (("-", "from", "red"), ("+", "to", "green")):
            if change[side] != "none":
                yield paint(f"{sign}{change['path']}: {change[side]}", colour)
