"""`run`: the reconciler itself."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.cli.verb import NO, OK, Verb
from reconciler.errors import ConfigError

MANY_FILES = 65536

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from reconciler.report.log_writer import LogWriter
    from reconciler.settings import Settings


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true",
                        help="reconcile once and exit, with status 0 if all domains are as defined")


def _run(options: Namespace, settings: Settings) -> int:
    import asyncio

    from reconciler.domain.reader import read_domain
    from reconciler.engine.composition import MACHINE_ID, reading_host
    from reconciler.engine.daemon import Daemon
    from reconciler.failpoints import VARIABLE, reached_in
    from reconciler.host.machine_id import ensure
    from reconciler.host.workers import DaemonThreads
    from reconciler.report.events import Journal
    from reconciler.report.log import event_log
    from reconciler.stratovirt import binary

    _allow_many_files()
    reached = reached_in(os.environ.get(VARIABLE, ""))

    async def work() -> int:
        # Threads of which the end of the process does not wait.
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        found = binary.find(settings)
        found = replace(found, version=await binary.version(found))
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        ensure(settings.machine_id, settings.state / MACHINE_ID)
        with _log_writer(settings) as stream:
            journal = Journal(settings.state / "events.jsonl",
                              event_log(settings.log.format, settings.log.level, stream),
                              reached=reached)
            try:
                daemon = Daemon(settings, found, journal, reading_host(settings), read_domain,
                                stream.reopen, reached)
                if options.once:
                    return OK if await daemon.once() else NO
                await daemon.run()
                return OK
            finally:
                journal.close()

    return asyncio.run(work())


@contextmanager
def _log_writer(settings: Settings) -> Iterator[LogWriter]:
    """Of the log's file, or standard error; raises ConfigError if the file cannot be opened."""
    from reconciler.report.log_writer import LogWriter

    path = None if settings.log.file is None else settings.base / settings.log.file
    try:
        writer = LogWriter(sys.stderr.fileno(), path)
    except OSError as error:
        raise ConfigError(f"log.file: {path}: {error.strerror}") from error
    try:
        yield writer
    finally:
        writer.close()


def _allow_many_files() -> None:
    """Raise the soft limit, usually 1024 for the sake of select(); a VM takes two descriptors."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_EXAMPLES = """  reconciler run
  reconciler -c /etc/stratovirt-reconciler/config.yaml run --once    # in CI, or from cron
"""
VERBS = (Verb("run", "run the reconciler", _run,
              _arguments, _EXAMPLES),)
