"""Finds out which optional devices a StratoVirt build has, by trial starts.

Its QMP answers are a fixed list and do not tell. A trial start names the device and no kernel, so
that no VM ever runs: a build without the feature prints "Unsupported device", any other fails later
for want of the kernel. Results are cached by the identity of the program's files.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.host.files import Sync, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TRIAL_PATIENCE = 10.0  # seconds; a trial takes 0.1
_PLACE = "bus=pcie.0,addr=0x3"
# Arguments added to a minimal machine, by driver. Any other error in them is reported later.
_TRIALS = {
    "virtio-rng-pci": ("-object", "rng-random,id=source,filename=/dev/urandom",
                       "-device", f"virtio-rng-pci,rng=source,id=trial,{_PLACE}"),
    "vhost-vsock-pci": ("-device", f"vhost-vsock-pci,id=trial,guest-cid=3,{_PLACE}"),
    "vfio-pci": ("-device", f"vfio-pci,id=trial,host=ffff:ff:1f.7,{_PLACE}"),
    "virtio-gpu-pci": ("-device", f"virtio-gpu-pci,id=trial,{_PLACE}"),
    "virtio-scsi-pci": ("-device", f"virtio-scsi-pci,id=trial,{_PLACE}"),
    "vhost-net": ("-netdev", "tap,id=net,ifname=svtrial,vhost=on",
                  "-device", f"virtio-net-pci,netdev=net,id=trial,mac=52:54:00:00:00:01,{_PLACE}"),
    "vnc": ("-vnc", "127.0.0.1:59635"),  # the last display number: unlikely to be in use
}
_ABSENT = ("Unsupported device", "Unsupported Vhost_net", "wasn't expected")
_CARGO = {"virtio-rng-pci": "virtio_rng", "vhost-vsock-pci": "vhost_vsock", "vfio-pci": "vfio",
          "virtio-gpu-pci": "virtio_gpu", "virtio-scsi-pci": "virtio_scsi",
          "vhost-net": "vhost_net", "vnc": "vnc"}


class Capabilities:
    """Results of trial starts, cached in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, dict[str, bool]] = {}
        self._one_trial: dict[str, threading.Lock] = {}  # at a time, by program
        with suppress(OSError, ValueError):
            kept = json.loads(file.read_bytes())
            if isinstance(kept, dict):
                self._known = kept

    def check(self, program: Sequence[str], machine: str, features: Iterable[str],
              identity: str | None = None) -> None:
        """Raise HostError(Unsupported) with every feature that `program` lacks (blocking).

        `identity`: its program_identity(), where that was looked at already.
        """
        wanted = sorted(set(features))
        if not wanted:
            return
        identity = program_identity(program) if identity is None else identity
        with self._one_trial.setdefault(identity, threading.Lock()):
            known = self._try(program, machine, wanted, identity)
        missing = [name for name in wanted if not known[name]]
        if missing:
            cargo = " ".join(_CARGO[name] for name in missing)
            message = f"this StratoVirt was built without {', '.join(missing)}"
            raise HostError(message, reason="Unsupported",
                            hint=f"build it with the features {cargo}, or remove these devices "
                                 "from the file")

    def _try(self, program: Sequence[str], machine: str, wanted: Sequence[str],
             identity: str) -> dict[str, bool]:
        known = self._known.get(identity, {})
        fresh = {name: self._trial(program, machine, name) for name in wanted if name not in known}
        if fresh:
            self._known[identity] = known = {**known, **fresh}
            with suppress(OSError):  # the trial is repeated after a restart
                write_whole(self._file, json.dumps(self._known).encode(), Sync.NONE)
        return known

    def _trial(self, program: Sequence[str], machine: str, name: str) -> bool:
        """Whether the program has this device; True if the trial gave no result."""
        with tempfile.TemporaryDirectory(prefix="trial") as place:
            (Path(place) / "initrd").touch()
            argv = [*program, "-machine", machine, "-m", "128m", "-S",
                     "-initrd", f"{place}/initrd", "-qmp", f"unix:{place}/qmp,server,nowait",
                     *_TRIALS[name]]
            try:
                result = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL,  # noqa: S603  # a list, never a shell
                                        capture_output=True, timeout=TRIAL_PATIENCE, cwd="/",
                                        start_new_session=True)
            except (OSError, subprocess.TimeoutExpired):
                return True
        text = (result.stdout + result.stderr).decode(errors="replace")
        return not any(message in text for message in _ABSENT)


def program_identity(program: Sequence[str]) -> str:
    """A value that changes when any file of the program is replaced or modified."""
    found = []
    for path in program:
        with suppress(OSError):
            status = os.stat(path)
            found.append(f"{path}:{status.st_ino}:{status.st_mtime_ns}:{status.st_size}")
    return " ".join([*found, *(option for option in program if option.startswith("-"))])
