"""What is kept of each domain across restarts and reboots, and the hold of all domains.

One JSON file per domain in the state directory, named by uuid, replaced atomically. Definitions are
kept as the text of their file and read again by today's code, so that an upgrade alone never makes
a difference (rule 4).

A save must not wait for the disk: VMs are started in between. So it is not synced at once; until
`sync` has done that, the last synced record stays beside the new one, for a crash of the host.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide.attempts import after_reboot
from reconciler.engine.decide.inputs import Hold
from reconciler.engine.decide.state import DomainRecord
from reconciler.engine.records.codec import decode, encode
from reconciler.failpoints import Point, nothing
from reconciler.host.files import Sync, sync_directory, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.failpoints import Reached


class Store:
    """The directory of records, and hold.json beside it."""

    def __init__(self, directory: Path, reached: Reached = nothing) -> None:
        self._reached = reached
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._unsynced: set[str] = set()  # names of files
        self._syncing: set[str] = set()
        self._one_sync = threading.Lock()
        self.problem = ""  # why the last sync failed; empty if it did not
        self._unreadable: dict[Path, str] = {}  # what was found damaged, and why
        self._hold_file = directory.parent / "hold.json"
        self._hold = self._load_hold()

    @property
    def hold(self) -> Hold | None:
        """The hold of all domains, if there is one."""
        return self._hold

    def keep_hold(self, hold: Hold | None) -> None:
        """Hold all domains, or no longer; raises OSError, and then nothing is changed."""
        if hold is None:
            self._reached(Point.RELEASE_ALL)
            self._hold_file.unlink(missing_ok=True)
            sync_directory(self._hold_file.parent)
        else:
            self._reached(Point.HOLD_ALL)
            write_whole(self._hold_file, json.dumps(asdict(hold)).encode())
        self._hold = hold

    def _load_hold(self) -> Hold | None:
        """One that cannot be read counts: a hold that is lost would start VMs."""
        try:
            value = json.loads(self._hold_file.read_bytes())
            return Hold(value["reason"], value["by"], value.get("until"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._unreadable[self._hold_file] = f": {error}"
            return Hold(f"{self._hold_file.name} could not be read: all domains may have been held",
                        "the reconciler")

    def put_aside(self) -> list[str]:
        """Keep damaged files under other names, for a person to look at; a sentence for each.

        Only for the reconciler itself: commands that read here change nothing.
        """
        found = [f"{path} cannot be read{why}; it is kept as {path.name}.unreadable"
                 for path, why in self._unreadable.items()]
        for path in self._unreadable:
            with suppress(OSError):
                path.replace(path.with_name(f"{path.name}.unreadable"))
        self._unreadable = {}
        return found

    def save(self, record: DomainRecord, file_of: str = "") -> None:
        """Replace one; raises OSError.

        `file_of`: the uuid that its file is named by until now, if another. First the contents,
        then the name: a domain that gets another uuid is never kept twice.
        """
        data, path = json.dumps(encode(record)).encode(), self._path(record.uuid)
        before = self._path(file_of or record.uuid)
        self._reached(Point.RECORD)
        if before != path and before.exists():
            write_whole(before, data, Sync.CONTENT)
            self._reached(Point.RENAME_RECORD)
            before.replace(path)
            _kept(before).unlink(missing_ok=True)
        elif self._keeps_synced(path):
            write_whole(path, data, Sync.NONE)
        else:
            write_whole(path, data, Sync.CONTENT)
        self._unsynced.add(path.name)

    def _keeps_synced(self, path: Path) -> bool:
        """Whether what is synced of a record stays, whatever becomes of the file at `path`."""
        if path.name in self._unsynced or path.name in self._syncing:
            return True  # it stays from the save before
        link = path.with_name(f".{path.name}.link")
        try:
            link.unlink(missing_ok=True)
            os.link(path, link)
            link.replace(_kept(path))
        except FileNotFoundError:
            return True  # the first one
        except OSError:  # a file system without links, or a full one
            with suppress(OSError):
                link.unlink(missing_ok=True)
            return False
        return True

    def sync(self) -> None:
        """What was saved so far survives a crash of the host. Blocks; raises OSError."""
        with self._one_sync:
            self._syncing, self._unsynced = self._unsynced, set()
            try:
                self._reached(Point.SYNC)
                for name in tuple(self._syncing):
                    with suppress(FileNotFoundError):  # it was removed meanwhile
                        _sync(self._directory / name)
                sync_directory(self._directory)
            except OSError:
                self._unsynced |= self._syncing
                raise
            finally:
                done, self._syncing = self._syncing, set()
            for name in done - self._unsynced:
                _kept(self._directory / name).unlink(missing_ok=True)

    def load(self, path: Path, boot_id: str) -> DomainRecord | None:
        """One record as of this boot; None if there is none.

        In the place of a damaged one there is an empty one that holds its domain: it may have been
        held, and what was counted and applied is not known.
        """
        record = _read(path) or _read(_kept(path))
        if record is None:
            if not path.exists():
                return None
            self._unreadable[path] = ""
            hold = Hold("its record could not be read; `reconciler release` ends this hold",
                        "the reconciler")
            record = DomainRecord(path.stem, path.stem, hold=hold)
        return record if record.boot_id == boot_id else replace(
            record, attempts=after_reboot(record.attempts), boot_id=boot_id, last_healthy="")

    def all(self, boot_id: str) -> list[DomainRecord]:
        """Every record."""
        found = (self.load(path, boot_id) for path in sorted(self._directory.glob("*.json"))
                 if not path.name.startswith("."))
        return [record for record in found if record is not None]

    def finish(self) -> None:
        """What a reconciler was killed in: changes of uuids, and records that were to be synced."""
        for path in sorted(self._directory.glob("[!.]*.json")):
            with suppress(OSError, ValueError, TypeError, KeyError):
                path.replace(self._path(json.loads(path.read_bytes())["uuid"]))
        for kept in self._directory.glob(".*.json.synced"):
            path = kept.with_name(kept.name.removeprefix(".").removesuffix(".synced"))
            if not path.exists():
                kept.unlink()
            elif _read(path) is None and _read(kept) is not None:
                kept.replace(path)
            else:
                self._unsynced.add(path.name)
        for link in self._directory.glob(".*.json.link"):
            link.unlink()

    def remove(self, uuid: str) -> None:
        """Delete one; raises OSError."""
        self._path(uuid).unlink(missing_ok=True)
        _kept(self._path(uuid)).unlink(missing_ok=True)

    def _path(self, uuid: str) -> Path:
        return self._directory / f"{uuid}.json"


def _kept(path: Path) -> Path:
    """Where the last synced record stays until the new one is."""
    return path.with_name(f".{path.name}.synced")


def _read(path: Path) -> DomainRecord | None:
    try:
        return decode(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
