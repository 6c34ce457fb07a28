"""What a reconciler leaves behind when it is killed, removed at the next start.

Files that were being written, and directories of VMs that no domain has any more.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from reconciler.host.files import remove_unfinished
from reconciler.stratovirt import process
from reconciler.stratovirt.recognition import running_below

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from reconciler.stratovirt.recognition import Programs


def remove_leftovers(state: Path, vms: Path, homes: Collection[str], programs: Programs) -> None:
    """Below the state directory, and of VMs other than these (blocking)."""
    remove_unfinished([state, *(state / name for name in ("domains", "removed", "nvram")),
                       *(state / "history").glob("*"), *vms.iterdir()])
    running = {vm.home for vm in running_below(vms, programs)}
    for home in vms.iterdir():
        if home.name not in homes and home not in running and not process.locked(home):
            shutil.rmtree(home, ignore_errors=True)
