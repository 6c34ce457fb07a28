"""Selects the StratoVirt program: the configured one, the one on PATH, else the simulator."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.settings import Settings

SIMULATOR = Path(__file__).parents[1] / "simulator"
VERSION_PATIENCE = 5.0  # seconds
_BEFORE_SIMULATOR = 5  # arguments: python, its options, the package


@dataclass(frozen=True, slots=True)
class Binary:
    """A program that runs VMs; `program`: the arguments before those of StratoVirt."""

    program: tuple[str, ...]
    simulated: bool
    version: str = ""

    @property
    def path(self) -> str:
        """The file that is executed, or the simulator's directory."""
        return self.program[-1] if self.simulated else self.program[0]


def find(settings: Settings) -> Binary:
    """Select the program; raises ConfigError if the configured one does not exist."""
    wanted = settings.hypervisor.path
    if wanted == "auto":
        found = shutil.which("stratovirt")
        return Binary((found,), simulated=False) if found else simulator()
    if wanted == "simulator":
        return simulator()
    path = shutil.which(str(settings.base / wanted) if "/" in wanted else wanted)
    if path is None:
        message = f"{settings.file}: hypervisor.path: program not found: '{wanted}'"
        raise ConfigError(message, hint="accepted: path or name of a program, auto, simulator")
    return Binary((path,), simulated=False)


def simulator() -> Binary:
    """The simulator, run without site-packages, so that it starts fast and stays small."""
    return Binary((sys.executable, "-I", "-S", str(SIMULATOR)), simulated=True)


def is_simulator(argv: Sequence[str]) -> bool:
    """Whether a command line runs the simulator."""
    return _after_simulator(argv) is not None


def _after_simulator(argv: Sequence[str]) -> list[str] | None:
    for number, argument in enumerate(argv[:_BEFORE_SIMULATOR]):
        if argument == "reconciler.simulator" or argument.endswith("/reconciler/simulator"):
            return list(argv[number + 1:])
    return None


def arguments_of(argv: Sequence[str], known: Collection[str]) -> list[str] | None:
    """The arguments after the program; None if it is neither StratoVirt nor one of `known`."""
    simulated = _after_simulator(argv)
    if simulated is not None:
        return simulated
    if not argv or not ("stratovirt" in os.path.basename(argv[0]) or argv[0] in known):
        return None
    return list(argv[1:])


async def version(binary: Binary) -> str:
    """The first line of the program's -version; empty if it prints none in time."""
    try:
        child = await asyncio.create_subprocess_exec(
            *binary.program, "-version", stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(VERSION_PATIENCE):
            out, _ = await child.communicate()
    except (OSError, TimeoutError):
        return ""
    return out.decode(errors="replace").strip().partition("\n")[0]
