"""config.yaml and the environment, checked once and frozen; the lowest layer, which all may read.

A section is a frozen dataclass; a key is a field with its reader and its default beside each other,
so that a new key is one line. Unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ConfigError
from reconciler.units import nearest, seconds, unit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "RECONCILER_"


def _key(read: Reader, default: object) -> Any:  # Any: a field of any type
    return field(default=default, metadata={"read": read})


def _section(kind: type) -> Any:  # Any: as above
    return field(default_factory=kind, metadata={"section": kind})


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes a value of what YAML gives, or raises ValueError; its schema tells editors the same."""

    read: Callable[[object], Any]
    schema: dict[str, object]

    def __call__(self, value: object) -> Any:
        """Read it."""
        return self.read(value)


def _accepting(**schema: object) -> Callable[[Callable[[object], Any]], Reader]:
    """Turn a function into a Reader with this JSON Schema."""
    return lambda read: Reader(read, schema)


def _optional(read: Reader) -> Reader:
    """Null, or what another reader reads."""
    return Reader(lambda value: None if value is None else read(value),
                  {"anyOf": [{"type": "null"}, read.schema]})


@_accepting(type=["string", "number"])
def _text(value: object) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        message = f"{value!r}, accepted: text"
        raise ValueError(message)
    return str(value)


_optional_text = _optional(_text)


@_accepting(enum=[True, False, "true", "yes", "on", "false", "no", "off"])
def _flag(value: object) -> bool:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    found = words.get(str(value).lower())
    if found is None:
        message = f"{value!r}, accepted: true, false"
        raise ValueError(message)
    return found


@_accepting(type="string", pattern="^[0-9]{1,9}(ms|s|m|h|d)$")
def _duration(value: object) -> float:
    return seconds(_text(value))


@_accepting(type="string", pattern="^([0-9]|[1-9][0-9]|100)%$")
def _percent(value: object) -> float:
    text = _text(value)
    number = text.removesuffix("%")
    if not number.isdigit() or number == text or int(number) > 100:
        message = f"{text!r}, accepted: 0% to 100%"
        raise ValueError(message)
    return int(number) / 100


def _whole(low: int, high: int) -> Reader:
    @_accepting(type="integer", minimum=low, maximum=high)
    def read(value: object) -> int:
        text = _text(value)
        if not text.isdecimal() or not low <= int(text) <= high:
            message = f"{text!r}, accepted: a whole number from {low} to {high}"
            raise ValueError(message)
        return int(text)

    return read


def _automatic(read: Reader) -> Reader:
    """A number, or `auto`, which is 0."""
    return Reader(lambda value: 0 if value == "auto" else read(value),
                  {"anyOf": [{"const": "auto"}, read.schema]})


def _choice(*accepted: str) -> Reader:
    @_accepting(enum=list(accepted))
    def read(value: object) -> str:
        if isinstance(value, str) and value in accepted:
            return value
        message = f"{value!r}{nearest(str(value), accepted)} (accepted: {', '.join(accepted)})"
        raise ValueError(message)

    return read


@_accepting(type="array", items={"type": ["string", "number"]})
def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        message = f"{value!r}, accepted: a list, such as [a, b]"
        raise ValueError(message)  # one kind of error for all wrong values
    return tuple(_text(item) for item in value)


@_accepting(type=["string", "integer", "null"], minimum=0,
            pattern="^[0-9]+ *([kKmMgGtTpPeE]([iI]?[bB])?|[bB]([yY][tT][eE][sS]?)?)?$")
def _size(value: object) -> int | None:
    """Bytes, from `8GiB` or `8 GiB`; null is no limit."""
    if value is None:
        return None
    text = _text(value).strip()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    if not number.isdecimal():
        message = f"{text!r}, accepted: a size such as 8GiB"
        raise ValueError(message)
    return int(number) * unit_bytes(text[len(number):].strip() or "b")


@dataclass(frozen=True, slots=True)
class Source:
    """Where domain files come from. `settle`: how long an unfinished write must rest, seconds."""

    kind: str = _key(_choice("directory"), "directory")
    path: str = _key(_text, "domains")
    include: tuple[str, ...] = _key(_texts, ("*.xml",))
    settle: float = _key(_duration, 0.2)


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """The StratoVirt program; `allowed` are those that an <emulator> may name instead."""

    path: str = _key(_text, "auto")
    arguments: tuple[str, ...] = _key(_texts, ())
    allowed: tuple[str, ...] = _key(_texts, ())


@dataclass(frozen=True, slots=True)
class Paths:
    """Directories; `auto` by who runs us."""

    runtime: str = _key(_text, "auto")
    state: str = _key(_text, "auto")
    images: str = _key(_text, "images")


@dataclass(frozen=True, slots=True)
class Backoff:
    """After a failed action: `initial`, doubled each time, up to `maximum`; seconds."""

    initial: float = _key(_duration, 1.0)
    maximum: float = _key(_duration, 300.0)


@dataclass(frozen=True, slots=True)
class Drift:
    """How many corrections of one thing within the window are a fight."""

    fight_limit: int = _key(_whole(1, 1000), 3)
    window: float = _key(_duration, 600.0)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """The engine's times, in seconds; concurrency 0 is one start a processor, at most eight."""

    resync: float = _key(_duration, 300.0)
    concurrency: int = _key(_automatic(_whole(1, 1000)), 0)
    qmp_timeout: float = _key(_duration, 10.0)
    start_timeout: float = _key(_duration, 30.0)
    jitter: float = _key(_percent, 0.1)
    heartbeat: float = _key(_duration, 15.0)
    backoff: Backoff = _section(Backoff)
    drift: Drift = _section(Drift)


@dataclass(frozen=True, slots=True)
class DefaultStop:
    """How a VM is stopped when its file does not say."""

    mode: str = _key(_choice("graceful", "force"), "graceful")
    timeout: float = _key(_duration, 30.0)


@dataclass(frozen=True, slots=True)
class DefaultRestart:
    """How many exits within which window are a crash loop when the file does not say."""

    limit: int = _key(_whole(1, 1000), 5)
    window: float = _key(_duration, 600.0)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for a file that does not say."""

    update: str = _key(_choice("auto", "live", "recreate", "manual"), "auto")
    stop: DefaultStop = _section(DefaultStop)
    restart: DefaultRestart = _section(DefaultRestart)
    spare_ports: int = _key(_whole(0, 64), 4)


@dataclass(frozen=True, slots=True)
class Prune:
    """When removals are believed, and how many at once are held for an approval."""

    enabled: bool = _key(_flag, True)  # noqa: FBT003  # a default, not a call's flag
    hold_above: float = _key(_percent, 0.5)
    hold_minimum: int = _key(_whole(1, 100000), 3)
    settle: float = _key(_duration, 2.0)


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What a file may ask of this host; an empty list allows all, but no host device."""

    paths: tuple[str, ...] = _key(_texts, ())
    max_memory: int | None = _key(_size, None)
    max_vcpus: int | None = _key(_optional(_whole(1, 254)), None)
    bridges: tuple[str, ...] = _key(_texts, ())
    host_devices: tuple[str, ...] = _key(_texts, ())
    require_labels: tuple[str, ...] = _key(_texts, ())


@dataclass(frozen=True, slots=True)
class Network:
    """Whether taps are made, attached to their bridge and taken away by us."""

    manage_taps: bool = _key(_flag, True)  # noqa: FBT003  # as above


@dataclass(frozen=True, slots=True)
class Log:
    """How the log looks: `auto` is readable on a terminal, else JSON lines."""

    format: str = _key(_choice("auto", "json", "text"), "auto")
    level: str = _key(_choice("debug", "info", "warning", "error"), "info")
    file: str | None = _key(_optional_text, None)


@dataclass(frozen=True, slots=True)
class Http:
    """A TCP port for what the command socket answers. Read, and not built yet."""

    listen: str | None = _key(_optional_text, None)
    token_file: str | None = _key(_optional_text, None)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it; paths absolute, times in seconds."""

    file: Path
    source: Source = _section(Source)
    hypervisor: Hypervisor = _section(Hypervisor)
    paths: Paths = _section(Paths)
    reconcile: Reconcile = _section(Reconcile)
    defaults: Defaults = _section(Defaults)
    prune: Prune = _section(Prune)
    admission: AdmissionRules = _section(AdmissionRules)
    network: Network = _section(Network)
    log: Log = _section(Log)
    http: Http = _section(Http)
    arch: str = field(default_factory=platform.machine)

    @property
    def base(self) -> Path:
        """Where relative paths of the configuration start."""
        return self.file.parent

    @property
    def domains(self) -> Path:
        """The watched directory."""
        return self.base / self.source.path

    @property
    def images(self) -> Path:
        """Where relative paths in domain files start."""
        return self.base / self.paths.images

    @property
    def runtime(self) -> Path:
        """Sockets, locks and records of what runs; gone after a reboot of the host."""
        if self.paths.runtime != "auto":
            return self.base / self.paths.runtime
        if os.geteuid() == 0:
            return Path("/run/stratovirt-reconciler")
        run = os.environ.get("XDG_RUNTIME_DIR", f"/tmp/runtime-{os.geteuid()}")  # noqa: S108  # its owner is checked when we start
        return Path(run) / "stratovirt-reconciler"

    @property
    def state(self) -> Path:
        """What outlives a reboot: records, status, journal, nvram."""
        if self.paths.state != "auto":
            return self.base / self.paths.state
        if os.geteuid() == 0:
            return Path("/var/lib/stratovirt-reconciler")
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return Path(home) / "stratovirt-reconciler"

    @property
    def api_socket(self) -> Path:
        """Where commands reach the running reconciler."""
        return self.runtime / "api.sock"

    @property
    def concurrency(self) -> int:
        """How many VMs are started at once."""
        return self.reconcile.concurrency or min(max(os.cpu_count() or 1, 2), 8)


def load(file: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check config.yaml; raises ConfigError, also when there is none."""
    from yaml import YAMLError, safe_load  # noqa: PLC0415  # 12 ms that many verbs can do without

    try:
        data = safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}",
                          hint="name another with --config FILE") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(PREFIX) and "__" in name:
            try:
                found = safe_load(value)
            except YAMLError as error:
                raise ConfigError(f"{name}: not YAML: {error}") from error
            _place(data, name.removeprefix(PREFIX).lower().split("__"), found, name)
    values = _read(Settings, data, (), str(file))
    return Settings(file=file.resolve(), **values)


def _place(data: dict[str, Any], steps: list[str], value: object, name: str) -> None:
    for step in steps[:-1]:
        data = data.setdefault(step, {}) if isinstance(data, dict) else {}
        if data is None or not isinstance(data, dict):
            raise ConfigError(f"{name}: '{step}' is no section")
    data[steps[-1]] = value


def _read(kind: type, data: object, path: tuple[str, ...], file: str) -> dict[str, Any]:
    """The checked values of one section, as keywords of its class."""
    where = ".".join(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: {where or 'the file'} is {data!r}, accepted: a mapping")
    accepted = {f.name: f for f in fields(kind) if f.metadata}
    values: dict[str, Any] = {}
    for key, value in data.items():
        full = ".".join((*path, str(key)))
        if key not in accepted:
            hint = nearest(str(key), accepted) or f" (accepted: {', '.join(accepted)})"
            raise ConfigError(f"{file}: unknown key '{full}'{hint}")
        section = accepted[key].metadata.get("section")
        if is_dataclass(section):
            assert isinstance(section, type)
            values[key] = section(**_read(section, value if value is not None else {},
                                          (*path, str(key)), file))
            continue
        try:
            values[key] = accepted[key].metadata["read"](value)
        except ValueError as error:
            raise ConfigError(f"{file}: {full}: {error}") from None
    return values
