"""Syncs the records of domains to disk, soon after they were saved and beside everything else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.engine.records.store import Store
    from reconciler.report.events import Journal

AGAIN = 1.0  # seconds after a sync that failed
AFTER = 0.2  # seconds; many records that are saved in this time are synced together


async def keep_synced(store: Store, saved: asyncio.Event, journal: Journal) -> None:
    """Until cancelled; `saved` is set whenever there is something to sync."""
    while True:
        await saved.wait()
        await asyncio.sleep(AFTER)
        saved.clear()
        try:
            await asyncio.to_thread(store.sync)
        except OSError as error:
            first, store.problem = not store.problem, str(error)
            if first:
                journal.write("state.unwritable", severity="error", reason="StateUnwritable",
                              error=str(error))
            await asyncio.sleep(AGAIN)
            saved.set()
        else:
            store.problem = ""
