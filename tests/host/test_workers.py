"""Calls that may never return: each owner waits for its own alone, and in one thread."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from reconciler.errors import HostError
from reconciler.host.helper import Helper
from reconciler.host.workers import Call, Unanswered, Worker
from tests.hung import hung

LIMIT = 10.0
PATIENCE = 0.2


class Owner:
    """A worker, and a call that returns when the test lets it."""

    def __init__(self, helper: Helper | None = None) -> None:
        self.go_on = threading.Event()
        self.answered = asyncio.Event()
        self.helper = helper or Helper()
        self.worker = Worker(self.helper, self.answered.set, PATIENCE)

    def hang(self) -> str:
        assert self.go_on.wait(LIMIT)
        return "late"


def calls():
    return [t for t in threading.enumerate() if t.name == "call"]


async def test_rule_8_a_call_that_hangs_takes_one_thread_however_often_it_is_asked_for():
    one, two = Owner(), Owner()
    late = []
    for _ in range(20):
        with pytest.raises(Unanswered, match="does not answer since"):
            await one.worker.run([Call(one.hang)], late.extend)
    assert len(calls()) == 1
    assert await two.worker.call(max, 1, 2) == 2  # another owner
    assert not one.answered.is_set()
    one.go_on.set()
    async with asyncio.timeout(LIMIT):
        await one.answered.wait()
    assert late == ["late"]  # what it made can be given back
    assert await one.worker.call(max, 1, 2) == 2


async def test_rule_8_calls_of_one_owner_are_made_in_turn():
    owner = Owner()
    first = asyncio.create_task(owner.worker.run([Call(owner.hang)]))
    await asyncio.sleep(0)
    second = asyncio.create_task(owner.worker.run([Call(max, (1, 2))]))
    await asyncio.sleep(0)
    assert len(calls()) == 1
    owner.go_on.set()
    assert await first == ["late"]
    assert await second == [2]


async def test_what_a_call_raises_is_raised_and_ends_the_calls_after_it():
    owner, made = Owner(), []
    with pytest.raises(FileNotFoundError):
        await owner.worker.run([Call(os.stat, ("/no/such",)), Call(made.append, (1,))])
    assert made == []
    assert await owner.worker.run([]) == []


async def test_a_caller_that_is_cancelled_leaves_its_result_to_be_given_back():
    owner, late = Owner(), []
    task = asyncio.create_task(owner.worker.run([Call(owner.hang)], late.extend))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    owner.go_on.set()
    async with asyncio.timeout(LIMIT):
        while not late:
            await asyncio.sleep(0)
    assert late == ["late"]


async def test_rule_8_a_remote_path_is_looked_at_by_a_process_that_may_stay_behind(tmp_path):
    (tmp_path / "local").touch()
    (tmp_path / "nfs").mkdir()
    helper = Helper()
    one, two = Owner(helper), Owner(helper)
    with hung(tmp_path / "nfs") as remote:
        path = str(tmp_path / "nfs" / "a.img")
        for owner in (one, two):
            with pytest.raises(Unanswered, match=f"{path} does not answer since"):
                await owner.worker.run([Call(os.path.exists, (str(tmp_path),), (str(tmp_path),)),
                                        Call(os.stat, (path,), (path,))])
        assert calls() == []  # none of the threads of this process hangs
        beside = str(tmp_path / "local")
        assert await Owner(helper).worker.run(
            [Call(os.path.exists, (beside,), (beside,))]) == [True]
        remote.release()
        async with asyncio.timeout(LIMIT):
            await one.answered.wait()
            await two.answered.wait()
        with pytest.raises(FileNotFoundError):  # the error itself, as of a local call
            await one.worker.run([Call(os.stat, (path,), (path,))])
    helper.close()


async def test_a_helper_that_is_killed_is_an_error_and_is_started_again():
    helper = Helper()
    pid = await helper.run(os.getpid, ())
    assert pid != os.getpid()
    with pytest.raises(HostError, match="the helper process ended"):
        await helper.run(os.kill, (pid, 9))
    assert await helper.run(os.getpid, ()) not in (pid, os.getpid())
    helper.close()
    assert await helper.run(max, (1, 2)) == 2  # and after it was ended for having nothing to do
    helper.close()
