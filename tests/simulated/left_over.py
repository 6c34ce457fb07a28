"""What a reconciler must not leave behind: processes, directories, locks, temporary files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reconciler.host import taps
from reconciler.stratovirt import process

if TYPE_CHECKING:
    from tests.simulated.site import Site

# The names of files that are written, to be renamed into place.
_TEMPORARY = (".new", ".link", ".synced")


def left_over(site: Site, domains: set[str]) -> list[str]:
    """What is there that belongs to none of these domains, or should be gone by now."""
    found = [f"temporary file {path}" for root in (site.settings.state, site.settings.runtime)
             for path in root.rglob("*") if path.name.endswith(_TEMPORARY)]
    homes = {home.name: home for home in (site.settings.runtime / "vms").iterdir()}
    found += [f"directory of {name}" for name in homes
              if name not in domains and not site.processes(name)]
    vms = {pid for name in homes for pid in site.processes(name)}
    found += [f"lock of {name}" for name, home in homes.items()
              if process.locked(home) and not site.processes(name)]
    found += [f"tap {tap}" for tap, name in taps.owned_by(f"{site.settings.runtime}/vms/").items()
              if not site.processes(name)]
    mine = str(site.path)
    known = {*vms, *([site.reconciler.pid] if site.reconciler is not None else [])}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in known:
            line = process.command_line(int(entry))
            if any(mine in word for word in line) and process.start_time(int(entry)) is not None:
                found.append(f"process {entry}: {line[:4]}")
    return found
