"""`explain`: why a domain is in its current state, and everything that was filled in."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import exact, exits, paint
from reconciler.cli.verb import NO, OK, Verb, with_name
from reconciler.errors import UsageError
from reconciler.report.requests import Request
from reconciler.units import show_revision, show_seconds

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings


def _arguments(parser: ArgumentParser) -> None:
    with_name(parser)
    parser.add_argument("-o", "--output", default="text", choices=("text", "json"),
                        help="output format (default: %(default)s)")
    parser.add_argument("--xml", action="store_true", help="print only the completed domain file")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.client import Unreachable, ask

    try:
        value = ask(settings, Request.EXPLAIN, options.name)
    except Unreachable:
        import asyncio

        from reconciler.engine.dryrun.entry import explain

        value = asyncio.run(explain(settings, options.name))
        if value is None:
            raise UsageError(f"no valid file defines domain '{options.name}'", reason="NotFound",
                             hint="`reconciler validate` shows the errors in files") from None
    if options.xml:
        exact(value.get("xml", "").encode())
        return OK if "xml" in value else NO
    print(json.dumps(value, indent=1) if options.output == "json" else _text(value))
    ready = value.get("plan", {}).get("conditions", [{"status": "True"}])[0]
    return OK if ready["status"] == "True" else NO


def _text(value: dict[str, Any]) -> str:
    lines: list[str] = []
    if "status" in value:
        lines += _story(value)
    if "expandedFrom" in value:
        lines.append(f"  expanded  from {value['expandedFrom']}")
    if "definition" in value:
        lines.append(paint("\nDefinition, with all defaults", "bold"))
        lines += [f"  {path}: {shown}" for path, shown in value["definition"].items()]
        lines.append(paint("\nFilled in, and why", "bold"))
        lines += [f"  {f['what']}: {f['value']}  {paint(f['why'], 'dim')}"
                  for f in value["filledIn"]] or ["  nothing"]
        lines.append(paint("\nPCI addresses", "bold"))
        lines += _places(value["tree"])
        free = ", ".join(f"pcie.{n}" for n in value["rootPorts"]["freeForHotPlug"]) or "none"
        lines.append(f"  free for hot plug: {free}")
        running = value.get("runningCommandLine")
        if running is not None and running != value["commandLine"]:
            lines.append(paint("\nCommand line of the running process", "bold"))
            lines.append(_command(running))
        lines.append(paint("\nCommand line of the next start", "bold"))
        lines.append(_command(value["commandLine"]))
    return "\n".join(lines)


def _story(value: dict[str, Any]) -> list[str]:
    status, plan = value["status"], value["plan"]
    seen, wanted = status["observed"], status["desired"]
    revision = show_revision(status["revision"] or "-")
    lines = [(f"{paint(status['name'], 'bold')} from {status['file']} ({revision}, "
              f"generation {status['generation']})"),
             f"  wanted    {wanted['state']}",
             f"  observed  {seen['state']}{', process ' + str(seen['pid']) if seen['pid'] else ''}"]
    lines += [f"  {c['type']:<16} {c['status']:<8} {c['reason']}"
              f"{': ' + c['message'] if c['message'] else ''}" for c in plan["conditions"]]
    steps = ", ".join(step["verb"] for step in plan["steps"]) or "nothing"
    lines.append(f"  decision  {steps} (cause: {plan['cause']})" if plan["steps"]
                 else "  decision  nothing to do now")
    if plan["blocked"]:
        lines.append("  blocked   " + ", ".join(step["verb"] for step in plan["blocked"]))
    if plan["blocked"] and value["nextLook"] is None:
        lines.append("  next try  when that changes")
    if value["nextLook"] is not None:
        lines.append(f"  next try  in {show_seconds(value['nextLook'])}")
    if "stopsBy" in value:
        lines.append(f"  stops by  {value['stopsBy']}")
    lines += [f"  {what:<9} {text}" for what, text in exits(status["restarts"])]
    action = status["lastAction"]
    if action:
        lines.append(f"  last act  {action['name']} at {action['at']}: {action['result']}"
                     f"{', ' + action['error'] if action.get('error') else ''}")
    return lines


def _places(tree: dict[str, Any]) -> list[str]:
    """pcie.0 with its slots and functions, and the device behind each root port."""
    lines = ["  pcie.0"] if tree else ["  no PCI: StratoVirt numbers the devices"]
    for slot, functions in tree.items():
        lines.append(f"    slot {slot}")
        for number, what in functions.items():
            port = f"{what['rootPort']} → " if "rootPort" in what else ""
            lines.append(f"      {number}  {port}{what['device'] or 'empty'}")
    return lines


def _command(arguments: list[str]) -> str:
    """The command line quoted for a shell, with one option and its value on each line."""
    lines: list[str] = []
    for word in arguments:
        quoted = shlex.quote(word)
        if word.startswith("-") or not lines or " " in lines[-1].strip():
            lines.append(f"  {quoted}")
        else:
            lines[-1] += f" {quoted}"
    return " \\\n".join(lines)


VERBS = (Verb("explain", "show why a domain is in its current state", _run,
              _arguments, "  reconciler explain web1\n  reconciler explain web1 -o json | jq "
                          ".commandLine\n  reconciler explain web1 --xml "
                          "      # the file with all values filled in\n"),)
