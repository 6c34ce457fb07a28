"""One reconciler owns its directories: locks that the kernel keeps say so."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import AlreadyRunning, HostError
from reconciler.host.files import Sync, write_whole
from reconciler.stratovirt import process
from reconciler.stratovirt.recognition import running_below

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.stratovirt.recognition import Programs


_SHOWN = 5  # names of VMs in a message


def take_locks(settings: Settings) -> list[int]:
    """The handles of the locks, held until they are closed; raises AlreadyRunning, HostError."""
    for directory in (settings.runtime, settings.state):
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HostError(f"{directory} cannot be created: {error.strerror}",
                            hint="set paths.runtime and paths.state in config.yaml to directories "
                                 "that you may write") from error
    _check_owner(settings)
    handles: list[int] = []
    for directory in (settings.runtime, settings.state):
        handle = os.open(directory / "reconciler.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                         0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 20).decode(errors="replace").strip()
            raise AlreadyRunning(
                f"another reconciler (process {owner or 'unknown'}) uses {directory}",
                hint="`reconciler status` shows what it does; two reconcilers need a paths.runtime "
                     "and a paths.state each") from None
        with suppress(OSError):  # a full disk: the pid is only shown, the lock is the kernel's
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        handles.append(handle)
    return handles


def check_runtime(settings: Settings, boot_id: str, programs: Programs) -> None:
    """The VMs of this state directory run in one runtime directory; raises HostError.

    With another one, they would not be found, and each would be started a second time (rule 1).
    """
    kept, here = settings.state / "runtime.json", os.path.realpath(settings.runtime)
    try:
        value = json.loads(kept.read_bytes())
        before, boot = str(value["runtime"]), str(value["bootId"])
    except (OSError, ValueError, TypeError, KeyError):
        before, boot = here, boot_id
    if before != here and boot == boot_id:
        vms = Path(before) / "vms"
        homes = [home.name for home in vms.iterdir() if process.locked(home)
                 ] if vms.is_dir() else []
        running = sorted({*homes, *(vm.home.name for vm in running_below(vms, programs))})
        if running:
            some = ", ".join((*running[:_SHOWN], *(["…"] if running[_SHOWN:] else [])))
            raise HostError(
                f"the VMs of {settings.state} run in {before} ({some}), and this is {here}",
                reason="Conflict", hint=f"set paths.runtime to {before}, or XDG_RUNTIME_DIR to "
                                        "what it was; or stop these VMs first, with the "
                                        "reconciler of there")
    with suppress(OSError):  # a full disk: the next start writes it
        write_whole(kept, json.dumps({"runtime": here, "bootId": boot_id}).encode(), Sync.CONTENT)


def _check_owner(settings: Settings) -> None:
    """A directory that we chose may have been made by another user before (as below /tmp)."""
    if settings.paths.runtime != "auto":
        return
    for place in (settings.runtime, settings.runtime.parent):
        if place.stat().st_uid not in (0, os.geteuid()):
            raise HostError(f"{place} belongs to another user",
                            hint="set XDG_RUNTIME_DIR, or paths.runtime in config.yaml")
