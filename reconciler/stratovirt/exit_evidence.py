"""Evidence of how a VM ended: gathered while it lives, an ExitEvidence once it has ended.

They are StratoVirt's word (QMP events), the kernel's (the exit status; how often it killed for want
of memory) and what is left in the VM's directory. stratovirt/observation.py tells ends apart by
them.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.host.cgroup import group_of
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import QMP_SOCKET
from reconciler.stratovirt.observation import ExitEvidence

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.cgroup import OomKills
    from reconciler.stratovirt.record import Record


class EvidenceCollector:
    """Those of the VM in the directory `home`."""

    def __init__(self, home: Path, oom_kills: OomKills) -> None:
        self._home = home
        self._oom_kills = oom_kills
        self._shutdown: str | None = None
        self._panicked = False

    def begin(self, vm: process.Process, kept: Record | None) -> Record | None:
        """This process is followed from now on; its record, with what its end is compared to."""
        self._shutdown, self._panicked = None, False
        group = group_of(vm.pid)
        return kept and replace(kept, pid=vm.pid, started=vm.started, cgroup=group,
                                oom_kills=self._oom_kills.count(group))

    def hear(self, event: str, data: dict[str, Any]) -> None:
        """A QMP event."""
        if event == "SHUTDOWN":
            self._shutdown = str(data.get("reason") or ("guest" if data.get("guest") else ""))
        elif event in ("GUEST_PANICKED", "RESET"):  # after a reset it is a new guest
            self._panicked = event == "GUEST_PANICKED"

    def evidence(self, how: process.Ended, kept: Record | None) -> ExitEvidence:
        """All of them; `how` says neither code nor signal where only another parent knows."""
        socket_left = (self._home / QMP_SOCKET).exists()
        killed = how.signal == signal.SIGKILL or (
            how.signal is None and how.code is None and socket_left)
        return ExitEvidence(
            how.code, how.signal, self._shutdown, socket_left,
            process.exit_reason(self._home) if how.code else "",
            out_of_memory=killed and kept is not None and self._oom_kills.claim(
                kept.cgroup, kept.oom_kills),
            panicked=self._panicked, logged_signal=process.logged_signal(self._home))
