"""The queue and its slots: priorities, timers, ends, and slots that are granted too late."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.control.work_queue import PrioritySemaphore, WorkQueue
from reconciler.engine.decide.events import Priority

pytestmark = pytest.mark.simulated_time


class Passes:
    """A queue, and the passes that it made: key, priority, time."""

    def __init__(self, delay=None, lasts=0.0):
        self.delay, self.lasts, self.faults = delay, lasts, []
        self.made, self.tasks = [], []
        self.queue = WorkQueue(self.work, self.fault, self.spawn)

    def spawn(self, work, name):
        self.tasks.append(name)
        return asyncio.create_task(work, name=name)

    def fault(self, key, error):
        self.faults.append((key, str(error)))
        return 30.0

    async def work(self, key, priority):
        self.made.append((key, priority, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.lasts)
        if key == "bad":
            raise ValueError("no luck")
        return self.delay


@pytest.mark.parametrize(("wakes", "again"), [
    ([Priority.RESYNC, Priority.COMMAND], Priority.COMMAND),
    ([Priority.COMMAND, Priority.RESYNC], Priority.COMMAND),
    ([Priority.DRIFT, Priority.RESYNC, Priority.FILE], Priority.FILE)])
async def test_of_several_wakes_during_a_pass_the_most_urgent_counts(wakes, again):
    found = Passes(lasts=1.0)
    found.queue.wake("a", Priority.EXIT)
    await asyncio.sleep(0.5)
    for priority in wakes:
        found.queue.wake("a", priority)
    await found.queue.rest()
    assert found.made == [("a", Priority.EXIT, 0.0), ("a", again, 1.0)]
    assert found.tasks == ["pass of a"]


async def test_a_pass_says_when_the_next_one_is_and_a_wake_before_replaces_it():
    found = Passes(delay=10.0)
    found.queue.wake("a", Priority.FILE)
    await asyncio.sleep(5)
    found.queue.wake("a", Priority.DRIFT)
    await asyncio.sleep(12)
    assert found.made == [("a", Priority.FILE, 0.0), ("a", Priority.DRIFT, 5.0),
                          ("a", Priority.RESYNC, 15.0)]
    await found.queue.close(0.0)


async def test_a_timer_is_replaced_by_the_next_one_and_never_in_the_past():
    found = Passes()
    found.queue.wake_in("a", 10.0)
    found.queue.wake_in("a", 3.0, Priority.EXIT)
    await asyncio.sleep(20)
    assert found.made == [("a", Priority.EXIT, 3.0)]
    found.queue.wake_in("a", -5.0)
    await asyncio.sleep(0.001)
    assert found.made[1:] == [("a", Priority.RESYNC, 20.0)]


async def test_a_domain_that_is_forgotten_is_looked_at_no_more():
    found = Passes(lasts=1.0)
    found.queue.wake_in("a", 1.0)
    found.queue.forget("a")
    found.queue.wake("b", Priority.FILE)
    await asyncio.sleep(0.5)
    found.queue.wake("b", Priority.FILE)
    found.queue.forget("b")
    found.queue.forget("unknown")
    await asyncio.sleep(10)
    assert found.made == [("b", Priority.FILE, 0.0)]


async def test_an_error_of_a_pass_is_reported_and_the_domain_is_looked_at_later():
    found = Passes()
    found.queue.wake("bad", Priority.FILE)
    found.queue.wake("good", Priority.FILE)
    await asyncio.sleep(31)
    assert found.faults == [("bad", "no luck")] * 2
    assert [key for key, _, _ in found.made] == ["bad", "good", "bad"]
    await found.queue.close(0.0)


async def test_after_an_error_a_wake_that_came_meanwhile_is_served():
    found = Passes(lasts=1.0)
    found.queue.wake("bad", Priority.FILE)
    await asyncio.sleep(0.5)
    found.queue.wake("bad", Priority.COMMAND)
    await asyncio.sleep(0.6)
    assert found.made[1] == ("bad", Priority.COMMAND, 1.0)
    await found.queue.close(0.0)


async def test_the_queue_is_idle_when_no_pass_runs():
    found = Passes(lasts=1.0)
    assert found.queue.idle
    found.queue.wake("a", Priority.FILE)
    assert not found.queue.idle
    await found.queue.rest()
    assert found.queue.idle


async def test_a_closed_queue_ends_its_passes_and_accepts_no_more():
    found = Passes(delay=5.0, lasts=1.0)
    found.queue.wake("quick", Priority.FILE)
    await asyncio.sleep(0.5)
    found.queue.wake("quick", Priority.FILE)
    found.queue.wake_in("later", 1.0)
    await found.queue.close(2.0)
    assert asyncio.get_running_loop().time() == 1.0  # it was waited for, and no longer
    found.queue.wake("quick", Priority.COMMAND)
    found.queue.wake_in("quick", 0.0)
    await asyncio.sleep(20)
    assert found.made == [("quick", Priority.FILE, 0.0)]


async def test_a_pass_that_does_not_end_in_time_is_cancelled():
    found = Passes(lasts=100.0)
    found.queue.wake("slow", Priority.FILE)
    await asyncio.sleep(0)
    await found.queue.close(2.0)
    assert asyncio.get_running_loop().time() == 2.0
    assert (found.faults, found.queue.idle) == ([], True)
    await Passes().queue.close(9.0)
    assert asyncio.get_running_loop().time() == 2.0


# Slots


async def test_as_many_as_configured_have_a_slot():
    slots, inside = PrioritySemaphore(2), []

    async def enter(name):
        await slots.enter(Priority.FILE)
        inside.append(name)

    tasks = [asyncio.create_task(enter(name)) for name in "abcd"]
    await asyncio.sleep(1)
    assert inside == ["a", "b"]
    slots.leave()
    await asyncio.sleep(1)
    assert inside == ["a", "b", "c"]  # in the order of their requests
    slots.leave()
    await asyncio.gather(*tasks)


async def test_a_request_does_not_overtake_one_that_waits():
    slots, order = PrioritySemaphore(1), []
    await slots.enter(Priority.FILE)

    async def enter(priority):
        await slots.enter(priority)
        order.append(priority)
        slots.leave()

    waits = asyncio.create_task(enter(Priority.RESYNC))
    await asyncio.sleep(0)
    slots.leave()
    late = asyncio.create_task(enter(Priority.FILE))
    await asyncio.gather(waits, late)
    assert order == [Priority.RESYNC, Priority.FILE]


async def test_a_slot_that_is_granted_in_the_moment_of_a_cancellation_is_given_back():
    slots = PrioritySemaphore(1)
    await slots.enter(Priority.FILE)
    waiting = asyncio.create_task(slots.enter(Priority.FILE))
    await asyncio.sleep(0)
    slots.leave()  # granted, and not noticed yet
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    async with asyncio.timeout(1):
        await slots.enter(Priority.FILE)


async def test_a_cancelled_request_is_passed_over():
    slots, order = PrioritySemaphore(1), []
    await slots.enter(Priority.FILE)

    async def enter(name):
        await slots.enter(Priority.FILE)
        order.append(name)

    one, two = (asyncio.create_task(enter(name)) for name in "ab")
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    slots.leave()
    await two
    assert order == ["b"]
    slots.leave()
    async with asyncio.timeout(1):
        await slots.enter(Priority.FILE)
