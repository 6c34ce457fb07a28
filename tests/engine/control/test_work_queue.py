"""The work queue: one pass of a key at a time, deduplicated; slots are handed out by priority."""

import asyncio

from reconciler.engine.control.work_queue import PrioritySemaphore, WorkQueue
from reconciler.engine.decide.events import Priority
from reconciler.engine.tasks import Tasks


def queue(work, faults=None):
    def fault(key, error):
        (faults if faults is not None else []).append((key, error))
        return 3600.0

    return WorkQueue(work, fault, Tasks(lambda _name, _error: None).spawn)


async def test_pain_11_a_key_that_is_woken_during_its_pass_gets_exactly_one_more():
    seen, begun, gate = [], asyncio.Event(), asyncio.Event()

    async def work(key, priority):
        seen.append(priority)
        begun.set()
        await gate.wait()

    found = queue(work)
    found.wake("a", Priority.RESYNC)
    await begun.wait()
    for _ in range(5):
        found.wake("a", Priority.FILE)
    found.wake("a", Priority.COMMAND)
    gate.set()
    await found.rest()
    assert seen == [Priority.RESYNC, Priority.COMMAND]


async def test_rule_8_a_pass_that_hangs_delays_no_other():
    done = asyncio.Queue()

    async def work(key, _):
        if key == "slow":
            await asyncio.Event().wait()
        done.put_nowait(key)

    found = queue(work)
    for key in ("slow", "b", "c"):
        found.wake(key, Priority.FILE)
    async with asyncio.timeout(5):
        assert {await done.get(), await done.get()} == {"b", "c"}
    assert not found.idle
    await found.close(0.0)
    assert (found.idle, done.empty()) == (True, True)


async def test_rule_8_an_error_of_one_key_is_reported_and_stops_no_other():
    faults, done = [], []

    async def work(key, _):
        if key == "bad":
            raise ValueError(key)
        done.append(key)

    found = queue(work, faults)
    found.wake("bad", Priority.FILE)
    found.wake("good", Priority.FILE)
    await found.rest()
    assert done == ["good"]
    assert [key for key, _ in faults] == ["bad"]
    await found.close(0.0)


async def test_pain_14_slots_go_to_the_highest_priority_first():
    slots, order = PrioritySemaphore(1), []
    await slots.enter(Priority.FILE)

    async def ask(priority):
        await slots.enter(priority)
        order.append(priority)
        slots.leave()

    tasks = [asyncio.create_task(ask(p)) for p in (
        Priority.RESYNC, Priority.FILE, Priority.COMMAND, Priority.EXIT)]
    await asyncio.sleep(0)
    slots.leave()
    await asyncio.gather(*tasks)
    assert order == [Priority.COMMAND, Priority.EXIT, Priority.FILE, Priority.RESYNC]


async def test_a_cancelled_wait_for_a_slot_takes_none():
    slots = PrioritySemaphore(1)
    await slots.enter(Priority.FILE)
    waiting = asyncio.create_task(slots.enter(Priority.FILE))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    slots.leave()
    await asyncio.wait_for(slots.enter(Priority.RESYNC), 5)
