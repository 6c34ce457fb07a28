"""`adopt`: a StratoVirt that somebody else started becomes a domain, and notices nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.cli.terminal import paint
from reconciler.cli.verb import OK, STALE, Verb
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

INCOMPLETE = STALE  # exit status 3: adopted, but its next start will lack something


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pid", metavar="PID", type=int, help="the process of a running VM")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be adopted")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.files import put
    from reconciler.engine.adopt.adopt import adopt, prepare

    found = prepare(settings, options.pid)
    for left in found.left:
        print(paint(f"its next start will be without: {left}", "yellow", sys.stderr),
              file=sys.stderr)
    file = settings.domains / f"{found.domain.name}.xml"
    if options.dry_run:
        print(found.for_a_file, end="")
        return INCOMPLETE if found.left else OK
    if file.exists():
        raise UsageError(f"{file} is there already, and of another domain", reason="Conflict")
    try:
        adopt(settings, options.pid, found)
        put(file, found.for_a_file.encode())
    except OSError as error:
        raise UsageError(f"{error.filename or file}: {error.strerror}") from error
    print(f"{found.domain.name}: adopted, process {options.pid}; its file is {file}")
    return INCOMPLETE if found.left else OK


VERBS = (Verb("adopt", "make a StratoVirt that somebody else started a domain of ours", _run,
              _arguments,
              "  reconciler adopt 4711 --dry-run\n  reconciler adopt 4711\n"
              "the VM runs on, and is only asked for its status; its file is written into the "
              "watched directory\n"
              "exit: 0 all of it, 1 it cannot be, 3 its next start will lack what stderr says\n"
              ),)
