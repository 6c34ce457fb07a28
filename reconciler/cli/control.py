"""Verbs that need a running reconciler: restart, hold, release, approve, sync."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from reconciler.cli.client import ask
from reconciler.cli.terminal import complain, progress
from reconciler.cli.verb import APPROVAL_NEEDED, NO, OK, Verb, with_name, with_timeout
from reconciler.cli.wait import missing
from reconciler.errors import UsageError
from reconciler.report.requests import Request

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings


def _restart(options: Namespace, settings: Settings) -> int:
    ask(settings, Request.RESTART, options.name)
    print(f"{options.name}: restarting; follow it with `reconciler status {options.name} --watch`")
    return OK


def _hold(options: Namespace, settings: Settings) -> int:
    query = {"by": _user(), "reason": options.reason or ""}
    if options.time is not None:
        query["for"] = options.time
    if _one(options, "hold"):
        ask(settings, Request.HOLD, options.name, query=query)
    else:
        ask(settings, Request.HOLD_ALL, query=query)
    time = "" if options.time is None else f" for {options.time}"
    print(f"{options.name or 'all domains'}: held{time}; `reconciler release "
          f"{options.name or '--all'}` ends it")
    return OK


def _one(options: Namespace, verb: str) -> bool:
    """Whether NAME was given; False with --all. Raises UsageError for neither and for both."""
    if bool(options.name) is options.all:
        raise UsageError("NAME or --all is required",
                         hint=f"`reconciler {verb} NAME`, or `reconciler {verb} --all`")
    return bool(options.name)


def _user() -> str:
    """Who holds: the user (the one behind sudo) and the terminal."""
    name = os.environ.get("SUDO_USER") or getpass.getuser()
    try:
        return f"{name}@{os.ttyname(sys.stdin.fileno()).removeprefix('/dev/')}"
    except OSError:
        return f"{name} (no terminal)"


def _release(options: Namespace, settings: Settings) -> int:
    if _one(options, "release"):
        ask(settings, Request.RELEASE, options.name)
    else:
        ask(settings, Request.RELEASE_ALL)
    print(f"{options.name or 'all domains'}: released")
    return OK


def _approve(options: Namespace, settings: Settings) -> int:
    tokens = [options.token] if options.token else _asked_about(settings)
    if tokens is None:
        return APPROVAL_NEEDED
    approved = [name for token in tokens
                for name in ask(settings, Request.APPROVE, token)["approved"]]
    gone = [name for name in approved if not name.startswith("revision ")]
    for revision in (name for name in approved if name not in gone):
        print(f"approved: {revision} is accepted, although the branch was force-pushed")
    if gone:
        print(f"approved: {', '.join(gone)} will be destroyed (disks and nvram are kept)")
    return OK


def _asked_about(settings: Settings) -> list[str] | None:
    """The tokens of what waits, if the user wants all of it; None without a terminal to ask at."""
    waiting = ask(settings, Request.STATUS)["approvals"]
    if not waiting:
        raise UsageError("nothing waits for an approval", reason="Refused")
    for approval in waiting:
        names = approval["domains"]
        what = (f"{len(names)} domains would be destroyed: {', '.join(names)}" if names
                else f"revision {approval.get('revision', '')} would be accepted")
        print(f"{approval['token']}  {approval['kind']}: {what}")
    if not sys.stdin.isatty():
        complain("nothing was approved: the token is missing",
                 f"`reconciler approve {waiting[0]['token']}` approves exactly that")
        return None
    print("Approve all of this? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print("nothing was approved")
        return []
    return [approval["token"] for approval in waiting]


def _sync(options: Namespace, settings: Settings) -> int:
    wait = options.timeout if options.wait else 0.0
    with progress("waiting for all domains to be ready"):
        value = ask(settings, Request.SYNC, limit=wait + 30, query={"wait": str(wait)})
    if not options.wait:
        return OK
    if value["error"]:
        complain(f"the source cannot be read: {value['error']}")
        return NO
    if value["waitingFor"]:
        complain(f"timed out; not ready: {', '.join(value['waitingFor'])}",
                 "`reconciler explain NAME` says why")
        return NO
    hopeless = [why for why, final in missing(ask(settings, Request.STATUS), None, None,
                                             "Ready") if final]
    for why in hopeless:
        complain(why)
    return NO if hopeless else OK


def _release_arguments(parser: ArgumentParser) -> None:
    with_name(parser, optional=True)
    parser.add_argument("--all", action="store_true", help="all domains, including future ones")


def _hold_arguments(parser: ArgumentParser) -> None:
    _release_arguments(parser)
    parser.add_argument("--reason", help="a reason, shown in the status")
    parser.add_argument("--for", dest="time", metavar="DURATION",
                        help="end the hold after this time, for example 2h")


def _approve_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("token", nargs="?", metavar="TOKEN",
                        help="from `status`; without one, the user is asked at a terminal")


def _sync_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true",
                        help="wait until every domain is Ready or Stalled")
    with_timeout(parser, "5m")


VERBS = (
    Verb("restart", "restart a VM and apply its deferred changes", _restart, with_name,
         "  reconciler restart web1\n"
         "Also resets the delays after failures and the crash-loop counter.\n"),
    Verb("hold", "suspend reconciliation of a domain", _hold, _hold_arguments,
         "  reconciler hold web1 --reason 'disk repair' --for 2h\n"
         "  reconciler hold --all --reason 'storage moves' --for 1h\n"
         "The VM keeps running; differences are reported and not corrected.\n"),
    Verb("release", "end a hold and resume reconciliation", _release, _release_arguments,
         "  reconciler release web1\n  reconciler release --all\n"),
    Verb("approve", "approve a held mass removal or a force-pushed branch",
         _approve, _approve_arguments,
         "  reconciler approve p-3f2a1c\n"
         "Without a token it lists what waits, and asks at a terminal.\n"
         "exit: 0 done, 1 refused, 2 error, 3 a token is needed\n"),
    Verb("sync", "read the source now", _sync, _sync_arguments,
         "  git pull && reconciler sync --wait --timeout 2m\n"
         "exit: 0 done, 1 with --wait: timed out, invalid or Stalled (see stderr), 2 error\n"),
)
