"""`plan`: the very value that the engine executes, printed; with a reconciler or without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import complain, paint
from reconciler.cli.verb import DOMAINS, ERROR, NO, OK, Verb
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

_SIGNS = {"start": "+", "start-paused": "+", "stop": "-", "forget": "-", "pause": "~",
          "resume": "~", "update": "~", "check": "?"}
_CLASSES = {"none": "no effect", "host": "host: the guest does not notice",
            "recreate": "recreate: a new process"}
_PAINTS = {"+": "green", "-": "red", "~": "yellow", "?": "blue"}


def _arguments(parser: ArgumentParser) -> None:
    name = parser.add_argument("name", nargs="?", metavar="NAME", help="only this domain")
    name.complete = DOMAINS  # type: ignore[attr-defined]  # shtab reads it off the action
    parser.add_argument("-o", "--output", default="text", choices=("text", "json"))


def _run(options: Namespace, settings: Settings) -> int:
    try:
        value = plans(settings, options.name)
    except UsageError as error:  # exit status 1 would mean changes
        complain(str(error), error.hint)
        return ERROR
    if options.output == "json":
        print(json.dumps(value, indent=1))
    else:
        print(text(value))
    if value["sourceError"] or value["invalid"]:
        return ERROR
    if options.name and not value["plans"]:
        complain(f"no domain '{options.name}'", "`reconciler status` lists those that there are")
        return ERROR
    return NO if any(plan["changesAnything"] for plan in value["plans"]) else OK


def plans(settings: Settings, name: str | None) -> dict[str, Any]:
    """Every plan, from the reconciler that runs, else made here by the same function."""
    from reconciler.cli.client import Unreachable, ask

    query = {"name": name} if name else {}
    try:
        value: dict[str, Any] = ask(settings, "GET", "api", "v1", "plan", query=query)
    except Unreachable:
        import asyncio

        from reconciler.engine.offline import plans as offline

        return asyncio.run(offline(settings, name))
    return value


def text(value: dict[str, Any]) -> str:
    """For people."""
    lines = [paint(f"source: {value['sourceError']}", "red")] if value["sourceError"] else []
    for entry in value["invalid"]:
        lines += [paint(error, "red") for error in entry["errors"]]
    quiet = 0
    for plan in value["plans"]:
        if not plan["changesAnything"] and not plan["changes"]:
            quiet += 1
            continue
        lines += _one(plan)
    lines += [f"{key}: kept by another host (placement/@host)" for key in value["elsewhere"]]
    if quiet:
        lines.append(f"{quiet} domain{'s' if quiet > 1 else ''}: nothing to do")
    return "\n".join(lines) or "no domains"


def _one(plan: dict[str, Any]) -> list[str]:
    ready = plan["conditions"][0]
    head = f"{paint(plan['name'], 'bold')} ({plan['file'] or 'no file'}): {ready['reason']}"
    lines = [f"{head}, because of {plan['cause']}"]
    why = next((c["message"] for c in plan["conditions"] if c["message"]), "")
    for step in (*plan["steps"], *plan["blocked"]):
        sign = _SIGNS.get(step["verb"], " ")
        waits = "" if step in plan["steps"] else paint(f"  waits: {why}", "yellow")
        rollback = " the last definition that came up" if step.get("rollback") else ""
        lines.append(f"  {paint(sign, _PAINTS.get(sign, 'dim'))} {step['verb']}{rollback}{waits}")
    for change in plan["changes"]:
        where = f"{change['file']}:{change['line']}  " if change["line"] else ""
        blocked = f", waits for {change['blockedBy']}" if change["blockedBy"] else ""
        lines.append(f"    {where}{change['path']}: {change['from']} → {change['to']}  "
                     f"{paint(_CLASSES.get(change['class'], change['class']) + blocked, 'dim')}")
    return lines


VERBS = (Verb("plan", "what would be done now, and why", _run, _arguments,
              "  reconciler plan\n  reconciler plan web1 -o json\n"
              "exit: 0 nothing to do, 1 changes, 2 an error or an invalid file\n"),)
