"""Composition: from the settings to the values that the engine, and commands without it, need."""

from __future__ import annotations

import ipaddress
import platform
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.backoff import Backoff
from reconciler.domain.admission import Admission
from reconciler.domain.expand import Given, expand
from reconciler.domain.merge import read_defaults
from reconciler.domain.model import ReadingHost
from reconciler.domain.policy import Policy, StopMode, UpdatePolicy
from reconciler.domain.substitute import Variables
from reconciler.engine.decide.attempts import BackoffPolicy
from reconciler.engine.decide.state import DecisionConfig
from reconciler.engine.source.file_reader import FileReader
from reconciler.engine.source.loader import Loader
from reconciler.errors import ConfigError
from reconciler.host import machine_id, memory
from reconciler.host.parse_trial import ParseTrial
from reconciler.host.secret_file import read_secret
from reconciler.report.authorization import Authorization
from reconciler.sources.git_remote import repository_of
from reconciler.sources.listing import DEFAULTS
from reconciler.stratovirt.recognition import Programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.domain.expand import Expansion
    from reconciler.settings import Settings
    from reconciler.stratovirt.binary import Binary

MACHINE_ID = "machine-id"  # in the state directory, where the host has none
_OTHERS = 0o007  # of a file's mode


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
                       (*own, *settings.hypervisor.allowed),
                       machine_id.identity(settings.machine_id, settings.state / MACHINE_ID),
                       _repository(settings), lenient=lenient, strict=strict)


def _repository(settings: Settings) -> str:
    """What all hosts that read the same files have in common; empty for a directory."""
    source = settings.source
    if source.identity is not None or source.kind != "git":
        return source.identity or ""
    for url in source.url[:1]:
        with suppress(ConfigError):  # the source reports it
            return f"{repository_of(url, settings.base)} {source.ref} {source.path}"
    return ""


def variables(settings: Settings) -> Variables:
    """What ${NAME} in a file stands for."""
    return Variables(settings.source.variables, settings.source.variables_strict)


def given(settings: Settings, defaults: bytes | None, file: str, host: ReadingHost) -> Given:
    """What the files of a directory are read with; raises InvalidDomain for its defaults."""
    names = variables(settings)
    if defaults is None:
        return Given(names)
    ParseTrial().check(defaults, file)
    return Given(names, read_defaults(defaults, file, names, lenient=host.lenient))


def read_file(data: bytes, file: str, host: ReadingHost, given: Given) -> Expansion:
    """The domains of a file; raises InvalidDomain, also for one that takes too long to parse."""
    ParseTrial().check(data, file)
    return expand(data, file, host, given)


def given_in(settings: Settings, directory: Path, host: ReadingHost) -> Given:
    """What a file of this directory is read with; raises InvalidDomain and OSError."""
    place = directory / DEFAULTS
    try:
        data = place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return given(settings, None, "", host)
    return given(settings, data, str(place), host)


def admission(settings: Settings) -> Admission:
    """What a file may use of this host."""
    rules = settings.admission
    return Admission(paths=rules.paths, max_memory=rules.max_memory, max_vcpus=rules.max_vcpus,
                     bridges=rules.bridges, host_devices=rules.host_devices,
                     require_labels=rules.require_labels, max_domains=rules.max_domains,
                     windows=tuple(name for name, _ in settings.windows),
                     own=str(settings.state / "nvram"))


def programs_of(settings: Settings, binary: Binary) -> Programs:
    """The programs that VMs run: the selected one, and those that a file may name."""
    selected = () if binary.simulated else (binary.path,)
    return Programs.of((*selected, *settings.hypervisor.allowed))


def decision_config(settings: Settings, boot_id: str, began: float) -> DecisionConfig:
    """What decisions and transitions need. `began`: when this reconciler began, boot-time clock."""
    reconcile = settings.reconcile
    backoff = Backoff(reconcile.backoff.initial, reconcile.backoff.maximum)
    return DecisionConfig(
        BackoffPolicy(backoff, reconcile.drift.fight_limit, reconcile.drift.window),
        settings.history.keep, boot_id, began, dict(settings.windows))


def loader_of(settings: Settings, free: Callable[[str, int], bool] | None = None) -> Loader:
    """Reads the files of a source; `free` asks the host whether a number is free there."""
    always = _always_free if free is None else free
    reader = FileReader(reading_host(settings), variables(settings), expand, ParseTrial().check)
    return Loader(reader, admission(settings), platform.node(), always)


def _always_free(_claim: str, _number: int) -> bool:
    return True


def memory_limit(settings: Settings, *, simulated: bool) -> int | None:
    """Bytes that all VMs together may have; simulated VMs take none of the host's."""
    wanted = settings.admission.total_memory
    if not isinstance(wanted, float):
        return wanted
    there = None if simulated else memory.total()
    return None if there is None else int(there * wanted)


def gate_of(settings: Settings, host: str) -> Authorization:
    """Which clients may do what over TCP, on a server at `host`; secrets as they are now."""
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
                   f"{name} must name a secret file; without it all requests are refused")
            continue
        if empty:
            yield f"{path} is empty", f"write the secret of {name} into it"
        elif mode & _OTHERS:
            yield f"{path}: every user of this host can read this secret", f"chmod 600 {path}"


def _secret(settings: Settings, file: str | None) -> bytes:
    """What a secret file holds; nothing while it cannot be read, and then requests are refused."""
    try:
        return read_secret(settings.base / file) if file is not None else b""
    except OSError:
        return b""
