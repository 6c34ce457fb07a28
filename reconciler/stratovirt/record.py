"""record.json beside a VM's lock: which VM this is, and the action that is under way on it.

Written before and after each action, so that a reconciler that was killed can tell, at its next
start, a VM that it was stopping from one that crashed. Facts from the kernel (lock, start time,
command line) take precedence over the record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.domain.place import Place
from reconciler.host.files import Sync, write_whole
from reconciler.stored import from_stored, known_fields

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "record.json"
DEFINITION = "definition.xml"


@dataclass(frozen=True, slots=True)
class Record:
    """The state kept for one VM process. `pending_action`: "start" or "stop" while under way."""

    name: str
    uuid: str
    generation: int = 0
    boot_id: str = ""
    pid: int | None = None
    started: int | None = None
    started_at: str = ""
    pending_action: str = ""
    places: dict[str, Place] = field(default_factory=dict)
    read_with: dict[str, str] = field(default_factory=dict)
    file: str = ""
    taps: tuple[str, ...] = ()  # taps created for this VM, removed after it ends
    attached: tuple[str, ...] = ()  # taps of other programs, detached from their bridge after it
    ports: dict[int, Place] = field(default_factory=dict)  # root ports, by index
    vcpus: int = 1  # the count at start
    foreign: bool = False  # adopted: its command line does not name our directory
    updated: bool = False  # definition.xml was rewritten after a live change
    uncertain: bool = False  # a live change is under way, or its outcome is unknown
    host_devices: tuple[str, ...] = ()  # devices bound to vfio-pci for this VM
    cgroup: str = ""
    oom_kills: int | None = None  # OOM kills in `cgroup` at launch or adoption; None: unknown
    uid: int | None = None  # the user that the process runs as
    executable: str = ""  # what it executes; empty: unknown


def encode(record: Record) -> dict[str, object]:
    """The JSON object on disk. Its keys do not change: older and newer versions read it."""
    return {
        "name": record.name,
        "uuid": record.uuid,
        "generation": record.generation,
        "boot_id": record.boot_id,
        "pid": record.pid,
        "started": record.started,
        "started_at": record.started_at,
        "intent": record.pending_action,
        "places": {device: asdict(place) for device, place in record.places.items()},
        "read_with": record.read_with,
        "file": record.file,
        "taps": record.taps,
        "attached": record.attached,
        "ports": {str(index): asdict(place) for index, place in record.ports.items()},
        "vcpus": record.vcpus,
        "foreign": record.foreign,
        "updated": record.updated,
        "uncertain": record.uncertain,
        "host_devices": record.host_devices,
        "cgroup": record.cgroup,
        "oom_kills": record.oom_kills,
        "uid": record.uid,
        "executable": record.executable,
    }


def decode(value: dict[str, Any]) -> Record:
    """The record in a JSON object; keys of other versions are skipped.

    Raises KeyError, TypeError, ValueError or AttributeError if the object is not a record.
    """
    given = known_fields(Record, value)
    given["pending_action"] = value.get("intent", "")
    given["places"] = {device: from_stored(Place, place)
                       for device, place in value["places"].items()}
    given["ports"] = {int(index): from_stored(Place, place)
                      for index, place in value.get("ports", {}).items()}
    given["taps"] = tuple(value["taps"])
    given["attached"] = tuple(value.get("attached", ()))
    given["host_devices"] = tuple(value.get("host_devices", ()))
    return Record(**given)


def save(home: Path, record: Record) -> None:
    """Replace the record of this VM; raises OSError.

    It describes a process, which does not survive a crash of the host either, and is written just
    before that process starts: hence not synced to disk.
    """
    write_whole(home / RECORD, json.dumps(encode(record)).encode(), Sync.NONE)


def save_definition(home: Path, text: bytes) -> None:
    """Replace the definition of the running VM; raises OSError. Not synced either, see `save`."""
    write_whole(home / DEFINITION, text, Sync.NONE)


def load(home: Path) -> Record | None:
    """The record of this VM; None if there is none, or it cannot be decoded."""
    try:
        return decode(json.loads((home / RECORD).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def boot_id() -> str:
    """Changes with every boot of the host."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
