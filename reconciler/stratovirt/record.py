"""record.json beside a VM's lock: who it is, and what was about to be done to it.

Written before an act and after it, so that a reconciler that comes after a kill -9 can tell a VM
that was being stopped from one that died. The kernel's facts (lock, start time, command line)
always win over it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.domain.place import Place
from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "record.json"
DEFINITION = "definition.xml"


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one VM process. `intent`: start or stop while that is under way."""

    name: str
    uuid: str
    generation: int = 0
    boot_id: str = ""
    pid: int | None = None
    started: int | None = None
    started_at: str = ""
    intent: str = ""
    places: dict[str, Place] = field(default_factory=dict)
    read_with: dict[str, str] = field(default_factory=dict)
    file: str = ""
    taps: tuple[str, ...] = ()  # those that we made, and take away again
    ports: dict[int, Place] = field(default_factory=dict)  # its root ports, by index
    vcpus: int = 1  # that it was started with
    foreign: bool = False  # adopted by hand: its command line does not name our directory
    updated: bool = False  # its definition was written anew after live changes
    uncertain: bool = False  # a live change is under way, or its end was not seen
    host_devices: tuple[str, ...] = ()  # those that we bound, and give back
    cgroup: str = ""  # its control group, and how often the kernel had killed in it for want of
    oom_kills: int | None = None  # memory when it was launched or found again; None: not counted


def save(home: Path, record: Record) -> None:
    """Replace it atomically."""
    write_whole(home / RECORD, json.dumps(asdict(record)).encode())


def load(home: Path) -> Record | None:
    """Read it; None when there is none, or none that can be understood."""
    try:
        value: dict[str, Any] = json.loads((home / RECORD).read_bytes())
        value["places"] = {key: Place(**place) for key, place in value["places"].items()}
        value["ports"] = {int(index): Place(**place)
                          for index, place in value.get("ports", {}).items()}
        value["taps"] = tuple(value["taps"])
        value["host_devices"] = tuple(value.get("host_devices", ()))
        return Record(**value)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def boot_id() -> str:
    """Changes with every boot of the host."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
