"""What is kept of a domain across restarts and reboots: definition, generation, counters, places.

One JSON file per domain in the state directory, named by uuid, replaced atomically. Definitions are
kept as the text of their file and read again by today's code, so that an upgrade alone never makes
a difference (rule 4).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.place import Place
from reconciler.engine.decide.attempts import after_reboot
from reconciler.engine.decide.inputs import Attempts, Exit, ExitKind, Hold, RetryState
from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

EXPANDED = "expanded"  # in `read_with`: what a text was made with, besides its file


def as_text(data: bytes) -> str:
    """A file's bytes in a string, whatever encoding it declares; `data` gives them back."""
    return data.decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """A definition as text, and what it must be read with to mean the same again."""

    text: str
    file: str = ""
    revision: str = ""
    read_with: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        return self.text.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """Everything kept of one domain."""

    uuid: str
    name: str
    generation: int = 0
    definition: StoredDefinition | None = None  # the last one that was accepted
    good: StoredDefinition | None = None  # the last one that came up
    ledger: Attempts = Attempts()
    boot_id: str = ""  # the boot that the ledger's times belong to
    places: dict[str, Place] = field(default_factory=dict)
    accepted_at: float = 0.0  # time of day of this generation: a hold's duration counts from it
    prune_held: bool = False  # its file went together with many others
    hold: Hold | None = None  # from `reconciler hold`; the file's own is in its definition
    well: str = ""  # the process (pid, start time) whose probe once found what it looks for
    history: tuple[dict[str, Any], ...] = ()


class Store:
    """The directory of memories."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._hold_file = directory.parent / "hold.json"
        self._hold = self._load_hold()

    @property
    def hold(self) -> Hold | None:
        """The hold of all domains, if there is one."""
        return self._hold

    def keep_hold(self, hold: Hold | None) -> None:
        """Leave all domains alone, or no longer; also across our restarts."""
        self._hold = hold
        if hold is None:
            self._hold_file.unlink(missing_ok=True)
        else:
            write_whole(self._hold_file, json.dumps(asdict(hold)).encode())

    def _load_hold(self) -> Hold | None:
        try:
            return Hold(**json.loads(self._hold_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, memory: DomainRecord) -> None:
        """Replace one."""
        write_whole(self._path(memory.uuid), json.dumps(asdict(memory)).encode())

    def load(self, path: Path, boot_id: str) -> DomainRecord | None:
        """One memory as of this boot; None when it cannot be understood."""
        try:
            memory = _memory(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return memory if memory.boot_id == boot_id else replace(
            memory, ledger=after_reboot(memory.ledger), boot_id=boot_id, well="")

    def all(self, boot_id: str) -> list[DomainRecord]:
        """Every memory that can be read."""
        found = (self.load(path, boot_id) for path in sorted(self._directory.glob("*.json"))
                 if not path.name.startswith("."))
        return [memory for memory in found if memory is not None]

    def remove(self, uuid: str) -> None:
        """Forget one."""
        self._path(uuid).unlink(missing_ok=True)

    def _path(self, uuid: str) -> Path:
        return self._directory / f"{uuid}.json"


def _memory(value: dict[str, Any]) -> DomainRecord:
    return DomainRecord(
        uuid=value["uuid"], name=value["name"], generation=value["generation"],
        definition=_text(value["definition"]), good=_text(value["good"]),
        ledger=_ledger(value["ledger"]), boot_id=value["boot_id"],
        places={key: Place(**place) for key, place in value["places"].items()},
        accepted_at=value.get("accepted_at", 0.0), prune_held=value.get("prune_held", False),
        hold=Hold(**value["hold"]) if value["hold"] else None, well=value.get("well", ""),
        history=tuple(value.get("history", ())))


def _text(value: dict[str, Any] | None) -> StoredDefinition | None:
    return StoredDefinition(**value) if value else None


def _ledger(value: dict[str, Any]) -> Attempts:
    end = value["last_exit"]
    last = Exit(**{**end, "kind": ExitKind(end["kind"])}) if end else None
    return Attempts(**{**value, "failures": _limiter(value["failures"]),
                     "crashes": _limiter(value["crashes"]), "drift": _limiter(value["drift"]),
                     "last_exit": last, "exits": dict(value.get("exits", {}))})


def _limiter(value: dict[str, Any]) -> RetryState:
    return RetryState(**{**value, "times": tuple(value["times"])})
