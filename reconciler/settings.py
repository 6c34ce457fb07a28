"""config.yaml, checked once and frozen. An unknown key is an error that names the nearest one."""

from __future__ import annotations

import difflib
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KEYS: dict[str, set[str]] = {
    "source": {"kind", "path"},
    "hypervisor": {"path", "arguments"},
    "paths": {"runtime", "state", "images"},
    "reconcile": {"resync", "qmp_timeout"},
    "prune": {"enabled", "settle", "hold_above"},
}


class BadConfig(Exception):
    """The operator's fault: the configuration file."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds, paths absolute."""

    domains: Path
    runtime: Path
    state: Path
    images: Path
    hypervisor: tuple[str, ...]
    simulated: bool
    resync: float
    qmp_timeout: float
    prune: bool
    settle: float
    hold_above: float
    arch: str

    def vm(self, name: str) -> Path:
        """The directory of one VM's lock, sockets and record."""
        return self.runtime / "vms" / name


def _seconds(text: object) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    value = str(text)
    for unit in ("ms", "s", "m", "h"):
        number = value.removesuffix(unit)
        if number != value and number.isdigit():
            return int(number) * units[unit]
    raise BadConfig(f"{text!r} is no duration (accepted: 500ms, 10s, 5m, 1h)")


def _near(name: str, accepted: set[str]) -> str:
    near = difflib.get_close_matches(name, accepted, 1)
    return f"; did you mean '{near[0]}'?" if near else f" (accepted: {', '.join(sorted(accepted))})"


def load(file: Path) -> Settings:
    """Read and check; raises BadConfig."""
    try:
        data: Any = yaml.safe_load(file.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise BadConfig(f"{file}: {error}") from error
    for section, keys in data.items():
        if section not in _KEYS:
            raise BadConfig(f"{file}: unknown section '{section}'{_near(section, set(_KEYS))}")
        for key in keys or {}:
            if key not in _KEYS[section]:
                near = _near(key, _KEYS[section])
                raise BadConfig(f"{file}: unknown key '{section}.{key}'{near}")

    def get(section: str, key: str, default: Any) -> Any:
        variable = f"RECONCILER_{section}__{key}".upper()
        return os.environ.get(variable, (data.get(section) or {}).get(key, default))

    if get("source", "kind", "directory") != "directory":
        raise BadConfig(f"{file}: source.kind accepts 'directory'")
    base = file.resolve().parent
    root = os.geteuid() == 0
    program = get("hypervisor", "path", "auto")
    found = shutil.which("stratovirt") if program == "auto" else str(program)
    simulator = Path(__file__).parent / "simulator" / "__main__.py"
    hypervisor = [found] if found else [sys.executable, "-I", "-S", str(simulator)]
    home = Path.home()
    runtime = get("paths", "runtime", "auto")
    state = get("paths", "state", "auto")
    if runtime == "auto":
        runtime = "/run/stratovirt-reconciler" if root else os.path.join(
            os.environ.get("XDG_RUNTIME_DIR", f"/tmp/run-{os.geteuid()}"), "stratovirt-reconciler")
    if state == "auto":
        state = "/var/lib/stratovirt-reconciler" if root else (
            home / ".local/state/stratovirt-reconciler")
    return Settings(
        domains=base / get("source", "path", "domains"), runtime=base / runtime,
        state=base / state, images=base / get("paths", "images", "images"),
        hypervisor=(*hypervisor, *(get("hypervisor", "arguments", None) or ())),
        simulated=found is None, resync=_seconds(get("reconcile", "resync", "5m")),
        qmp_timeout=_seconds(get("reconcile", "qmp_timeout", "10s")),
        prune=bool(get("prune", "enabled", True)), settle=_seconds(get("prune", "settle", "2s")),
        hold_above=float(str(get("prune", "hold_above", "50%")).rstrip("%")) / 100,
        arch=platform.machine(),
    )
