"""Collects the evidence of how a VM process ended, for observation.classify.

It comes from StratoVirt (QMP events, log lines), from the kernel (exit status, OOM kills of the
control group) and from the files left in the VM's directory.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.host.cgroup import group_of
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import QMP_SOCKET
from reconciler.stratovirt.observation import ExitEvidence
from reconciler.stratovirt.recognition import executable_of, user_of

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.cgroup import OomKills
    from reconciler.stratovirt.record import Record


class EvidenceCollector:
    """Collects it for the VM in the directory `home`, one process after another."""

    def __init__(self, home: Path, oom_kills: OomKills) -> None:
        self._home = home
        self._oom_kills = oom_kills
        self._shutdown: str | None = None
        self._panicked = False

    def begin(self, vm: process.Process, kept: Record | None) -> Record | None:
        """Start with a new process; returns its record with the current number of OOM kills."""
        self._shutdown, self._panicked = None, False
        group = group_of(vm.pid)
        return kept and replace(kept, pid=vm.pid, started=vm.started, cgroup=group,
                                oom_kills=self._oom_kills.count(group), uid=user_of(vm.pid),
                                executable=executable_of(vm.pid) or kept.executable)

    def note_event(self, event: str, data: dict[str, Any]) -> None:
        """A QMP event arrived."""
        if event == "SHUTDOWN":
            self._shutdown = str(data.get("reason") or ("guest" if data.get("guest") else ""))
        elif event in ("GUEST_PANICKED", "RESET"):  # a reset boots the guest again
            self._panicked = event == "GUEST_PANICKED"

    def collect(self, how: process.Ended, kept: Record | None) -> ExitEvidence:
        """The evidence; `how` has neither code nor signal if the process was not our child."""
        socket_left = (self._home / QMP_SOCKET).exists()
        killed = how.signal == signal.SIGKILL or (
            how.signal is None and how.code is None and socket_left)
        return ExitEvidence(
            how.code, how.signal, self._shutdown, socket_left,
            process.exit_reason(self._home) if how.code else "",
            out_of_memory=killed and kept is not None and self._oom_kills.explains_exit(
                kept.cgroup, kept.oom_kills),
            panicked=self._panicked, logged_signal=process.logged_signal(self._home))
