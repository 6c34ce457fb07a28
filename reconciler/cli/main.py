"""Parses the command line and runs the verb; the exit statuses are in the README.

What a verb needs is imported when it runs, so that --help and status answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.cli import (
    adopt,
    apply,
    completion,
    console,
    control,
    events,
    explain,
    files,
    history,
    import_,
    plan,
    run,
    schema,
    status,
    validate,
    wait,
)
from reconciler.cli.terminal import complain, screen
from reconciler.cli.verb import ERROR, NO
from reconciler.errors import ConfigError, ReconcilerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.verb import Verb

# A new file of verbs is added here; --help lists the verbs in this order.
VERBS: tuple[Verb, ...] = (
    *run.VERBS, *status.VERBS, *plan.VERBS, *apply.VERBS, *validate.VERBS, *explain.VERBS,
    *events.VERBS, *files.VERBS, *import_.VERBS, *adopt.VERBS, *control.VERBS, *wait.VERBS,
    *history.VERBS, *console.VERBS, *schema.VERBS, *completion.VERBS)
INTERRUPTED = 130
EXAMPLES = """examples:
  reconciler run                       run the reconciler in the foreground
  reconciler status --watch            show the state of every domain as it changes
  reconciler plan                      show what would change, and why
  reconciler create web1.xml           validate a domain file and add it
  reconciler explain web1              show why a domain is in its current state
  curl --unix-socket RUNTIME/api.sock http://localhost/api/v1/status

Use `reconciler VERB --help` for the options and examples of a verb.
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, with every verb."""
    found = argparse.ArgumentParser(
        prog="reconciler", epilog=EXAMPLES, allow_abbrev=False,
        description="Reconciles StratoVirt virtual machines with their domain files.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--version", action="version", version=f"reconciler {__version__}")
    found.add_argument("-c", "--config", type=Path, metavar="FILE",
                       default=Path(os.environ.get("RECONCILER_CONFIG", "config.yaml")),
                       help="configuration file (default: $RECONCILER_CONFIG or config.yaml)")
    verbs = found.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in VERBS:
        made = verbs.add_parser(
            verb.name, help=verb.help, description=f"{verb.help[0].upper()}{verb.help[1:]}.",
            epilog=f"examples:\n{verb.examples}" if verb.examples else None, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        verb.arguments(made)
        made.set_defaults(run=verb.run, configured=verb.configured)
    found.set_defaults(parser=found)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    with redirect_stdout(screen(sys.stdout)), redirect_stderr(screen(sys.stderr)):
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    if options.verb is None:
        options.parser.print_help(sys.stderr)
        return ERROR
    from reconciler.settings import Settings, load

    try:
        settings = load(options.config) if options.configured else Settings(options.config)
        return int(options.run(options, settings))
    except UsageError as error:
        complain(str(error), error.hint)
        return NO
    except ConfigError as error:
        complain(str(error), error.hint)
        return NO if options.verb == "run" else ERROR
    except ReconcilerError as error:
        complain(str(error), error.hint)
        return ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output, such as `head`, has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
