"""`wait`: blocks until a revision is applied or a domain is in a state; else it says why not.

Follows the status by long polling; `missing` decides, as a pure function of the status.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import SHOWN, complain, progress
from reconciler.cli.verb import NO, OK, Verb, with_name, with_timeout
from reconciler.errors import UsageError
from reconciler.report.requests import Request
from reconciler.units import show_revision

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

LONG_POLL = 60.0  # seconds; the reconciler answers after 25 if nothing has changed
_FOR = re.compile(r"Ready|state=(running|paused|stopped)")
_STATES = {"stopped": "absent"}


def _arguments(parser: ArgumentParser) -> None:
    with_name(parser, optional=True)
    parser.add_argument("--revision", metavar="SHA",
                        help="wait for this commit; at least its first seven digits")
    parser.add_argument("--for", dest="wanted", default="Ready", metavar="WHAT",
                        help="Ready, state=running, state=paused or state=stopped (default: "
                             "%(default)s)")
    with_timeout(parser, "5m")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.client import ask

    if not _FOR.fullmatch(options.wanted):
        raise UsageError(f"--for {options.wanted}; accepted: Ready, state=running, state=paused, "
                         "state=stopped")
    deadline = time.monotonic() + options.timeout
    value: dict[str, Any] = ask(settings, Request.STATUS)
    with progress("waiting"):
        while True:
            left = missing(value, options.name, options.revision, options.wanted)
            rest = deadline - time.monotonic()
            if not left or rest <= 0 or all(final for _, final in left):
                break
            value = ask(settings, Request.STATUS, limit=LONG_POLL, query={
                "wait": str(value["sequence"]), "limit": f"{min(rest, LONG_POLL):.3f}"})
    for why, _ in left:
        complain(why)
    if not left:
        print(_reached(value, options.name, options.wanted))
    return NO if left else OK


def _reached(status: dict[str, Any], name: str | None, wanted: str) -> str:
    revision = show_revision(status["source"]["revision"])
    count = len(status["domains"])
    who = name or (f"all {count} domains" if count != 1 else "1 domain")
    return f"{who}: {wanted} at {revision}"


def missing(status: dict[str, Any], name: str | None, revision: str | None,
            wanted: str) -> list[tuple[str, bool]]:
    """What is not reached yet and why, each with whether it cannot change without the user."""
    source = status["source"]
    found: list[tuple[str, bool]] = []
    if revision is not None and not _covers(source, revision):
        trouble = source["conditions"][0]
        found.append((f"revision {revision} has not arrived; the source is at "
                      f"{source['revision'] or 'no revision yet'}"
                      + (f" ({trouble['reason']}: {trouble['message']})"
                         if trouble["status"] != "True" else ""), False))
    if revision is None and name is None:
        found += [(why, False) for why in _not_read(source)]
    coming = bool(found)  # and may correct the rest
    chosen = [d for d in status["domains"] if name in (None, d["name"], d["uuid"])]
    if name is not None and not chosen:
        found.append((f"{name}: no such domain", False))
    if name is None:
        found += [(f"{what}: its file was just removed or is still being written", False)
                  for what in source.get("settling", ())]
        found += [(error, not coming) for entry in source["invalid"] for error in entry["errors"]]
    for domain in chosen:
        why = _why_not(domain, wanted)
        if why:
            found.append((f"{domain['name']}: {why}",
                          domain["status"] == "Failed" and not coming))
    return found


def _not_read(source: dict[str, Any]) -> list[str]:
    """Why the newest revision of the source is not known."""
    state = source["conditions"][0]
    if state["status"] != "True":
        return [f"source: {state['reason']}: {state['message']}"]
    return [] if source["revision"] else ["the source has not been read yet"]


def _covers(source: dict[str, Any], revision: str) -> bool:
    """Whether the source is at this revision, or at a later one."""
    accepted = [source["revision"], *(entry["revision"] for entry in source.get("history", ()))]
    return any(_same(known, revision) for known in accepted if known)


def _same(known: str, revision: str) -> bool:
    digits = known.rpartition(":")[2]
    wanted = revision.rpartition(":")[2]
    return known == revision or (len(wanted) >= 7 and digits.startswith(wanted))


def _why_not(domain: dict[str, Any], wanted: str) -> str:
    ready = domain["conditions"][0]
    text = f"{ready['reason']}{': ' + ready['message'] if ready['message'] else ''}"
    if wanted == "Ready":
        if ready["status"] == "True" and domain["observedGeneration"] == domain["generation"]:
            return ""
        return text
    state = wanted.partition("=")[2]
    seen = domain["observed"]["state"]
    return "" if seen == _STATES.get(state, state) else f"{SHOWN.get(seen, seen)}; {text}"


VERBS = (Verb("wait", "wait for domains or a revision to become ready", _run, _arguments,
              "  git push && reconciler wait --revision $(git rev-parse HEAD) --timeout 5m\n"
              "  reconciler wait web1 --for state=paused --timeout 30s\n"
              "exit: 0 reached, 1 timed out, or cannot get there by itself (see stderr), "
              "2 error\n"),)
