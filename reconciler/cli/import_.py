"""`import`: writes a domain file for a StratoVirt process that another tool started."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.terminal import exact, paint
from reconciler.cli.verb import NO, OK, STALE, Verb
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

INCOMPLETE = STALE  # exit status 3: written, but parts of the VM are not in the file


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pid", metavar="PID", type=int,
                        help="process ID of a running StratoVirt VM")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="write to this file (default: standard output)")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.files import put
    from reconciler.engine.adopt.recognise_running import take_over

    found = take_over(settings, options.pid)
    if options.output is None:
        exact(found.for_a_file.encode())
    elif options.output.exists():
        raise UsageError(f"{options.output} already exists", hint="choose another file")
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


VERBS = (Verb("import", "write a domain file for a VM started by another tool", _run,
              _arguments,
              "  reconciler import 4711 -o web1.xml\n"
              "The file is made from the command line of the process: devices that were\n"
              "hot-plugged later are not in it. `reconciler adopt` takes the VM over.\n"
              "exit: 0 complete, 1 no valid file or no such VM, 3 parts cannot be expressed "
              "(see stderr)\n"
              ),)
