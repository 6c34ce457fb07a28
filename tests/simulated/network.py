"""Sites whose VMs have taps, for tests in a network of their own (`apart` in tests/host)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.stratovirt.binary import SIMULATOR
from tests import processes
from tests.simulated.site import LIMIT

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

CARD = ("<interface type='bridge'><mac address='52:54:00:00:00:{number:02x}'/>"
        "<source bridge='br0'/><target dev='tap-{name}'/></interface>")


def with_taps(path: Path) -> str:
    """A program that is the simulator, but is given the taps of the host."""
    program = path / "stratovirt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {SIMULATOR} "$@"\n')
    program.chmod(0o700)
    return str(program)


class InThisNetwork:
    """For a Site: its processes are started from this one, and so in its namespaces."""

    def start(self) -> None:
        self.reconciler = processes.start(self.words("run"), self.env, self.path / "log",
                                          processes.HERE)

    def verb(self, *words: str, input: str = "") -> subprocess.CompletedProcess:  # noqa: A002
        return processes.run(self.words(*words), self.env, LIMIT, input, processes.HERE)
