"""`status`: the state of every domain, from the running reconciler or its last status.json.

A status that no running reconciler stands behind is marked as stale.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import SHOWN, complain, control, exits, paint, table
from reconciler.cli.verb import DOMAINS, ERROR, NO, OK, STALE, Verb
from reconciler.errors import UsageError
from reconciler.report.requests import Request
from reconciler.report.status import STALE_AFTER
from reconciler.units import nearest, show_bytes, show_revision, show_seconds

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from pathlib import Path

    from reconciler.settings import Settings

_COLOURS = {"Current": "green", "InProgress": "yellow", "Failed": "red", "Unknown": "yellow",
            "Terminating": "yellow"}
PATIENCE = 3.0  # seconds for the reconciler to answer; then status.json is read
_POLL = 0.5  # seconds between two reads with --watch


def _arguments(parser: ArgumentParser) -> None:
    name = parser.add_argument("name", nargs="?", metavar="NAME",
                               help="show this domain only, in detail")
    name.complete = DOMAINS  # type: ignore[attr-defined]  # shtab reads this attribute
    parser.add_argument("-o", "--output", default="table",
                        choices=("table", "wide", "json", "yaml", "name"),
                        help="output format (default: %(default)s)")
    parser.add_argument("-w", "--watch", action="store_true",
                        help="keep showing it as it changes")
    parser.add_argument("-q", "--quiet", action="store_true",
                        help="print nothing, only set the exit status")


def _run(options: Namespace, settings: Settings) -> int:
    if not options.watch:
        return _show(options, settings)
    last = ""
    while True:
        text, code = _text(options, settings)
        if text != last:
            if sys.stdout.isatty():
                control("\033[2J\033[H", sys.stdout)
            print(text, flush=True)
            last = text
        if code == ERROR:
            return code
        time.sleep(_POLL)


def _show(options: Namespace, settings: Settings) -> int:
    text, code = _text(options, settings)
    if text and not options.quiet:
        print(text)
    return code


def _text(options: Namespace, settings: Settings) -> tuple[str, int]:
    value = _ask(settings)
    if value is not None:
        return _report(options, settings, value)
    file = settings.state / "status.json"
    try:
        return _report(options, settings, _load(file))
    except (AttributeError, LookupError, TypeError, ValueError):
        complain(f"{file} is damaged, or of another version of the reconciler",
                 "`reconciler run` writes it again")
        return "", ERROR


def _report(options: Namespace, settings: Settings, value: dict[str, Any] | None
            ) -> tuple[str, int]:
    if value is None:
        complain(f"no status in {settings.state}: the reconciler has never run here",
                 "start it with `reconciler run`")
        return "", ERROR
    stale = _stale(settings.state, value)
    domains = value["domains"]
    if options.name is not None:
        domains = [d for d in domains if options.name in (d["name"], d["uuid"])]
        if not domains:
            names = [d["name"] for d in value["domains"]]
            complain(f"no domain '{options.name}'{nearest(options.name, names)}",
                     "`reconciler status` lists the domains")
            return "", NO
    text = _render(options, value, domains, stale)
    if stale:
        return text, STALE
    bad = value["source"]["conditions"][0]["status"] != "True" or (
        value["source"]["invalid"] if options.name is None else [])
    ready = all(d["conditions"][0]["status"] == "True" for d in domains)
    unwritable = value["reconciler"].get("stateError")  # not in the status of older versions
    return text, OK if ready and not bad and not unwritable else NO


def _render(options: Namespace, value: dict[str, Any], domains: list[dict[str, Any]],
            stale: str) -> str:
    if options.output == "name":
        return "\n".join(d["name"] for d in domains)
    if options.output in ("json", "yaml"):
        shown: Any = domains[0] if options.name is not None else {
            **value, "stale": bool(stale)}
        if options.output == "json":
            return json.dumps(shown, indent=1)
        import yaml

        return str(yaml.safe_dump(shown, sort_keys=False)).rstrip()
    return _table(value, domains, stale, wide=options.output == "wide",
                  details=options.name is not None)


def _table(value: dict[str, Any], domains: list[dict[str, Any]], stale: str, *, wide: bool,
           details: bool) -> str:
    lines: list[str] = []
    if stale:
        lines.append(paint(f"STALE: {stale}", "red"))
    hypervisor = value["host"]["hypervisor"]
    if hypervisor["simulated"]:
        lines.append(paint("SIMULATED: no stratovirt on PATH, so no guest really runs", "yellow"))
    if state_error := value["reconciler"].get("stateError"):
        lines.append(paint(f"state: StateUnwritable: {state_error}", "red"))
    if wide and not details:
        lines.append(_from(value["source"]))
    source = value["source"]["conditions"][0]
    if source["status"] != "True":
        lines.append(paint(f"source: {source['reason']}: {source['message']}", "red"))
    heads = ["NAME", "STATE", "WANTED", "READY", "REASON", "AGE"]
    restarted = any(domain["restarts"]["total"] for domain in domains)
    heads += ["PID", "MEMORY", "CPUS", "CONSOLE", "RESTARTS", "FILE"] if wide else (
        ["RESTARTS"] if restarted else [])
    rows, colours = [], []
    for domain in domains:
        more = [str(domain["restarts"]["total"])] if restarted and not wide else []
        rows.append([*_row(domain, wide=wide), *more])
        colours.append([None, None, None, _COLOURS.get(domain["status"]),
                        *([None] * (len(heads) - 4))])
    lines.append(table(heads, rows, colours) if rows else "no domains")
    for domain in domains:
        lines += _remarks(domain, details=details)
    if not details:
        lines += _invalid(value)
        lines += [f"{key}: assigned to another host (placement/@host)"
                  for key in value["source"]["elsewhere"]]
    if wide:
        lines += [f"unmanaged: process {other['pid']} {other['name']}: {other['reason']}"
                  for other in value.get("unmanaged", ())]
    lines += [paint(text, "yellow") for text in _for_the_user(value)]
    return "\n".join(lines)


def _from(source: dict[str, Any]) -> str:
    """The source, its revision, who signed it, and when it was read."""
    revision = f" at {show_revision(source['revision'])}" if source["revision"] else ""
    name = (source.get("verified") or {}).get("name")
    signed = f", signed by {name}" if name else ""
    age = _age(source["lastSuccess"]) if source.get("lastSuccess") else ""
    seen = f", last read {'just now' if age == 'now' else f'{age} ago'}" if age else ""
    return f"files: {source.get('url') or source.get('path')}{revision}{signed}{seen}"


def _for_the_user(value: dict[str, Any]) -> list[str]:
    """What needs an action of the user."""
    found = [f"source: {value['source']['remark']}"] if value["source"].get("remark") else []
    for approval in value.get("approvals", []):
        what = (f"revision {approval['revision']} does not follow the accepted one"
                if approval["kind"] == "NotFastForward"
                else f"{', '.join(approval['domains'])} would be destroyed")
        back = "" if approval["kind"] == "NotFastForward" else ", or restore the files"
        found.append(f"held: {what}; `reconciler approve {approval['token']}`{back}")
    return found


def _row(domain: dict[str, Any], *, wide: bool) -> list[str]:
    ready, seen = domain["conditions"][0], domain["observed"]
    state = SHOWN.get(seen["state"], seen["state"])
    row = [domain["name"], state, domain["desired"]["state"] or "-", ready["status"],
           ready["reason"], _age(ready["lastTransitionTime"])]
    if wide:
        memory = seen.get("memoryBytes")
        row += [str(seen.get("pid") or "-"), show_bytes(memory) if memory else "-",
                str(seen.get("vcpus") or "-"), seen.get("console") or "-",
                str(domain["restarts"]["total"]), domain["file"] or "-"]
    return row


def _remarks(domain: dict[str, Any], *, details: bool) -> list[str]:
    """Lines below the table: what is wrong, or with `details` everything about the domain."""
    found = [f"{paint(domain['name'], 'red' if c['type'] == 'Stalled' else 'yellow')}: "
             f"{_condition(c)} {c['reason']}: {c['message']}"
             for c in _worth_a_line(domain["conditions"], details=details)]
    found += [f"{domain['name']}: waits: {change['path']}: {change['from']} → {change['to']} "
              f"({change['class']}{', ' + change['blockedBy'] if change['blockedBy'] else ''})"
              for change in domain["pending"]]
    if details:
        found += [f"{domain['file']}:{w['line']}: warning: {w['message']}"
                  for w in domain["warnings"]]
        found += [f"depends on {d['domain']} ({d['condition']}): "
                  f"{'met' if d['met'] else 'not met'}" for d in domain.get("dependsOn", ())]
        found += [f"{what}: {text}" for what, text in exits(domain["restarts"])]
        revision = show_revision(domain["revision"] or "-")
        found.append(f"generation {domain['generation']}, observed {domain['observedGeneration']}"
                     f"; revision {revision}; uuid {domain['uuid']}")
    return found


def _worth_a_line(conditions: list[dict[str, Any]], *, details: bool) -> list[dict[str, Any]]:
    """The conditions that are wrong, or all with a message; none that repeats another."""
    found = [c for c in conditions if c["message"] and c["type"] not in ("Reconciling", "Valid")
             and (details or c["type"] != "Ready" or c["status"] != "True")]
    ready = conditions[0]
    if ready["reason"] == "HealthCheckFailed":
        found = [c for c in found if c["type"] != "Healthy"]
    others = [c for c in found if c is not ready]
    repeated = any((c["reason"], c["message"]) == (ready["reason"], ready["message"])
                   for c in others)
    return others if repeated or any(c["type"] == "Stalled" for c in others) else found


def _condition(condition: dict[str, Any]) -> str:
    kind: str = condition["type"]
    return {"True": kind, "False": f"not {kind}"}.get(condition["status"], f"{kind} unknown")


def _invalid(value: dict[str, Any]) -> list[str]:
    found = []
    for entry in value["source"]["invalid"]:
        owned = any(d["file"] == entry["file"] and entry["domain"] in (None, d["name"])
                    for d in value["domains"])
        if not owned:
            found += [paint(error, "red") for error in entry["errors"]]
    return found


def _age(moment: str) -> str:
    try:
        since = datetime.now(UTC) - datetime.fromisoformat(moment)
    except ValueError:
        return "-"
    return show_seconds(max(0.0, since.total_seconds())) if since.total_seconds() >= 1 else "now"


def _ask(settings: Settings) -> dict[str, Any] | None:
    """The status from the running reconciler: status.json may be outdated on a full disk."""
    from reconciler.cli.client import Unreachable, ask, socket_of

    if not socket_of(settings).exists():
        return None
    try:
        value: dict[str, Any] = ask(settings, Request.STATUS, limit=PATIENCE)
    except (Unreachable, UsageError):
        return None
    return value


def _load(path: Path) -> dict[str, Any] | None:
    """The content of a file; None if there is none. Raises ValueError if it is no JSON object."""
    try:
        value: object = json.loads(path.read_bytes())
    except OSError:
        return None
    if not isinstance(value, dict):
        message = f"{path}: not a JSON object"
        raise ValueError(message)
    return value


def _stale(state: Path, value: dict[str, Any]) -> str:
    """Why the status may be outdated; empty while the reconciler is alive."""
    try:
        beat = _load(state / "heartbeat.json") or {}
    except ValueError:
        beat = {}  # damaged: the status itself has a time, too
    newest = max(value["generatedAt"], str(beat.get("at", "")))
    every = float(str(value["reconciler"]["heartbeatEvery"]).removesuffix("s"))
    age = (datetime.now(UTC) - datetime.fromisoformat(newest)).total_seconds()
    if not _alive(int(value["reconciler"]["pid"])):
        return (f"the reconciler (process {value['reconciler']['pid']}) is not running; last "
                f"status {show_seconds(max(age, 0))} ago. VMs do not depend on it; what they do "
                "now is not known.")
    if age > STALE_AFTER * every:
        return (f"no heartbeat for {show_seconds(age)}: the reconciler may be hung, or it cannot "
                f"write to {state} (see its log)")
    return ""


def _alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not reaped by its parent does not."""
    from reconciler.host.start_time import start_time

    return start_time(pid) is not None


VERBS = (Verb("status", "show the state of every domain", _run, _arguments,
              "  reconciler status\n  reconciler status web1 -o json | jq .conditions\n"
              "  reconciler status -o wide --watch\n  reconciler status -q && echo all ready\n"
              "exit: 0 all ready, 1 not all ready, 2 no status, 3 stale (reconciler not "
              "running)\n"),)

