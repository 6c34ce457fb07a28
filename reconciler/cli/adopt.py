"""`adopt`: takes over a StratoVirt process that another tool started; the VM keeps running."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.cli.terminal import exact, paint
from reconciler.cli.verb import OK, STALE, Verb
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.settings import Settings

INCOMPLETE = STALE  # exit status 3: adopted, but parts of the VM are lost at its next start


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pid", metavar="PID", type=int,
                        help="process ID of a running StratoVirt VM")
    parser.add_argument("--force", action="store_true",
                        help="also a process of another user or of another program; prints the "
                             "files that it has")
    parser.add_argument("--dry-run", action="store_true", help="only print the domain file")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.files import put
    from reconciler.engine.adopt.adopt import adopt, files_of, prepare

    found = prepare(settings, options.pid, force=options.force)
    for text in files_of(found) if options.force else ():
        print(f"taken over: {text}", file=sys.stderr)
    for left in found.left:
        print(paint(f"not kept by the domain file, lost at the next start: {left}", "yellow",
                    sys.stderr), file=sys.stderr)
    file = settings.domains / f"{found.domain.name}.xml"
    if options.dry_run:
        exact(found.for_a_file.encode())
        return INCOMPLETE if found.left else OK
    if file.exists():
        raise UsageError(f"{file} already exists, and defines another domain", reason="Conflict")
    try:
        adopt(settings, options.pid, found)
        put(file, found.for_a_file.encode())
    except OSError as error:
        raise UsageError(f"{error.filename or file}: {error.strerror}") from error
    print(f"{found.domain.name}: adopted (process {options.pid}), {file} written")
    return INCOMPLETE if found.left else OK


VERBS = (Verb("adopt", "take over a StratoVirt process started by another tool", _run,
              _arguments,
              "  reconciler adopt 4711 --dry-run\n  reconciler adopt 4711\n"
              "The VM keeps running; its domain file is written into the watched directory.\n"
              "exit: 0 complete, 1 cannot be adopted, 3 parts are lost at the next start "
              "(see stderr)\n"
              ),)
