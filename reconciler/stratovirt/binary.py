"""Which program is StratoVirt here: the configured one, the one on PATH, else the simulator."""

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
VERSION_PATIENCE = 5.0
_BEFORE_SIMULATOR = 5  # words: python, its options, the package


@dataclass(frozen=True, slots=True)
class Binary:
    """A program to start VMs with; `program` is what stands before StratoVirt's arguments."""

    program: tuple[str, ...]
    simulated: bool
    version: str = ""

    @property
    def path(self) -> str:
        """The file that is executed."""
        return self.program[-1] if self.simulated else self.program[0]


def find(settings: Settings) -> Binary:
    """Choose; raises ConfigError when the configured program is not there."""
    wanted = settings.hypervisor.path
    if wanted == "auto":
        found = shutil.which("stratovirt")
        return Binary((found,), simulated=False) if found else simulator()
    if wanted == "simulator":
        return simulator()
    path = shutil.which(str(settings.base / wanted) if "/" in wanted else wanted)
    if path is None:
        message = f"{settings.file}: hypervisor.path: no program '{wanted}'"
        raise ConfigError(message, hint="name StratoVirt's program, or auto, or simulator")
    return Binary((path,), simulated=False)


def simulator() -> Binary:
    """The stand-in. Started without site packages: a VM must start fast and stay small."""
    return Binary((sys.executable, "-I", "-S", str(SIMULATOR)), simulated=True)


def arguments_of(words: Sequence[str], known: Collection[str]) -> list[str] | None:
    """The words after the program; None where that is no StratoVirt, nor one of the `known`."""
    for number, word in enumerate(words[:_BEFORE_SIMULATOR]):
        if word == "reconciler.simulator" or word.endswith("/reconciler/simulator"):
            return list(words[number + 1:])
    if not words or not ("stratovirt" in os.path.basename(words[0]) or words[0] in known):
        return None
    return list(words[1:])


async def version(binary: Binary) -> str:
    """What the program says of itself; empty when it says nothing in time."""
    try:
        child = await asyncio.create_subprocess_exec(
            *binary.program, "-version", stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(VERSION_PATIENCE):
            out, _ = await child.communicate()
    except (OSError, TimeoutError):
        return ""
    return out.decode(errors="replace").strip().partition("\n")[0]
