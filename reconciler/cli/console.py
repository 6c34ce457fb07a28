"""`console`: connects the terminal to a VM's pty; Ctrl-] leaves. In a pipe it copies until EOF."""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import tty
from typing import TYPE_CHECKING

from reconciler.cli.verb import OK, Verb, with_name
from reconciler.errors import UsageError
from reconciler.report.requests import Request

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

ESCAPE = b"\x1d"  # Ctrl-]
_PREFIX = "char"  # of a console's label, before its alias
_LINGER = 0.5  # seconds after the end of piped input in which the guest may still answer


def _arguments(parser: ArgumentParser) -> None:
    with_name(parser)
    parser.add_argument("--serial", action="store_true", help="connect to the serial port")
    parser.add_argument("--device", metavar="ALIAS",
                        help="connect to this console, for example console1")
    parser.add_argument("--force", action="store_true",
                        help="connect even if the console is in use; its output is then split "
                             "at random between the sessions")


def _run(options: Namespace, settings: Settings) -> int:
    path = _path(options, settings)
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="consoles belong to the user who runs "
                                                           "the VM") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not options.force:
            raise UsageError(f"the console of '{options.name}' is in use",
                             hint="--force connects anyway; its output is then split at random "
                                  "between the sessions") from None
        print("warning: another session uses this console; each receives only part of the output",
              file=sys.stderr)
    try:
        if sys.stdin.isatty():
            print(f"Connected to {options.name} ({path}); Ctrl-] leaves.", file=sys.stderr)
        _copy(handle)
    finally:
        os.close(handle)
    return OK


def _path(options: Namespace, settings: Settings) -> str:
    from reconciler.cli.client import ask
    from reconciler.stratovirt.observation import SERIAL, main_console

    found: dict[str, str] = ask(settings, Request.CONSOLES, options.name)["consoles"]
    if options.device is not None:
        chosen = found.get(f"{_PREFIX}{options.device.removeprefix(_PREFIX)}")
    elif options.serial:
        chosen = found.get(SERIAL)
    else:
        chosen = main_console(found)
    if chosen is None:
        there = ", ".join(sorted(_option(label) for label in found)) or "none"
        element = "serial type='pty'/" if options.serial else (
            "console type='pty'><target type='virtio'/></console")
        raise UsageError(f"'{options.name}' has no such pty console (available: {there})",
                         hint=f"<{element}> in its file adds one")
    return chosen


def _option(label: str) -> str:
    """The option that selects this console."""
    from reconciler.stratovirt.observation import SERIAL

    return "--serial" if label == SERIAL else f"--device {label.removeprefix(_PREFIX)}"


def _copy(handle: int) -> None:
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    saved = termios.tcgetattr(source) if os.isatty(source) else None
    try:
        if saved is not None:
            tty.setraw(source)
        sources = [source, handle]
        while handle in sources:
            limit = None if source in sources else _LINGER
            ready, _, _ = select.select(sources, [], [], limit)
            if not ready:
                return
            if source in ready:
                data = os.read(source, 4096)
                if saved is not None and ESCAPE in data:
                    return
                if data:
                    _write(handle, data)
                else:
                    sources.remove(source)
            if handle in ready:
                output = _read(handle)
                if output is None:
                    return
                _write(sink, output)
    finally:
        if saved is not None:
            termios.tcsetattr(source, termios.TCSADRAIN, saved)
            print(file=sys.stderr)


def _read(handle: int) -> bytes | None:
    """The guest's output; empty if another session has read it first, None if the VM has exited."""
    try:
        return os.read(handle, 4096) or None
    except BlockingIOError:
        return b""
    except OSError:  # how a pty reports that its other end was closed
        return None


def _write(handle: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(handle, data):]
        except BlockingIOError:
            select.select([], [handle], [])


VERBS = (Verb("console", "connect to a VM's console; Ctrl-] leaves", _run, _arguments,
              "  reconciler console web1\n  reconciler console web1 --serial\n"
              "  echo uptime | reconciler console web1\n"),)
