"""virsh's verbs, as edits of the watched files: the files stay the truth.

Only the state is touched, as text, so that a comment, a quote or an indent of somebody's never
changes. Then, if a reconciler runs, its word on the outcome is waited for.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.terminal import complain, progress
from reconciler.cli.verb import FILES, NO, OK, Verb, with_name, with_timeout
from reconciler.errors import UsageError
from reconciler.report.requests import Request
from reconciler.units import nearest

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.domain.model import Domain
    from reconciler.settings import Settings

URN = "urn:stratovirt-reconciler:1"
STATES = {"suspend": "paused", "resume": "running", "start": "running", "stop": "stopped"}
_NEEDED = {"suspend": "running", "resume": "paused"}
_TAG = re.compile(r"<(?:[\w.-]+:)?reconcile\b[^>]*?(/?)>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_STATE = re.compile(r"(\sstate\s*=\s*)(['\"])[^'\"]*\2")


def edited(text: str, state: str) -> str:
    """The file with another desired state, and nothing else changed."""
    bare = _COMMENT.sub(lambda found: " " * len(found[0]), text)  # as long, and says nothing
    tag = _TAG.search(bare)
    if tag is not None:
        found = _STATE.search(tag[0])
        if found is not None:
            fresh = _STATE.sub(rf"\g<1>\g<2>{state}\g<2>", tag[0], count=1)
        else:
            end = len(tag[0]) - len(tag[1]) - 1
            fresh = f"{tag[0][:end].rstrip()} state='{state}'{tag[0][end:]}"
        return text[:tag.start()] + fresh + text[tag.end():]
    element = f"<r:reconcile xmlns:r='{URN}' state='{state}'/>"
    for closing, addition in (("</metadata>", f"  {element}\n  "),
                              ("</domain>", f"  <metadata>\n    {element}\n  </metadata>\n")):
        where = bare.rfind(closing)
        if where >= 0:
            return text[:where] + addition + text[where:]
    return text


def put(path: Path, data: bytes) -> None:
    """Replace a file whole: no watcher ever sees half of it."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        fresh.chmod(path.stat().st_mode & 0o7777)
    fresh.replace(path)


def refuse_read_only(settings: Settings, instead: str) -> None:
    """Raise UsageError if the source's files are not ours to write; `instead`: what to do."""
    from reconciler.sources.kinds import configured_class

    source = configured_class(settings)
    if not source.writable:
        raise UsageError(f"the domain files come from {source.configured(settings)}, and are "
                         "read only here", reason="Refused", hint=instead)


@dataclass(frozen=True, slots=True)
class Owner:
    """A file of the watched directory, and the domains that it is."""

    path: Path
    domains: tuple[Domain, ...]

    def one(self, name: str, wanted: str) -> Domain:
        """Its only domain; what would be done to one of several is refused."""
        if len(self.domains) > 1:
            shown = next(d.name for d in self.domains if name in (d.name, d.uuid))
            raise UsageError(f"{self.path} keeps {len(self.domains)} domains, of which '{shown}' "
                             "is one (count)", reason="Refused", hint=wanted)
        return self.domains[0]


class Watched:
    """The watched directory, and what a file in it means."""

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
                             reason=error.reason, hint="mend it first: every other file is read "
                                                       "with it") from None

    def read(self, data: bytes, file: str) -> tuple[Domain, ...]:
        """The domains of a file, as the reconciler would read it here."""
        from reconciler.domain.expand import expand

        found = expand(data, file, self._host, self._given)
        return tuple(definition.domain for definition in found.definitions)

    def owners(self) -> dict[str, Owner]:
        """The file of each domain that has a valid one, by name and by uuid."""
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
        raise UsageError(f"no valid file in {watched.path} is of domain '{name}'"
                         f"{nearest(name, owners)}", reason="NotFound",
                         hint="`reconciler status` lists the domains, `reconciler validate` the "
                              "errors of a file")
    return owners[name]


def _create(options: Namespace, settings: Settings) -> int:
    from reconciler.domain.model import InvalidDomain

    refuse_read_only(settings, f"commit {options.file} there; `reconciler validate` checks it "
                               "before")
    try:
        data = sys.stdin.buffer.read() if options.file == Path("-") else options.file.read_bytes()
    except OSError as error:
        raise UsageError(f"{options.file}: {error.strerror}") from error
    watched = Watched(settings)
    try:
        domains = watched.read(data, str(options.file))
    except InvalidDomain as error:
        print(error, file=sys.stderr)
        complain(f"{options.file} was not taken: it has the errors above")
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
    """What a new file is called in the watched directory: as its domain, or as it was."""
    several = len(domains) > 1 and file.suffix == ".xml"
    return file.name if several else f"{domains[0].name}.xml"


def _destroy(options: Namespace, settings: Settings) -> int:
    refuse_read_only(settings, f"remove the file of '{options.name}' there")
    owner = _owner_of(Watched(settings), options.name)
    name = owner.one(options.name, f"lower its count, or remove {owner.path.name} and with it all "
                                   "of them").name
    owner.path.unlink()
    print(f"{name}: {owner.path} removed (disks and nvram are kept)")
    return outcome(options, settings, name)


def _set_state(options: Namespace, settings: Settings) -> int:
    refuse_read_only(
        settings, f"commit state='{STATES[options.verb]}' in the reconcile element of "
        f"'{options.name}'; `reconciler hold {options.name}` leaves it alone meanwhile")
    watched, verb = Watched(settings), options.verb
    owner = _owner_of(watched, options.name)
    path = owner.path
    before = owner.one(options.name, f"state in {path.name} is that of all of them; `reconciler "
                                     f"{'restart' if verb == 'start' else 'hold'} NAME` is for one")
    data = path.read_bytes()
    try:
        text = data.decode()  # line ends as they are
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8", hint="set state by hand") from None
    state = STATES[verb]
    needed = _NEEDED.get(verb)
    if before.policy.state not in (state, needed or before.policy.state):
        raise UsageError(f"'{before.name}' is wanted {before.policy.state}, not {needed}",
                         hint=f"`reconciler start {before.name}` starts it")
    if before.policy.state == state:
        print(f"{before.name}: its file says {state} already")
    else:
        fresh = edited(text, state)
        if [domain.policy.state for domain in watched.read(fresh.encode(), path.name)] != [state]:
            raise UsageError(f"{path}: its state cannot be edited safely",
                             hint="set state in its reconcile element by hand")
        put(path, fresh.encode())
        print(f"{before.name}: {path} says {state} now")
    return outcome(options, settings, before.name, start=verb == "start")


def outcome(options: Namespace, settings: Settings, name: str, *, start: bool = False) -> int:
    """What came of it, from the reconciler that runs, if one does."""
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
        complain(f"{error}; it takes effect when one does", error.hint)
        return OK
    found = next((d for d in domains if d["name"] == name), None)
    if found is None:
        print(f"{name}: no such VM any more")
        return OK
    ready = found["conditions"][0]
    print(f"{name}: {found['observed']['state']}, {ready['reason']}"
          f"{': ' + ready['message'] if ready['message'] else ''}")
    return OK if ready["status"] == "True" and not value["waitingFor"] else NO


def waiting(parser: ArgumentParser) -> None:
    """Whether and how long to wait for the outcome."""
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the outcome")
    with_timeout(parser, "1m")


def _create_arguments(parser: ArgumentParser) -> None:
    action = parser.add_argument("file", type=Path, metavar="FILE", help="a domain file, or -")
    action.complete = FILES  # type: ignore[attr-defined]  # shtab reads it off the action
    waiting(parser)


def _name_arguments(parser: ArgumentParser) -> None:
    with_name(parser)
    waiting(parser)


VERBS = (
    Verb("create", "check a domain file and put it into the watched directory", _create,
         _create_arguments, "  reconciler create web1.xml\n  virsh dumpxml web1 | reconciler "
                            "create -\n"),
    Verb("destroy", "take the domain's file away, and with it the VM", _destroy, _name_arguments,
         "  reconciler destroy web1\n"),
    Verb("suspend", "pause the VM: write state paused into its file", _set_state, _name_arguments,
         "  reconciler suspend web1\n"),
    Verb("resume", "let the VM go on: write state running into its file", _set_state,
         _name_arguments, "  reconciler resume web1\n"),
    Verb("start", "start the VM: write state running into its file", _set_state, _name_arguments,
         "  reconciler start web1\n"),
    Verb("stop", "shut the VM down: write state stopped into its file", _set_state,
         _name_arguments, "  reconciler stop web1 --timeout 2m\n"),
)
