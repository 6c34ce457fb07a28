"""What a configuration means for reading files; for the engine, and commands without one."""

from __future__ import annotations

import ipaddress
import shutil
from typing import TYPE_CHECKING

from reconciler.domain.admission import Admission
from reconciler.domain.expand import Given
from reconciler.domain.merge import read_defaults
from reconciler.domain.model import Policy, ReadingHost, StopMode, UpdatePolicy
from reconciler.domain.substitute import Variables
from reconciler.engine.decide.inputs import Opening
from reconciler.host import memory
from reconciler.report.authorization import Authorization
from reconciler.sources.listing import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.settings import Settings

_ANYBODY = 0o007  # of a file's mode


def reading_host(settings: Settings, *, lenient: bool = False, strict: bool = False) -> ReadingHost:
    """The host that files are read against."""
    defaults = settings.defaults
    policy = Policy(update=UpdatePolicy(defaults.update), stop=StopMode(defaults.stop.mode),
                    stop_timeout=defaults.stop.timeout, restart_limit=defaults.restart.limit,
                    restart_window=defaults.restart.window)
    path = settings.hypervisor.path
    found = shutil.which("stratovirt") if path == "auto" else str(settings.base / path)
    own = () if found is None else (found,)
    return ReadingHost(settings.arch, settings.images, settings.state / "nvram", policy,
                       (*own, *settings.hypervisor.allowed), lenient=lenient, strict=strict)


def variables(settings: Settings) -> Variables:
    """What ${NAME} in a file stands for."""
    return Variables(settings.source.variables, settings.source.variables_strict)


def given(settings: Settings, defaults: bytes | None, file: str, host: ReadingHost) -> Given:
    """What the files of a directory are read with; raises InvalidDomain for its defaults."""
    names = variables(settings)
    if defaults is None:
        return Given(names)
    return Given(names, read_defaults(defaults, file, names, lenient=host.lenient))


def given_in(settings: Settings, directory: Path, host: ReadingHost) -> Given:
    """What a file of this directory is read with; raises InvalidDomain and OSError."""
    place = directory / DEFAULTS
    try:
        data = place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return given(settings, None, "", host)
    return given(settings, data, str(place), host)


def admission(settings: Settings) -> Admission:
    """What a file may ask of this host."""
    rules = settings.admission
    return Admission(paths=rules.paths, max_memory=rules.max_memory, max_vcpus=rules.max_vcpus,
                     bridges=rules.bridges, host_devices=rules.host_devices,
                     require_labels=rules.require_labels,
                     windows=tuple(name for name, _ in settings.windows),
                     own=str(settings.state / "nvram"))


def opening(settings: Settings, domain: Domain | None, wall: float) -> Opening | None:
    """The window that the file names, as of then; None where it names none."""
    name = domain.policy.window if domain is not None else None
    window = dict(settings.windows).get(name) if name else None
    if window is None or name is None:
        return None
    if window.open_at(wall):
        return Opening(name, open=True)
    at = window.opens(wall)
    return Opening(name, open=False, opens_at=at, shown=window.show(at) if at else "")


def memory_limit(settings: Settings, *, simulated: bool) -> int | None:
    """How much all VMs together may have; simulated ones take none of the host's."""
    wanted = settings.admission.total_memory
    if not isinstance(wanted, float):
        return wanted
    there = None if simulated else memory.total()
    return None if there is None else int(there * wanted)


def gate_of(settings: Settings, host: str) -> Authorization:
    """Who may do what over TCP, on a server that listens at `host`; secrets as they are now."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return Authorization(loopback, _secret(settings, settings.http.token_file),
                         _secret(settings, settings.source.webhook_secret_file))


def unusable_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with the files that guard the listener, each with what to do."""
    for name, file in (("http.token_file", settings.http.token_file),
                       ("source.webhook_secret_file", settings.source.webhook_secret_file)):
        if file is None:
            continue
        path = settings.base / file
        try:
            mode = path.stat().st_mode
            empty = not path.read_bytes().strip()
        except OSError as error:
            yield (f"{path}: {error.strerror}",
                   f"{name} names a file with a secret, without which nobody is let in")
            continue
        if empty:
            yield f"{path} is empty", f"write the secret of {name} into it"
        elif mode & _ANYBODY:
            yield f"{path}: everybody on this host may use this secret", f"chmod 600 {path}"


def _secret(settings: Settings, file: str | None) -> bytes:
    """What a secret file holds; nothing, which lets nobody in, while it cannot be read."""
    try:
        return (settings.base / file).read_bytes().strip() if file is not None else b""
    except OSError:
        return b""
