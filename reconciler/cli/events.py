"""`events`: prints the journal as text or as the JSON lines it holds; -f follows it."""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from reconciler.cli.terminal import complain, paint
from reconciler.cli.verb import ERROR, NO, OK, Verb
from reconciler.units import show_revision

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.settings import Settings

_COLOURS = {"warning": "yellow", "error": "red"}
_TICK = 0.25  # seconds; inotify may not be allowed on another user's journal, a stat is


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="show events of this domain only")
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new events")
    parser.add_argument("-n", "--lines", type=int, default=None, metavar="N",
                        help="show only the last N events (with -f: 10)")
    parser.add_argument("-o", "--output", default="auto", choices=("auto", "text", "json"),
                        help="auto: text on a terminal, otherwise JSON lines")


def _run(options: Namespace, settings: Settings) -> int:
    path = settings.state / "events.jsonl"
    if not path.exists():
        complain(f"no journal in {settings.state}: the reconciler has never run here",
                 "start it with `reconciler run`")
        return ERROR
    as_text = options.output == "text" or (options.output == "auto" and sys.stdout.isatty())
    with path.open("rb") as file:
        lines = [line for line in _lines(file) if _wanted(line, options.name)]
        most = options.lines if options.lines is not None else 10 if options.follow else len(lines)
        for line in lines[max(0, len(lines) - most):]:
            _print(line, as_text=as_text)
        if not options.follow:
            if options.name is not None and not lines:
                complain(f"no events about '{options.name}'",
                         "`reconciler status` lists the domains")
                return NO
            return OK
        sys.stdout.flush()
        for line in follow(path, file):
            if _wanted(line, options.name):
                _print(line, as_text=as_text)
                sys.stdout.flush()
    return OK


def follow(path: Path, file: BinaryIO) -> Iterator[str]:
    """Complete lines as they are appended, from where `file` stands and across rotations.

    Takes over `file`: it is closed at the end, or when the journal was rotated.
    """
    try:
        while True:
            # Asked before the read: a file that is rotated by then gets no more lines.
            rotated = _rotated(path, file)
            yield from _lines(file)
            if not rotated:
                select.select([], [], [], _TICK)
                continue
            with suppress(FileNotFoundError):  # rotated once more just now
                fresh = path.open("rb")
                file.close()
                file = fresh
    finally:
        file.close()


def _lines(file: BinaryIO) -> Iterator[str]:
    """The complete lines there are; half a line is left for the next time."""
    while True:
        position = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(position)
            return
        yield line.decode(errors="replace")


def _rotated(path: Path, file: BinaryIO) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:  # between the two renames of a rotation
        return False


def _wanted(line: str, name: str | None) -> bool:
    if name is None:
        return True
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and name in (value.get("domain"), value.get("uuid"))


def _print(line: str, *, as_text: bool) -> None:
    if not as_text:
        sys.stdout.write(line)
        return
    try:
        value = json.loads(line)
    except ValueError:
        return
    if not isinstance(value, dict):
        return
    moment = value.pop("time", "")[:23].replace("T", " ")
    event, severity = value.pop("event", "?"), value.pop("severity", "info")
    domain = value.pop("domain", "")
    text = value.pop("error", "") or value.pop("message", "")
    for unread in ("seq", "uuid", "message", "traceback"):
        value.pop(unread, None)
    if "revision" in value:
        value["revision"] = show_revision(str(value["revision"]))
    rest = " ".join(f"{key}={item}" for key, item in value.items())
    colour = _COLOURS.get(severity)
    name = paint(f"{event:<20}", colour) if colour else f"{event:<20}"
    print(f"{paint(moment, 'dim')} {name} {paint(domain, 'bold')} {text} {paint(rest, 'dim')}")


VERBS = (Verb("events", "show what happened, from the journal", _run, _arguments,
              "  reconciler events -f\n  reconciler events web1 -n 20 -o text\n"
              "  reconciler events -o json | jq 'select(.severity != \"info\")'\n"),)
