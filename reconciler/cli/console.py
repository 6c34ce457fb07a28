"""`console`: a person at the VM's pty; ends with Ctrl-]. In a pipe it copies until either end."""

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
_LINGER = 0.5  # after the end of piped input, for what the guest still answers


def _arguments(parser: ArgumentParser) -> None:
    with_name(parser)
    parser.add_argument("--serial", action="store_true", help="the serial port, not the console")
    parser.add_argument("--device", metavar="ALIAS", help="this console, such as console1")
    parser.add_argument("--force", action="store_true", help="although somebody else is on it")


def _run(options: Namespace, settings: Settings) -> int:
    path = _path(options, settings)
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="consoles belong to the user that runs "
                                                           "the VM") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not options.force:
            raise UsageError(f"somebody is on the console of '{options.name}'",
                             hint="--force joins them") from None
    try:
        if sys.stdin.isatty():
            print(f"Connected to {options.name} ({path}); Ctrl-] ends.", file=sys.stderr)
        _copy(handle)
    finally:
        os.close(handle)
    return OK


def _path(options: Namespace, settings: Settings) -> str:
    from reconciler.cli.client import ask
    from reconciler.stratovirt.observation import SERIAL, main_console

    found: dict[str, str] = ask(settings, Request.CONSOLES, options.name)["consoles"]
    if options.device is not None:
        chosen = found.get(f"char{options.device}")
    elif options.serial:
        chosen = found.get(SERIAL)
    else:
        chosen = main_console(found)
    if chosen is None:
        there = ", ".join(sorted(found)) or "none"
        raise UsageError(f"'{options.name}' has no such pty console (there: {there})",
                         hint="<console type='pty'><target type='virtio'/></console> in its file "
                              "makes one")
    return chosen


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
                data = _read(handle)
                if not data:
                    return
                _write(sink, data)
    finally:
        if saved is not None:
            termios.tcsetattr(source, termios.TCSADRAIN, saved)
            print(file=sys.stderr)


def _read(handle: int) -> bytes:
    """What the guest wrote; nothing when the VM has gone (a pty says so by an error)."""
    try:
        return os.read(handle, 4096)
    except BlockingIOError:
        return b""
    except OSError:
        return b""


def _write(handle: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(handle, data):]
        except BlockingIOError:
            select.select([], [handle], [])


VERBS = (Verb("console", "the VM's console; Ctrl-] ends it", _run, _arguments,
              "  reconciler console web1\n  echo uptime | reconciler console web1\n"),)
