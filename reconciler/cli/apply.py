"""`apply --plan FILE`: applies a saved plan exactly, or refuses if anything has changed since.

A plan of the source itself triggers the restarts and removals that need a confirmation. A plan of
another directory or revision copies those files into the watched directory; the reconciler does
the rest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import complain, paint, progress
from reconciler.cli.verb import FILES, NO, OK, Verb, with_timeout
from reconciler.errors import ReconcilerError, UsageError
from reconciler.report.requests import Request

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.engine.dryrun.entry import Drawn
    from reconciler.settings import Settings


def _arguments(parser: ArgumentParser) -> None:
    action = parser.add_argument("--plan", type=Path, required=True, metavar="FILE",
                                 help="a plan that was saved with `reconciler plan --out FILE`")
    action.complete = FILES  # type: ignore[attr-defined]  # shtab reads this attribute
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the result")
    with_timeout(parser, "5m")


def _run(options: Namespace, settings: Settings) -> int:
    import asyncio

    from reconciler.cli.files import refuse_read_only
    from reconciler.engine.dryrun.entry import draw
    from reconciler.engine.dryrun.saved_plan import moved, plan_file, target_of
    from reconciler.engine.dryrun.target import Kind

    wait = options.timeout
    saved = _read(options.plan)
    target = target_of(saved)
    edits = target.kind is not Kind.SOURCE
    if edits:
        refuse_read_only(settings, "merge the change, then `reconciler sync --wait`")
    drawn = asyncio.run(draw(settings, target))
    fresh = plan_file(settings, target, drawn)
    differences = moved(saved, fresh)
    if differences:
        for line in differences:
            print(paint(line, "red"), file=sys.stderr)
        complain("refused: things have changed since this plan was made",
                 "make a new plan and review it")
        return NO
    if edits:
        _write(settings, drawn, fresh)
        return OK if options.no_wait else _outcome(settings, wait)
    return _by_command(options, settings, fresh, wait)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ReconcilerError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ReconcilerError(f"{path}: not JSON: {error}",
                              hint="`reconciler plan --out FILE` saves a plan") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: not a plan file")
    return value


def _write(settings: Settings, drawn: Drawn, plan: dict[str, Any]) -> None:
    """Write before removing: a domain that moves to another file always has one."""
    from reconciler.cli.files import put

    files = drawn.listing.files if drawn.listing is not None else {}
    try:
        for name in plan["write"]:
            put(settings.domains / name, files[name])
            print(f"{settings.domains / name} written")
        for name in plan["remove"]:
            (settings.domains / name).unlink(missing_ok=True)
            print(f"{settings.domains / name} removed")
    except OSError as error:
        raise ReconcilerError(f"{error.filename}: {error.strerror}",
                              hint="the actions listed above were carried out; the rest were "
                                   "not") from error


def _by_command(options: Namespace, settings: Settings, plan: dict[str, Any], wait: float) -> int:
    """Restart and approve, with the same requests as the verbs of these names."""
    from reconciler.cli.client import ask

    if not plan["restart"] and not plan["approve"]:
        print("nothing in this plan needs a confirmation; the reconciler does the rest by itself")
        return OK
    for entry in plan["restart"]:
        ask(settings, Request.RESTART, entry["uuid"],
            query={"generation": str(entry["generation"])})
        print(f"{entry['domain']}: restarting")
    for entry in plan["approve"]:
        approved = ask(settings, Request.APPROVE, entry["token"])["approved"]
        print(f"approved: {', '.join(approved)} will be destroyed (disks and nvram are kept)")
    return OK if options.no_wait else _outcome(settings, wait)


def _outcome(settings: Settings, wait: float) -> int:
    """Wait as `sync --wait` does, and list the removals that are held for an approval."""
    from reconciler.cli.client import Unreachable, ask

    try:
        with progress("waiting for all domains to be ready"):
            value = ask(settings, Request.SYNC, limit=wait + 30, query={"wait": str(wait)})
        status = ask(settings, Request.STATUS)
    except Unreachable as error:
        complain(f"{error}; the change takes effect when it runs", error.hint)
        return OK
    for approval in status["approvals"]:
        print(f"held: {', '.join(approval['domains'])}; `reconciler approve {approval['token']}` "
              "destroys them")
    bad = sorted({*value["waitingFor"], *(
        d["name"] for d in status["domains"]
        if any(c["type"] == "Stalled" for c in d["conditions"]))})
    if value["error"] or bad:
        complain(value["error"] or f"not ready: {', '.join(bad)}",
                 "`reconciler explain NAME` says why")
        return NO
    return OK


VERBS = (Verb("apply", "apply a saved plan exactly", _run, _arguments,
              "  reconciler plan --out plan.json\n"
              "  reconciler apply --plan plan.json\n"
              "Refuses if anything has changed since the plan was made.\n"
              "exit: 0 applied, 1 refused or not ready, 2 error\n"),)
