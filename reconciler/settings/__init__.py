"""The settings: config.yaml and the environment, checked once and frozen. The lowest layer.

A section is a frozen dataclass, a key is a field with its reader and its default. Unknown keys are
errors that name the nearest known one.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ConfigError
from reconciler.settings.readers import key, mapping, section
from reconciler.settings.sections import (
    AdmissionRules,
    Defaults,
    History,
    Http,
    Hypervisor,
    Log,
    Network,
    Paths,
    Prune,
    Reconcile,
    Source,
    window,
)
from reconciler.units import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.windows import Window

PREFIX = "RECONCILER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; times in seconds."""

    file: Path
    source: Source = section(Source)
    hypervisor: Hypervisor = section(Hypervisor)
    paths: Paths = section(Paths)
    reconcile: Reconcile = section(Reconcile)
    defaults: Defaults = section(Defaults)
    prune: Prune = section(Prune)
    admission: AdmissionRules = section(AdmissionRules)
    network: Network = section(Network)
    windows: tuple[tuple[str, Window], ...] = key(mapping(window), ())
    history: History = section(History)
    log: Log = section(Log)
    http: Http = section(Http)
    arch: str = field(default_factory=platform.machine)
    machine_id: Path = Path("/etc/machine-id")

    @property
    def base(self) -> Path:
        """The directory of config.yaml, to which its relative paths refer."""
        return self.file.parent

    @property
    def domains(self) -> Path:
        """The watched directory."""
        return self.base / self.source.path

    @property
    def images(self) -> Path:
        """The directory to which relative paths in domain files refer."""
        return self.base / self.paths.images

    @property
    def runtime(self) -> Path:
        """The directory of sockets, locks and records of running VMs; lost at a reboot."""
        if self.paths.runtime != "auto":
            return self.base / self.paths.runtime
        if os.geteuid() == 0:
            return Path("/run/stratovirt-reconciler")
        run = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
        if not run.is_dir():
            raise ConfigError(f"XDG_RUNTIME_DIR is not set, or there is no {run}",
                              hint="log in with a session of systemd-logind, or set paths.runtime")
        return run / "stratovirt-reconciler"

    @property
    def state(self) -> Path:
        """The directory of what outlives a reboot: records, status, journal, nvram."""
        if self.paths.state != "auto":
            return self.base / self.paths.state
        if os.geteuid() == 0:
            return Path("/var/lib/stratovirt-reconciler")
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return Path(home) / "stratovirt-reconciler"

    @property
    def api_socket(self) -> Path:
        """The command socket of the running reconciler."""
        return self.runtime / "api.sock"

    @property
    def max_unavailable(self) -> int:
        """How many domains may be recreated at the same time."""
        return self.reconcile.max_unavailable or self.concurrency

    @property
    def concurrency(self) -> int:
        """How many VMs are started at the same time."""
        return self.reconcile.concurrency or min(max(os.cpu_count() or 1, 2), 8)


def load(file: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check config.yaml; raises ConfigError, also if there is no such file."""
    from yaml import YAMLError, safe_load  # noqa: PLC0415  # 12 ms that some verbs do not need

    try:
        data = safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}",
                          hint="--config FILE or $RECONCILER_CONFIG names another one") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(PREFIX) and "__" in name:
            try:
                found = safe_load(value)
            except YAMLError as error:
                raise ConfigError(f"{name}: not YAML: {error}") from error
            _place(data, _steps(name), found, name)
    values = _read(Settings, data, (), str(file))
    return Settings(file=file.resolve(), **values)


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The keys that differ, such as reconcile.resync."""
    found: list[str] = []
    for part in fields(Settings):
        old, new = getattr(before, part.name), getattr(after, part.name)
        if is_dataclass(old) and is_dataclass(new):
            found += [f"{part.name}.{key.name}" for key in fields(old)
                      if getattr(old, key.name) != getattr(new, key.name)]
        elif old != new:
            found.append(part.name)
    return found


def _steps(variable: str) -> list[str]:
    """The key that an environment variable sets.

    Sections and keys may be in any case; the user's own names, as in source.variables, keep theirs.
    """
    found: list[str] = []
    kind: object = Settings
    named = False
    for step in variable.removeprefix(PREFIX).split("__"):
        found.append(step if named else step.lower())
        accepted = {f.name: f.metadata for f in fields(kind)} if is_dataclass(kind) else {}
        metadata: Mapping[str, Any] = accepted.get(found[-1], {})
        named = "read" in metadata and metadata["read"].free_keys
        kind = metadata.get("section")
    return found


def _place(data: dict[str, Any], steps: list[str], value: object, name: str) -> None:
    for step in steps[:-1]:
        data = data.setdefault(step, {}) if isinstance(data, dict) else {}
        if data is None or not isinstance(data, dict):
            raise ConfigError(f"{name}: '{step}' is not a section")
    data[steps[-1]] = value


def _read(kind: type, data: object, path: tuple[str, ...], file: str) -> dict[str, Any]:
    """The checked values of one section, as keyword arguments of its class."""
    where = ".".join(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: {where or 'the content'} is {data!r}, accepted: a mapping")
    accepted = {f.name: f for f in fields(kind) if f.metadata}
    values: dict[str, Any] = {}
    for name, value in data.items():
        full = ".".join((*path, str(name)))
        if name not in accepted:
            hint = nearest(str(name), accepted) or f" (accepted: {', '.join(accepted)})"
            raise ConfigError(f"{file}: unknown key '{full}'{hint}")
        inner = accepted[name].metadata.get("section")
        if is_dataclass(inner):
            assert isinstance(inner, type)
            values[name] = inner(**_read(inner, value if value is not None else {},
                                           (*path, str(name)), file))
            continue
        try:
            values[name] = accepted[name].metadata["read"](value)
        except ValueError as error:
            raise ConfigError(f"{file}: {full}: {error}") from None
    return values
