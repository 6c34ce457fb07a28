"""`validate`: all the errors and warnings of domain files, without a reconciler."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import complain, paint
from reconciler.cli.verb import ERROR, FILES, NO, OK, STALE, Verb

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable

    from reconciler.domain.model import Domain, Problem
    from reconciler.settings import Settings

WARNED = STALE  # exit status 3: valid, but --strict wants no warnings


def _arguments(parser: ArgumentParser) -> None:
    action = parser.add_argument("files", nargs="*", type=Path, metavar="FILE",
                                 help="domain files or directories (default: the watched one)")
    action.complete = FILES  # type: ignore[attr-defined]  # shtab reads it off the action
    parser.add_argument("--all", action="store_true",
                        help="of whole directories also: dependencies, and files that nobody reads")
    parser.add_argument("--strict", action="store_true", help="warnings count too: exit 3")
    parser.add_argument("--lenient", action="store_true", help="unknown names are warnings")
    parser.add_argument("--arch", choices=("x86_64", "aarch64"),
                        help="as on a host of this architecture (default: this host's)")
    parser.add_argument("-o", "--output", default="text", choices=("text", "json"))


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.domain.admission import admit
    from reconciler.domain.crosscheck import faults
    from reconciler.domain.model import InvalidDomain
    from reconciler.domain.reader import read_domain
    from reconciler.domain.schema import compiled
    from reconciler.engine.audit import clashes
    from reconciler.engine.site import admission, reading_host

    if options.arch is not None:
        settings = replace(settings, arch=options.arch)
    host = reading_host(settings, lenient=options.lenient)
    good: dict[str, Domain] = {}
    problems: dict[str, tuple[Problem, ...]] = {}
    contents: dict[str, bytes] = {}
    paths = options.files or [settings.domains]
    if options.all and not all(path.is_dir() for path in paths):
        complain("--all is for directories", "leave it out to check single files")
        return ERROR
    files = _files(paths, settings)
    if not files:
        _say_nothing_is_there(options, settings, paths)
    for path in files:
        try:
            contents[str(path)] = path.read_bytes()
            domain = read_domain(contents[str(path)], str(path), host)
        except InvalidDomain as error:
            problems[str(path)] = error.problems
            continue
        except OSError as error:
            complain(f"{path}: {error.strerror}")
            return ERROR
        good[str(path)] = domain
        problems[str(path)] = (*admit(domain, admission(settings)), *domain.warnings)
    for file, more in clashes(good).items():
        problems[file] += more
    if options.all:
        _audit(settings, paths, good, problems)
    found = faults(contents, compiled())
    _print(options, good, problems)
    apologise(found)
    return status(found, [p for all_ in problems.values() for p in all_], strict=options.strict)


def _audit(settings: Settings, directories: list[Path], good: dict[str, Domain],
           problems: dict[str, tuple[Problem, ...]]) -> None:
    """Add what only shows when all of a directory is looked at."""
    from reconciler.engine.audit import audit

    for directory in directories:
        here = {file: domain for file, domain in good.items() if Path(file).parent == directory}
        for problem in audit(directory, settings.source.include, here):
            problems[problem.file] = (*problems.get(problem.file, ()), problem)


def _say_nothing_is_there(options: Namespace, settings: Settings, paths: list[Path]) -> None:
    """An empty directory is well, and most often a mistake in its name."""
    for path in paths:
        print(f"{path}: nothing to validate, no file matches "
              f"{', '.join(settings.source.include)}",
              file=sys.stderr if options.output == "json" else sys.stdout)


def apologise(faults: Iterable[str]) -> None:
    """Say that a disagreement is ours."""
    for fault in faults:
        complain(f"reader and schema disagree about {fault}",
                 "that is a fault of the reconciler, not of the file: please report it, with the "
                 "file")


def status(faults: Iterable[str], problems: Iterable[Problem], *, strict: bool) -> int:
    """The exit status: where reader and schema disagree, nobody can tell."""
    if list(faults):
        return ERROR
    every = list(problems)
    if any(not problem.warning for problem in every):
        return NO
    return WARNED if strict and every else OK


def _files(paths: list[Path], settings: Settings) -> list[Path]:
    from reconciler.sources.directory import Directory

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            directory = Directory(path, settings.source.include, 0.0)
            found += [path / file for file in directory.listing().files]
        else:
            found.append(path)
    return found


def _print(options: Namespace, good: dict[str, Domain],
           problems: dict[str, tuple[Problem, ...]]) -> None:
    if options.output == "json":
        value: list[dict[str, Any]] = [
            {"file": file, "domain": good[file].name if file in good else None,
             "host": good[file].policy.host if file in good else None,
             "valid": all(p.warning for p in found),
             "problems": [{"line": p.line, "path": p.path, "message": p.message,
                           "severity": "warning" if p.warning else "error", "reason": p.reason}
                          for p in found]} for file, found in problems.items()]
        print(json.dumps(value, indent=1))
        return
    for file, found in problems.items():
        for problem in found:
            print(paint(str(problem), "yellow" if problem.warning else "red"))
        if file in good and all(p.warning for p in found):
            print(f"{file}: {paint('valid', 'green')}, {_what(good[file])}")
    if options.all:
        print(_summary(good, problems))


def _what(domain: Domain) -> str:
    """Its domain; and of which host, where the file names one."""
    host = domain.policy.host
    return f"domain {domain.name}{f' (kept by the host {host})' if host is not None else ''}"


def _summary(good: dict[str, Domain], problems: dict[str, tuple[Problem, ...]]) -> str:
    every = [problem for found in problems.values() for problem in found]
    invalid = sum(any(not p.warning for p in found) for found in problems.values())
    warnings = sum(problem.warning for problem in every)
    valid = sum(all(p.warning for p in problems[file]) for file in good)
    return f"{valid} valid, {invalid} invalid, {warnings} warning{'' if warnings == 1 else 's'}"


VERBS = (Verb("validate", "check domain files: every error at once, with its line", _run,
              _arguments,
              "  reconciler validate                     # all of the watched directory\n"
              "  reconciler validate web1.xml --strict\n"
              "  reconciler validate --all domains      # a whole repository, in CI or before a "
              "commit\n"
              "exit: 0 valid, 1 invalid, 2 cannot tell, 3 warnings with --strict\n"),)
