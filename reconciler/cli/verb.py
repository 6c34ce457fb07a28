"""The definition of a verb. A file of verbs has a tuple VERBS of these; main.py lists the files."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.units import seconds

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from reconciler.settings import Settings

OK, NO, ERROR, STALE = 0, 1, 2, 3
APPROVAL_NEEDED = 3


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its name and help, its arguments, and the function that runs it."""

    name: str
    help: str
    run: Callable[[Namespace, Settings], int]  # returns the exit status
    arguments: Callable[[ArgumentParser], None] = lambda parser: None
    examples: str = ""  # lines of --help below the options, ending in those on exit statuses
    configured: bool = True  # reads the configuration file; otherwise it gets the defaults


def with_name(parser: ArgumentParser, *, optional: bool = False) -> None:
    """Add the argument NAME, which the shell completes with the domains' names."""
    action = parser.add_argument("name", metavar="NAME", nargs="?" if optional else None,
                                 help="name or UUID of the domain")
    action.complete = DOMAINS  # type: ignore[attr-defined]  # shtab reads this attribute


def with_timeout(parser: ArgumentParser, default: str) -> None:
    """Add the option --timeout; its value is in seconds."""
    parser.add_argument("--timeout", type=_duration, default=default, metavar="DURATION",
                        help="how long to wait (default: %(default)s)")


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


DOMAINS = {"bash": "_reconciler_domains", "zsh": "{_reconciler_domains}"}
FILES = {"bash": "_shtab_compgen_files", "zsh": "_files -g '*.xml'"}
