"""What a reconciler leaves behind when it is killed, removed at the next start.

Files that were being written, and directories of VMs that no domain has any more.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from reconciler.host.files import remove_unfinished
from reconciler.stratovirt import process

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def remove_leftovers(state: Path, vms: Path, homes: Collection[str]) -> None:
    """Below the state directory, and of VMs other than these (blocking)."""
    remove_unfinished([state, *(state / name for name in ("domains", "removed", "nvram")),
                       *(state / "history").glob("*"), *vms.iterdir()])
    unlocked = process.find_unlocked(vms)
    for home in vms.iterdir():
        if home.name not in homes and home.name not in unlocked and not process.locked(home):
            shutil.rmtree(home, ignore_errors=True)
