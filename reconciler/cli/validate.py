"""`validate`: every error and warning in domain files; needs no running reconciler."""

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

    from reconciler.domain.expand import Given
    from reconciler.domain.model import Domain, InvalidDomain, Problem, ReadingHost
    from reconciler.settings import Settings

WARNED = STALE  # exit status 3: valid with warnings, with --strict


def _arguments(parser: ArgumentParser) -> None:
    action = parser.add_argument("files", nargs="*", type=Path, metavar="FILE",
                                 help="domain files or directories (default: the watched "
                                      "directory)")
    action.complete = FILES  # type: ignore[attr-defined]  # shtab reads this attribute
    parser.add_argument("--all", action="store_true",
                        help="check directories as a whole: also dependencies and ignored files")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if there are warnings")
    parser.add_argument("--lenient", action="store_true",
                        help="report unknown elements as warnings")
    parser.add_argument("--arch", choices=("x86_64", "aarch64"),
                        help="validate for this architecture (default: that of this host)")
    parser.add_argument("-o", "--output", default="text", choices=("text", "json"),
                        help="output format (default: %(default)s)")


def _run(options: Namespace, settings: Settings) -> int:
    from reconciler.domain.schema import compiled
    from reconciler.domain.schema_crosscheck import faults
    from reconciler.engine.composition import reading_host
    from reconciler.sources.kinds import configured_class

    if options.arch is not None:
        settings = replace(settings, arch=options.arch)
    found = _Found(settings, reading_host(settings, lenient=options.lenient))
    source = configured_class(settings)
    if not options.files and not source.writable:
        complain(f"the domain files come from {source.configured(settings)}; name a file or a "
                 "directory", "in a checkout: `reconciler validate --all domains`")
        return ERROR
    paths = options.files or [settings.domains]
    if options.all and not all(path.is_dir() for path in paths):
        complain("--all takes directories only", "leave it out to check single files")
        return ERROR
    files = _files(paths, settings)
    if not files:
        _report_no_files(options, settings, paths)
    for path in files:
        try:
            found.read(path)
        except OSError as error:
            complain(f"{error.filename or path}: {error.strerror}")
            return ERROR
    found.compare()
    if options.all:
        found.audit(paths)
    disagreements = faults(found.contents, compiled())
    _print(options, found)
    apologise(disagreements)
    return status(disagreements, [p for all_ in found.problems.values() for p in all_],
                  strict=options.strict)


class _Found:
    """The domains, the text and the problems of each file."""

    def __init__(self, settings: Settings, host: ReadingHost) -> None:
        self.settings = settings
        self.host = host
        self.domains: dict[str, tuple[Domain, ...]] = {}
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.contents: dict[str, bytes] = {}
        self._given: dict[Path, Given | InvalidDomain] = {}

    def read(self, path: Path) -> None:
        """Read one file; raises OSError."""
        from reconciler.domain.admission import admit
        from reconciler.domain.expand import expand
        from reconciler.domain.model import InvalidDomain
        from reconciler.engine.composition import admission
        from reconciler.host.parse_trial import ParseTrial
        from reconciler.sources.listing import DEFAULTS, LONGEST

        with path.open("rb") as opened:
            data, file = opened.read(LONGEST + 1), str(path)
        try:
            ParseTrial().check(data, file)
        except InvalidDomain as error:
            self.problems[file] = error.problems
            return
        given = self._read_with(path.parent)
        if path.name == DEFAULTS:
            self.problems[file] = given.problems if isinstance(given, InvalidDomain) else ()
            return
        try:
            if isinstance(given, InvalidDomain):
                raise _beside(file, given)
            found = expand(data, file, self.host, given).definitions
        except InvalidDomain as error:
            self.contents[file] = data
            self.problems[file] = error.problems
            return
        self.domains[file] = tuple(definition.domain for definition in found)
        self.contents |= {f"{file}#{index}" if len(found) > 1 else file: definition.data
                          for index, definition in enumerate(found)}
        self.problems[file] = tuple(dict.fromkeys(
            problem for domain in self.domains[file]
            for problem in (*admit(domain, admission(self.settings)), *domain.warnings)))

    def _read_with(self, directory: Path) -> Given | InvalidDomain:
        from reconciler.domain.model import InvalidDomain
        from reconciler.engine.composition import given_in
        from reconciler.sources.listing import DEFAULTS

        if directory not in self._given:
            try:
                self._given[directory] = given_in(self.settings, directory, self.host)
            except InvalidDomain as error:
                self._given[directory] = error
                self.problems[str(directory / DEFAULTS)] = error.problems
        return self._given[directory]

    def compare(self) -> None:
        """Check the domains against each other."""
        from reconciler.engine.dryrun.repository_audit import clashes

        every = self._by_key()
        for key, more in clashes(every).items():
            self.problems[every[key].file] += more

    def audit(self, directories: list[Path]) -> None:
        """Add the problems that show only in a directory as a whole."""
        from reconciler.engine.dryrun.repository_audit import audit

        for directory in directories:
            here = {key: domain for key, domain in self._by_key().items()
                    if Path(domain.file).parent == directory}
            for problem in audit(directory, self.settings.source.include, here):
                known = self.problems.get(problem.file, ())
                self.problems[problem.file] = tuple(dict.fromkeys((*known, problem)))

    def _by_key(self) -> dict[str, Domain]:
        return {f"{file}#{index}" if len(domains) > 1 else file: domain
                for file, domains in self.domains.items() for index, domain in enumerate(domains)}

    def reads(self, file: str) -> bool:
        """Whether the file holds domains or their defaults."""
        from reconciler.sources.listing import DEFAULTS

        return file in self.domains or Path(file).name == DEFAULTS

    def summary(self) -> str:
        """The counts in one line."""
        every = [problem for found in self.problems.values() for problem in found]
        invalid = sum(any(not p.warning for p in found) for found in self.problems.values())
        warnings = sum(problem.warning for problem in every)
        valid = sum(all(p.warning for p in self.problems[file]) for file in self.domains)
        return (f"{valid} valid, {invalid} invalid, {warnings} "
                f"warning{'' if warnings == 1 else 's'}")


def _beside(file: str, error: InvalidDomain) -> InvalidDomain:
    from reconciler.domain.model import InvalidDomain, Problem

    defaults = error.problems[0].file
    return InvalidDomain((Problem(file, 1, "", f"not read, since {defaults} has errors",
                                  reason=error.reason),))


def _report_no_files(options: Namespace, settings: Settings, paths: list[Path]) -> None:
    """An empty directory is valid, but most often its name was mistyped."""
    for path in paths:
        print(f"{path}: nothing to validate: no file matches "
              f"{', '.join(settings.source.include)}",
              file=sys.stderr if options.output == "json" else sys.stdout)


def apologise(faults: Iterable[str]) -> None:
    """Report a bug of ours: reader and schema disagree about a file."""
    for fault in faults:
        complain(f"reader and schema disagree about {fault}",
                 "this is a bug in the reconciler, not in the file; please report it with the "
                 "file")


def status(faults: Iterable[str], problems: Iterable[Problem], *, strict: bool) -> int:
    """The exit status; an error if reader and schema disagree."""
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
            found += [path / file for file in sorted(directory.listing().files)]
        else:
            found.append(path)
    return found


def _print(options: Namespace, found: _Found) -> None:
    if options.output == "json":
        value: list[dict[str, Any]] = [
            {"file": file, "domain": next((d.name for d in found.domains.get(file, ())), None),
             "domains": [domain.name for domain in found.domains.get(file, ())],
             "hosts": [domain.policy.host for domain in found.domains.get(file, ())],
             "valid": all(p.warning for p in problems),
             "problems": [{"file": p.file, "line": p.line, "path": p.path, "message": p.message,
                           "severity": "warning" if p.warning else "error", "reason": p.reason}
                          for p in problems]} for file, problems in found.problems.items()]
        print(json.dumps(value, indent=1))
        return
    for file, problems in found.problems.items():
        for problem in problems:
            print(paint(str(problem), "yellow" if problem.warning else "red"))
        if all(p.warning for p in problems) and found.reads(file):
            print(f"{file}: {paint('valid', 'green')}, {_what(found.domains.get(file, ()))}")
    if options.all:
        print(found.summary())


def _what(domains: tuple[Domain, ...]) -> str:
    """The domains of a valid file, and the hosts to which they are assigned."""
    import platform

    if not domains:
        return "defaults for the other files in this directory"
    names = [domain.name if domain.policy.host in (None, platform.node()) else
             f"{domain.name} (assigned to host {domain.policy.host})" for domain in domains]
    return f"domain{'s' if len(names) > 1 else ''} {', '.join(names)}"


VERBS = (Verb("validate", "check domain files", _run,
              _arguments,
              "  reconciler validate                    # the watched directory\n"
              "  reconciler validate web1.xml --strict\n"
              "  reconciler validate --all domains      # a checkout, in CI or in a git hook\n"
              "exit: 0 valid, 1 invalid, 2 could not be checked, 3 warnings with --strict\n"),)
