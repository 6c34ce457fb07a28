"""What a verb is. A file of verbs has a tuple VERBS of these; main.py lists the files."""

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


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its words, its arguments, and what runs it and gives the exit status."""

    name: str
    help: str
    run: Callable[[Namespace, Settings], int]
    arguments: Callable[[ArgumentParser], None] = lambda parser: None
    examples: str = ""
    configured: bool = True  # whether it wants a configuration file; without: the defaults


def with_name(parser: ArgumentParser, *, optional: bool = False) -> None:
    """The argument NAME, which the shell completes with the domains."""
    action = parser.add_argument("name", metavar="NAME", nargs="?" if optional else None,
                                 help="the domain's name or uuid")
    action.complete = DOMAINS  # type: ignore[attr-defined]  # shtab reads it off the action


def with_timeout(parser: ArgumentParser, default: str) -> None:
    """The option --timeout, in seconds."""
    parser.add_argument("--timeout", type=_duration, default=default, metavar="DURATION",
                        help="how long to wait (default: %(default)s)")


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


DOMAINS = {"bash": "_reconciler_domains", "zsh": "{_reconciler_domains}"}
FILES = {"bash": "_shtab_compgen_files", "zsh": "_files -g '*.xml'"}
