"""Verbs that only the running reconciler can do: restart, hold, release, approve, sync."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from reconciler.cli.client import ask
from reconciler.cli.terminal import complain, progress
from reconciler.cli.verb import NO, OK, Verb, with_name, with_timeout
from reconciler.cli.wait import missing
from reconciler.errors import UsageError
from reconciler.report.requests import Request

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings


def _restart(options: Namespace, settings: Settings) -> int:
    ask(settings, Request.RESTART, options.name)
    print(f"{options.name}: restarting; `reconciler status {options.name} --watch` shows it")
    return OK


def _hold(options: Namespace, settings: Settings) -> int:
    query = {"by": f"{getpass.getuser()}@{_terminal()}", "reason": options.reason or ""}
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
        raise UsageError("which domain?", hint=f"`reconciler {verb} NAME`, or --all for all")
    return bool(options.name)


def _terminal() -> str:
    try:
        return os.ttyname(sys.stdin.fileno()).removeprefix("/dev/")
    except OSError:
        return "notty"


def _release(options: Namespace, settings: Settings) -> int:
    if _one(options, "release"):
        ask(settings, Request.RELEASE, options.name)
    else:
        ask(settings, Request.RELEASE_ALL)
    print(f"{options.name or 'all domains'}: released")
    return OK


def _approve(options: Namespace, settings: Settings) -> int:
    answer = (ask(settings, Request.APPROVE, options.token) if options.token
              else ask(settings, Request.APPROVE_ALL))
    approved = answer["approved"]
    gone = [name for name in approved if not name.startswith("revision ")]
    for revision in (name for name in approved if name not in gone):
        print(f"approved: {revision} is taken, though it does not come after the accepted one")
    if gone:
        print(f"approved: {', '.join(gone)} will be destroyed (disks and nvram are kept)")
    return OK


def _sync(options: Namespace, settings: Settings) -> int:
    wait = options.timeout if options.wait else 0.0
    with progress("waiting until all is ready"):
        value = ask(settings, Request.SYNC, limit=wait + 30, query={"wait": str(wait)})
    if not options.wait:
        return OK
    if value["error"]:
        complain(f"the source cannot be read: {value['error']}")
        return NO
    if value["waitingFor"]:
        complain(f"not ready in time: {', '.join(value['waitingFor'])}",
                 "`reconciler explain NAME` says why")
        return NO
    in_vain = [why for why, final in missing(ask(settings, Request.STATUS), None, None,
                                             "Ready") if final]
    for why in in_vain:
        complain(why)
    return NO if in_vain else OK


def _release_arguments(parser: ArgumentParser) -> None:
    with_name(parser, optional=True)
    parser.add_argument("--all", action="store_true", help="all domains, also those to come")


def _hold_arguments(parser: ArgumentParser) -> None:
    _release_arguments(parser)
    parser.add_argument("--reason", help="shown in the status")
    parser.add_argument("--for", dest="time", metavar="DURATION", help="such as 2h; else until "
                                                                       "released")


def _approve_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("token", nargs="?", metavar="TOKEN",
                        help="from `status`; without it, all that waits")


def _sync_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="until all is Ready or Stalled")
    with_timeout(parser, "5m")


VERBS = (
    Verb("restart", "end the VM and start it anew, with what waited for that", _restart, with_name,
         "  reconciler restart web1\n"),
    Verb("hold", "leave a domain alone, and only report what differs", _hold, _hold_arguments,
         "  reconciler hold web1 --reason 'disk repair' --for 2h\n"
         "  reconciler hold --all --reason 'storage moves' --for 1h\n"),
    Verb("release", "end a hold", _release, _release_arguments,
         "  reconciler release web1\n  reconciler release --all\n"),
    Verb("approve", "destroy what is held because so many files went at once, or take a rewind",
         _approve, _approve_arguments, "  reconciler approve p-3f2a1c\n"),
    Verb("sync", "look at the source now", _sync, _sync_arguments,
         "  git pull && reconciler sync --wait --timeout 2m\n"
         "exit: 0 done, 1 with --wait: not in time, invalid or Stalled (stderr says what), "
         "2 an error\n"),
)
