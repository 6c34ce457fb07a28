"""`import`: the domain file of a StratoVirt that somebody else started."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.terminal import paint
from reconciler.cli.verb import NO, OK, STALE, Verb
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

INCOMPLETE = STALE  # exit status 3: written, but something of the VM is not in it


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pid", metavar="PID", type=int, help="the process of a running VM")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="write it there (default: standard output)")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.files import put
    from reconciler.engine.adopt.recognise_running import take_over

    found = take_over(settings, options.pid)
    if options.output is None:
        print(found.for_a_file, end="")
    elif options.output.exists():
        raise UsageError(f"{options.output} is there already", hint="name another file")
    else:
        try:
            put(options.output, found.for_a_file.encode())
        except OSError as error:
            raise UsageError(f"{options.output}: {error.strerror}") from error
    for left in found.left:
        print(paint(f"not taken over: {left}", "yellow", sys.stderr), file=sys.stderr)
    for problem in found.problems:
        print(paint(str(problem), "red", sys.stderr), file=sys.stderr)
    if found.problems:
        return NO
    return INCOMPLETE if found.left else OK


VERBS = (Verb("import", "the domain file of a StratoVirt that somebody else started", _run,
              _arguments,
              "  reconciler import 4711 -o domains/web1.xml\n"
              "what was plugged in since its start stands on no command line, and is not in it\n"
              "exit: 0 all of it, 1 no valid file or no such VM, 3 not all can be said in a file\n"
              ),)
