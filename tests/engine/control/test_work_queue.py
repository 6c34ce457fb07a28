"""The queue: one pass a key, deduplicated, in order of urgency where something is scarce."""

import asyncio

from reconciler.engine.control.work_queue import Priority, PrioritySemaphore, WorkQueue


def queue(work, faults=None):
    def fault(key, error):
        (faults if faults is not None else []).append((key, error))
        return 3600.0

    return WorkQueue(work, fault)


async def drained(work_queue):
    while not work_queue.idle:
        await asyncio.sleep(0)


async def test_pain_11_a_key_that_comes_during_its_pass_makes_exactly_one_more():
    seen = []
    gate = asyncio.Event()

    async def work(key, urgency):
        seen.append(urgency)
        await gate.wait()

    found = queue(work)
    found.wake("a", Priority.RESYNC)
    await asyncio.sleep(0)
    for _ in range(5):
        found.wake("a", Priority.FILE)
    found.wake("a", Priority.COMMAND)
    gate.set()
    await drained(found)
    assert seen == [Priority.RESYNC, Priority.COMMAND]


async def test_rule_8_a_pass_that_hangs_delays_no_other():
    done = []

    async def work(key, _):
        if key == "slow":
            await asyncio.Event().wait()
        done.append(key)

    found = queue(work)
    for key in ("slow", "b", "c"):
        found.wake(key, Priority.FILE)
    await asyncio.wait_for(_until(lambda: len(done) == 2), 5)
    await found.close(0.0)
    assert sorted(done) == ["b", "c"]


async def _until(true):
    while not true():
        await asyncio.sleep(0)


async def test_rule_8_a_fault_of_one_key_is_told_and_stops_no_other():
    faults, done = [], []

    async def work(key, _):
        if key == "bad":
            raise ValueError(key)
        done.append(key)

    found = queue(work, faults)
    found.wake("bad", Priority.FILE)
    found.wake("good", Priority.FILE)
    await drained(found)
    assert done == ["good"]
    assert [key for key, _ in faults] == ["bad"]
    await found.close(0.0)


async def test_pain_14_a_lane_serves_the_most_urgent_first():
    lane, order = PrioritySemaphore(1), []
    await lane.enter(Priority.FILE)

    async def ask(urgency):
        await lane.enter(urgency)
        order.append(urgency)
        lane.leave()

    tasks = [asyncio.create_task(ask(u)) for u in (
        Priority.RESYNC, Priority.FILE, Priority.COMMAND, Priority.EXIT)]
    await asyncio.sleep(0)
    lane.leave()
    await asyncio.gather(*tasks)
    assert order == [Priority.COMMAND, Priority.EXIT, Priority.FILE, Priority.RESYNC]


async def test_a_cancelled_wait_for_a_place_takes_none():
    lane = PrioritySemaphore(1)
    await lane.enter(Priority.FILE)
    waiting = asyncio.create_task(lane.enter(Priority.FILE))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    lane.leave()
    await asyncio.wait_for(lane.enter(Priority.RESYNC), 5)
