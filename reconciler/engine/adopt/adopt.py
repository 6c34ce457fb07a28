"""Adoption: a StratoVirt process that another tool started becomes a managed domain, untouched.

It has not inherited our lock, so a process of its own holds that for it; its monitor gets a name in
our directory; its record says which process it is. Then its file goes into the watched directory,
and whichever reconciler runs finds it as one that ran before (rule 2). The VM is asked for its
status, and is not changed.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.model import InvalidDomain
from reconciler.domain.numbers import identity
from reconciler.engine.adopt.recognise_running import TakenOver, changed_by_defaults, take_over
from reconciler.engine.composition import given, programs_of, read_file, reading_host
from reconciler.errors import UsageError
from reconciler.host.start_time import start_time
from reconciler.report.events import timestamp
from reconciler.sources.directory import Directory
from reconciler.sources.kinds import configured_class
from reconciler.sources.listing import DEFAULTS
from reconciler.stratovirt import process, record
from reconciler.stratovirt.binary import arguments_of, find
from reconciler.stratovirt.command_line import MONITOR_SOCKET, QMP_SOCKET
from reconciler.stratovirt.recognition import (
    executable_of,
    lock_holders,
    reconciler_of,
    user_of,
)
from reconciler.stratovirt.unmanaged import user_name

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.settings import Settings


def prepare(settings: Settings, pid: int, *, force: bool = False) -> TakenOver:
    """Whether it can be adopted; raises UsageError where it cannot, and says what helps.

    `force`: also a process of another user, or of another program than those of the configuration.
    """
    source = configured_class(settings)
    if not source.writable:
        raise UsageError(f"the domain files come from {source.configured(settings)}, and adopt "
                         "writes one", reason="Refused",
                         hint=f"`reconciler import {pid}` prints it: to be adopted, run the "
                              "reconciler on a directory first, and commit the file afterwards")
    _check_whose(settings, pid, force=force)
    found = take_over(settings, pid)
    try:
        changed = changed_by_defaults(settings, found.text) if not found.problems else ()
    except InvalidDomain as error:
        raise UsageError(f"{settings.domains / DEFAULTS} has errors:\n{error}",
                         reason=error.reason, hint="correct it first") from None
    if found.problems:
        raise UsageError("its domain file would be invalid:\n"
                         + "\n".join(map(str, found.problems)), reason="InvalidDefinition")
    if changed:
        shown = "; ".join(f"{c.path}: {c.old} → {c.new}" for c in changed)
        raise UsageError(f"{settings.domains / DEFAULTS} would make it another VM: {shown}",
                         reason="Conflict", hint="take these out of the defaults first, or watch "
                                                 "another directory")
    if process.locked(_home(settings, found.domain)):
        raise UsageError(f"a VM runs as '{found.domain.name}' already", reason="Conflict")
    if not found.monitors:
        raise UsageError(f"process {pid} has no QMP unix socket and cannot be managed")
    if not found.answers:
        raise UsageError(f"the monitor {found.monitors[-1]} is in use by another client",
                         hint="disconnect it (libvirt?) first")
    file = _file_of(settings, found.domain)
    if file is not None:
        raise UsageError(f"{file} already defines this domain", reason="Conflict",
                         hint="remove it first: adopt writes a file that describes the VM")
    return found


def _check_whose(settings: Settings, pid: int, *, force: bool) -> None:
    """What a process says of itself must not make this user start it again with other's files."""
    argv = process.command_line(pid)
    if not argv:
        return  # reported as one that does not exist
    owner = reconciler_of(pid, argv, lock_holders())
    if owner is not None and os.path.realpath(owner) != os.path.realpath(settings.runtime):
        raise UsageError(f"process {pid} is a VM of the reconciler of {owner}", reason="Conflict",
                         hint="remove its domain there first (`state='stopped'` ends the VM)")
    user = user_of(pid)
    hint = (f"`reconciler adopt --force --dry-run {pid}` lists the files that it has; without "
            "--dry-run it is adopted")
    if not force and user != os.geteuid():
        raise UsageError(f"process {pid} is a process of {user_name(user)}", reason="Refused",
                         hint=hint)
    if not force and arguments_of(
            argv, reading_host(settings).emulators) is not None and not programs_of(
            settings, find(settings)).configured(pid, argv):
        raise UsageError(f"process {pid} executes {executable_of(pid) or 'an unknown file'}, which "
                         "is neither hypervisor.path nor in hypervisor.allowed", reason="Refused",
                         hint=hint)


def files_of(found: TakenOver) -> list[str]:
    """What an adopted VM has of the host, and would be started with again."""
    domain = found.domain
    return sorted({f"{r.kind} {r.value}" for r in domain.exclusive_resources()
                   if r.value.startswith("/")}
                  | {f"file {need.path}" for need in domain.required_files()}
                  | {f"monitor {path}" for path in found.monitors})


def adopt(settings: Settings, pid: int, found: TakenOver) -> None:
    """Take its lock, and say which process it is; the file is still to be put (cli/adopt.py)."""
    home, started = _home(settings, found.domain), start_time(pid)
    if started is None:
        raise UsageError(f"no process {pid}", reason="NotFound")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    holder = process.start_lock_holder(process.Process(pid, started), home)
    try:
        _name_monitors(home, found.monitors)
        record.save_definition(home, found.text.encode())
        record.save(home, _record(settings, found.domain, pid, started))
    except OSError:
        process.send_signal(holder, signal.SIGTERM)
        raise


def _record(settings: Settings, domain: Domain, pid: int, started: int) -> record.Record:
    """As for one that we started; its definition is complete, places and all."""
    placed = {identity(d): d.place for d in domain.devices if d.PLUGGED and d.place is not None}
    return record.Record(
        domain.name, domain.uuid, 1, record.boot_id(), pid, started, timestamp(), places=placed,
        read_with=reading_host(settings).keep(), file=f"{domain.name}.xml", foreign=True,
        ports={d.index: d.place for d in domain.devices
               if isinstance(d, RootPort) and d.place is not None},
        vcpus=domain.current_vcpus or domain.vcpus, updated=True, uid=user_of(pid),
        executable=executable_of(pid))


def _name_monitors(home: Path, monitors: tuple[str, ...]) -> None:
    """The reconciler uses the last one; if there are two, users get the first."""
    names = {QMP_SOCKET: monitors[-1]}
    if len(monitors) > 1:
        names[MONITOR_SOCKET] = monitors[0]
    for name in (QMP_SOCKET, MONITOR_SOCKET):
        (home / name).unlink(missing_ok=True)
    for name, target in names.items():
        os.symlink(target, home / name)


def _home(settings: Settings, domain: Domain) -> Path:
    return settings.runtime / "vms" / domain.name


def _file_of(settings: Settings, domain: Domain) -> Path | None:
    """The watched file of a domain of this name or uuid."""
    listing = Directory(settings.domains, settings.source.include, 0.0).look()
    host = reading_host(settings, lenient=True)
    read_with = given(settings, listing.files.get(DEFAULTS), DEFAULTS, host)
    for name in listing.domain_files:
        try:
            others = read_file(listing.files[name], name, host, read_with).definitions
        except InvalidDomain:
            continue
        if any(domain.name == other.domain.name or domain.uuid == other.domain.uuid
               for other in others):
            return settings.domains / name
    return None
