"""virsh's verbs as edits of the watched files: create, destroy, suspend, resume, start, stop.

The state is edited as text, so that comments, quotes and indentation of the file are kept. If a
reconciler is running, the verb then waits for the result.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.terminal import SHOWN, complain, progress
from reconciler.cli.verb import FILES, NO, OK, Verb, with_name, with_timeout
from reconciler.errors import UsageError
from reconciler.report.requests import Request
from reconciler.units import nearest

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.domain.model import Domain
    from reconciler.settings import Settings

STATES = {"suspend": "paused", "resume": "running", "start": "running", "stop": "stopped"}
_NEEDED = {"suspend": "running", "resume": "paused"}
_TAG = re.compile(r"<(?:[\w.-]+:)?reconcile\b[^>]*?(/?)>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_STATE = re.compile(r"(\sstate\s*=\s*)(['\"])[^'\"]*\2")


def edited(text: str, state: str) -> str:
    """The file's text with another desired state and nothing else changed."""
    bare = _COMMENT.sub(lambda found: " " * len(found[0]), text)  # same length, no content
    tag = _TAG.search(bare)
    if tag is not None:
        found = _STATE.search(tag[0])
        if found is not None:
            fresh = _STATE.sub(rf"\g<1>\g<2>{state}\g<2>", tag[0], count=1)
        else:
            end = len(tag[0]) - len(tag[1]) - 1
            fresh = f"{tag[0][:end].rstrip()} state='{state}'{tag[0][end:]}"
        return text[:tag.start()] + fresh + text[tag.end():]
    from reconciler.domain.metadata import URN

    element = f"<r:reconcile xmlns:r='{URN}' state='{state}'/>"
    for closing, addition in (("</metadata>", f"  {element}\n  "),
                              ("</domain>", f"  <metadata>\n    {element}\n  </metadata>\n")):
        where = bare.rfind(closing)
        if where >= 0:
            return text[:where] + addition + text[where:]
    return text


def put(path: Path, data: bytes) -> None:
    """Replace a file atomically; it is on disk afterwards."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(fresh, "xb", opener=_new) as file:
        file.write(data)
        file.flush()
        if path.exists():
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
        os.fsync(file.fileno())
    fresh.replace(path)


def _new(path: str, flags: int) -> int:
    """Never through a link that another user of the directory put there."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def refuse_read_only(settings: Settings, instead: str) -> None:
    """Refuse to edit files if the source is only read here; `instead` says what to do."""
    from reconciler.sources.kinds import configured_class

    source = configured_class(settings)
    if not source.writable:
        raise UsageError(f"the domain files come from {source.configured(settings)}, and are "
                         "read only here", reason="Refused", hint=instead)


@dataclass(frozen=True, slots=True)
class Owner:
    """A file of the watched directory, and the domains that it defines."""

    path: Path
    domains: tuple[Domain, ...]

    def one(self, name: str, wanted: str) -> Domain:
        """Its only domain; raises UsageError with the hint `wanted` if it defines several."""
        if len(self.domains) > 1:
            shown = next(d.name for d in self.domains if name in (d.name, d.uuid))
            raise UsageError(f"{self.path} defines {len(self.domains)} domains (count), '{shown}' "
                             "is one of them", reason="Refused", hint=wanted)
        return self.domains[0]


class Watched:
    """The watched directory and the domains in its files."""

    def __init__(self, settings: Settings) -> None:
        from reconciler.domain.model import InvalidDomain
        from reconciler.engine.composition import given, reading_host
        from reconciler.sources.directory import Directory
        from reconciler.sources.listing import DEFAULTS

        self.path = settings.domains
        self._listing = Directory(settings.domains, settings.source.include, 0.0).listing()
        self._host = reading_host(settings)
        try:
            self._given = given(settings, self._listing.files.get(DEFAULTS), DEFAULTS, self._host)
        except InvalidDomain as error:
            raise UsageError(f"{settings.domains / DEFAULTS} has errors:\n{error}",
                             reason=error.reason, hint="correct it first: every other file is "
                                                       "read with it") from None

    def read(self, data: bytes, file: str) -> tuple[Domain, ...]:
        """The domains of a file, as the reconciler would read it in this directory."""
        from reconciler.engine.composition import read_file

        found = read_file(data, file, self._host, self._given)
        return tuple(definition.domain for definition in found.definitions)

    def owners(self) -> dict[str, Owner]:
        """The valid files, by the names and uuids of their domains."""
        from reconciler.domain.model import InvalidDomain

        found: dict[str, Owner] = {}
        for file in self._listing.domain_files:
            try:
                domains = self.read(self._listing.files[file], file)
            except InvalidDomain:
                continue
            owner = Owner(self.path / file, domains)
            found |= {key: owner for domain in domains for key in (domain.name, domain.uuid)}
        return found


def _owner_of(watched: Watched, name: str) -> Owner:
    owners = watched.owners()
    if name not in owners:
        raise UsageError(f"no valid file in {watched.path} defines domain '{name}'"
                         f"{nearest(name, owners)}", reason="NotFound",
                         hint="`reconciler status` lists the domains, `reconciler validate` shows "
                              "the errors in files")
    return owners[name]


def _create(options: Namespace, settings: Settings) -> int:
    from reconciler.domain.model import InvalidDomain

    refuse_read_only(settings, f"commit {options.file} there; check it with `reconciler validate` "
                               "first")
    try:
        data = sys.stdin.buffer.read() if options.file == Path("-") else options.file.read_bytes()
    except OSError as error:
        raise UsageError(f"{options.file}: {error.strerror}") from error
    watched = Watched(settings)
    try:
        domains = watched.read(data, str(options.file))
    except InvalidDomain as error:
        print(error, file=sys.stderr)
        source = "standard input" if options.file == Path("-") else options.file
        complain(f"{source}: not added, see the errors above")
        return NO
    owners, target = watched.owners(), settings.domains / _name_for(options.file, domains)
    for domain in domains:
        owner = owners.get(domain.name) or owners.get(domain.uuid)
        taken = owner.path if owner is not None else target if target.exists() else None
        if taken is not None:
            raise UsageError(f"domain '{domain.name}' is already in {taken}",
                             hint=f"edit that file, or `reconciler destroy {domain.name}` first")
    put(target, data)
    for warning in dict.fromkeys(warning for domain in domains for warning in domain.warnings):
        print(warning, file=sys.stderr)
    print(f"{', '.join(domain.name for domain in domains)}: {target} written")
    return max([outcome(options, settings, domain.name) for domain in domains])


def _name_for(file: Path, domains: tuple[Domain, ...]) -> str:
    """The file's name in the watched directory: that of its domain, or the old one for several."""
    several = len(domains) > 1 and file.suffix == ".xml"
    return file.name if several else f"{domains[0].name}.xml"


def _destroy(options: Namespace, settings: Settings) -> int:
    refuse_read_only(settings, f"remove the file of '{options.name}' there")
    owner = _owner_of(Watched(settings), options.name)
    name = owner.one(options.name, f"lower its count, or remove {owner.path.name} with all of its "
                                   "domains").name
    owner.path.unlink()
    print(f"{name}: {owner.path} removed (disks and nvram are kept)")
    return outcome(options, settings, name)


def _set_state(options: Namespace, settings: Settings) -> int:
    if options.verb == "start" and _runs_by_its_file(settings, options.name):
        return outcome(options, settings, options.name, start=True)
    refuse_read_only(
        settings, f"commit state='{STATES[options.verb]}' in the reconcile element of "
        f"'{options.name}'; `reconciler hold {options.name}` suspends reconciliation meanwhile")
    watched, verb = Watched(settings), options.verb
    owner = _owner_of(watched, options.name)
    path = owner.path
    before = owner.one(options.name, f"state in {path.name} applies to all of them; `reconciler "
                                     f"{'restart' if verb == 'start' else 'hold'} NAME` is for one")
    data = path.read_bytes()
    try:
        text = data.decode()  # keeps the line endings
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8", hint="edit state by hand") from None
    state = STATES[verb]
    needed = _NEEDED.get(verb)
    if before.policy.state not in (state, needed or before.policy.state):
        raise UsageError(f"the desired state of '{before.name}' is {before.policy.state}, "
                         f"not {needed}",
                         hint=f"`reconciler start {before.name}` starts it")
    if before.policy.state == state:
        print(f"{before.name}: already {state} in {path}")
    else:
        fresh = edited(text, state)
        if [domain.policy.state for domain in watched.read(fresh.encode(), path.name)] != [state]:
            raise UsageError(f"{path}: cannot edit the state safely",
                             hint="edit state in its reconcile element by hand")
        put(path, fresh.encode())
        print(f"{before.name}: set to {state} in {path}")
    return outcome(options, settings, before.name, start=verb == "start")


def _runs_by_its_file(settings: Settings, name: str) -> bool:
    """Whether only the running reconciler must be asked, since a read-only file says `running`."""
    from reconciler.cli.client import Unreachable, ask
    from reconciler.sources.kinds import configured_class

    if configured_class(settings).writable:
        return False
    with suppress(Unreachable):
        return any(d["name"] == name and d["desired"]["state"] == "running"
                   for d in ask(settings, Request.STATUS)["domains"])
    return False


def outcome(options: Namespace, settings: Settings, name: str, *, start: bool = False) -> int:
    """Wait for the result and print it, if a reconciler is running; returns the exit status."""
    from reconciler.cli.client import Unreachable, ask

    if options.no_wait:
        return OK
    wait = options.timeout
    try:
        with progress(name):
            value = ask(settings, Request.SYNC, limit=wait + 30,
                        query={"wait": str(wait), "name": name})
            if start:
                ask(settings, Request.START, name)
                value = ask(settings, Request.SYNC, limit=wait + 30,
                            query={"wait": str(wait), "name": name})
        domains = ask(settings, Request.STATUS)["domains"]
    except Unreachable as error:
        complain(f"{error}; the change takes effect when it runs", error.hint)
        return OK
    found = next((d for d in domains if d["name"] == name), None)
    if found is None:
        print(f"{name}: gone")
        return OK
    ready = found["conditions"][0]
    state = SHOWN.get(found["observed"]["state"], found["observed"]["state"])
    print(f"{name}: {state}, {ready['reason']}"
          f"{': ' + ready['message'] if ready['message'] else ''}")
    last = found["lastAction"] or {}
    if last.get("name") == "stop" and last.get("message"):
        complain(f"{name} was stopped {last['message']}",
                 "`reconciler explain` says how a VM is stopped, on its line `stops by`")
    return OK if ready["status"] == "True" and not value["waitingFor"] else NO


def waiting(parser: ArgumentParser) -> None:
    """Add the options on whether and how long to wait for the result."""
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the result")
    with_timeout(parser, "1m")


def _create_arguments(parser: ArgumentParser) -> None:
    action = parser.add_argument("file", type=Path, metavar="FILE",
                                 help="a domain file, or - for standard input")
    action.complete = FILES  # type: ignore[attr-defined]  # shtab reads this attribute
    waiting(parser)


def _name_arguments(parser: ArgumentParser) -> None:
    with_name(parser)
    waiting(parser)


VERBS = (
    Verb("create", "validate a domain file and add it", _create,
         _create_arguments, "  reconciler create web1.xml\n"
                            "  virsh dumpxml web1 | reconciler create -\n"
                            "Copies the file into the watched directory.\n"),
    Verb("destroy", "remove a domain and stop its VM; disks are kept", _destroy, _name_arguments,
         "  reconciler destroy web1\n"
         "Deletes the domain's file; a copy is kept in removed/ of the state directory.\n"),
    Verb("suspend", "pause a VM (sets state='paused' in its file)", _set_state, _name_arguments,
         "  reconciler suspend web1\n"),
    Verb("resume", "resume a paused VM (sets state='running' in its file)", _set_state,
         _name_arguments, "  reconciler resume web1\n"),
    Verb("start", "start a VM (sets state='running' in its file)", _set_state, _name_arguments,
         "  reconciler start web1\n"),
    Verb("stop", "shut down a VM (sets state='stopped' in its file)", _set_state,
         _name_arguments, "  reconciler stop web1 --timeout 2m\n"),
)
