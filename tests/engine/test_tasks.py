"""The end of an essential task ends the daemon, whenever it comes."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.tasks import Tasks


async def fails() -> None:
    raise OSError("no inotify watch is left")


@pytest.mark.parametrize("early", [True, False])
async def test_an_essential_task_that_fails_is_never_lost(early):
    tasks = Tasks(lambda name, error: None)
    tasks.spawn_essential(fails(), "inotify")
    if early:  # before anything waits: the daemon still begins
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="no inotify watch"):
        async with asyncio.timeout(5):
            await tasks.wait(asyncio.Event())
    await tasks.close()


async def test_any_other_task_that_fails_is_reported_and_ends_nothing():
    reported = []
    tasks, over = Tasks(lambda name, error: reported.append((name, str(error)))), asyncio.Event()
    task = tasks.spawn(fails(), "end of a")
    await asyncio.wait({task})
    over.set()
    async with asyncio.timeout(5):
        await tasks.wait(over)
    assert reported == [("end of a", "no inotify watch is left")]
    await tasks.close()
