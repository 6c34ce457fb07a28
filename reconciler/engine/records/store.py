"""What is kept of each domain across restarts and reboots, and the hold of all domains.

One JSON file per domain in the state directory, named by uuid, replaced atomically. Definitions are
kept as the text of their file and read again by today's code, so that an upgrade alone never makes
a difference (rule 4).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide.attempts import after_reboot
from reconciler.engine.decide.inputs import Hold
from reconciler.engine.records.codec import decode, encode
from reconciler.host.files import Sync, sync_directory, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.engine.decide.state import DomainRecord


class Store:
    """The directory of records, and hold.json beside it."""

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
        """Hold all domains, or no longer; raises OSError, and then nothing is changed."""
        if hold is None:
            self._hold_file.unlink(missing_ok=True)
        else:
            write_whole(self._hold_file, json.dumps(asdict(hold)).encode())
        self._hold = hold

    def _load_hold(self) -> Hold | None:
        try:
            return Hold(**json.loads(self._hold_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, record: DomainRecord, file_of: str = "") -> None:
        """Replace one; raises OSError.

        `file_of`: the uuid that its file is named by until now, if another. First the contents,
        then the name: a domain that gets another uuid is never kept twice.
        """
        data, path = json.dumps(encode(record)).encode(), self._path(record.uuid)
        before = self._path(file_of or record.uuid)
        if before != path and before.exists():
            write_whole(before, data, Sync.CONTENT)
            before.replace(path)
        else:
            write_whole(path, data, Sync.CONTENT)

    def sync(self) -> None:
        """What was saved so far survives a crash of the host; raises OSError."""
        sync_directory(self._directory)

    def load(self, path: Path, boot_id: str) -> DomainRecord | None:
        """One record as of this boot; None when it cannot be understood."""
        try:
            record = decode(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return record if record.boot_id == boot_id else replace(
            record, attempts=after_reboot(record.attempts), boot_id=boot_id, last_healthy="")

    def all(self, boot_id: str) -> list[DomainRecord]:
        """Every record that can be read."""
        found = (self.load(path, boot_id) for path in sorted(self._directory.glob("*.json"))
                 if not path.name.startswith("."))
        return [record for record in found if record is not None]

    def correct_names(self) -> None:
        """Finish the changes of uuids in which a reconciler was killed."""
        for path in sorted(self._directory.glob("[!.]*.json")):
            with suppress(OSError, ValueError, TypeError, KeyError):
                path.replace(self._path(json.loads(path.read_bytes())["uuid"]))

    def remove(self, uuid: str) -> None:
        """Delete one; raises OSError."""
        self._path(uuid).unlink(missing_ok=True)

    def _path(self, uuid: str) -> Path:
        return self._directory / f"{uuid}.json"
