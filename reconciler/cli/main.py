"""Finds the verb and runs it; exit statuses are in the README.

Imports are kept small: --help and status must answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
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
from reconciler.cli.terminal import complain
from reconciler.cli.verb import ERROR, NO
from reconciler.errors import ConfigError, ReconcilerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.verb import Verb

# Adding a file of verbs is one entry here.
VERBS: tuple[Verb, ...] = (
    *run.VERBS, *status.VERBS, *plan.VERBS, *apply.VERBS, *validate.VERBS, *explain.VERBS,
    *events.VERBS, *files.VERBS, *import_.VERBS, *adopt.VERBS, *control.VERBS, *wait.VERBS,
    *history.VERBS, *console.VERBS, *schema.VERBS, *completion.VERBS)
INTERRUPTED = 130
EXAMPLES = """examples:
  reconciler run                       keep every VM as its file says
  reconciler status --watch            what is true, as it changes
  reconciler plan                      what would be done, and why
  reconciler create web1.xml           check a file and put it into the watched directory
  reconciler explain web1              why it is as it is
  curl --unix-socket RUNTIME/api.sock http://localhost/api/v1/status

`reconciler VERB --help` has examples for each verb.
"""


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    found = argparse.ArgumentParser(
        prog="reconciler", epilog=EXAMPLES, allow_abbrev=False,
        description="Keeps StratoVirt virtual machines as their domain files say.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--version", action="version", version=f"reconciler {__version__}")
    found.add_argument("-c", "--config", type=Path, metavar="FILE",
                       default=Path(os.environ.get("RECONCILER_CONFIG", "config.yaml")),
                       help="the configuration (default: %(default)s, or $RECONCILER_CONFIG)")
    verbs = found.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for verb in VERBS:
        made = verbs.add_parser(
            verb.name, help=verb.help, description=f"{verb.help[0].upper()}{verb.help[1:]}.",
            epilog=f"examples:\n{verb.examples}" if verb.examples else None, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        verb.arguments(made)
        made.set_defaults(run=verb.run, configured=verb.configured)
    found.set_defaults(parser=found)
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = parser().parse_args(words)
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
        # Whoever read our output has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
