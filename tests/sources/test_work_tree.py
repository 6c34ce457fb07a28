"""A watched directory within a git work tree: no listing is made in the middle of a pull."""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import time

import pytest

from reconciler.settings import load
from reconciler.sources import local
from reconciler.sources.local import Local
from reconciler.sources.work_tree import LONGEST_LOCK, git_directory
from tests.sources.gits import CLEAN, Upstream, git

LIMIT = 10.0


@pytest.fixture
def upstream(tmp_path):
    found = Upstream(tmp_path / "upstream")
    found.commit({"domains/a.xml": "A"})
    return found


@pytest.fixture(params=["clone", "worktree"])
def tree(request, upstream, tmp_path):
    """A work tree with the watched directory in it; also where .git is a file."""
    found = tmp_path / "tree"
    if request.param == "clone":
        git(tmp_path, "clone", "-q", str(upstream.path), str(found))
    else:
        git(upstream.path, "worktree", "add", "-q", "--detach", str(found))
    return found


def lock(tree):
    return git_directory(tree) / "index.lock"


class Watched:
    """A source on the directory, whose looks are awaited as the engine does it."""

    def __init__(self, tree):
        (tree.parent / "config.yaml").write_text(
            "source: {path: tree/domains, settle: 0s}\npaths: {state: state, runtime: run}\n")
        (tree.parent / "state").mkdir(exist_ok=True)
        self.wakes = queue.Queue()
        self.source = Local(load(tree.parent / "config.yaml", {}))

    async def start(self):
        self.source.start(self.wakes.put)
        return await self.source.look()

    async def until(self, true):
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            await asyncio.to_thread(self.wakes.get, timeout=LIMIT)
            found = await self.source.look()
            if found is not None and true(found):
                return found
        raise AssertionError("not in time")


@pytest.fixture
def watched(tree):
    found = Watched(tree)
    yield found
    found.source.stop()


def test_where_git_has_its_index(tree, tmp_path, upstream):
    assert git_directory(tree / "domains") == git_directory(tree)
    assert (git_directory(tree) / "index").exists()
    assert git_directory(tmp_path) is None
    (tmp_path / "link").symlink_to(tree / "domains")
    assert git_directory(tmp_path / "link") == git_directory(tree)
    (tmp_path / "odd").mkdir()
    for text in (b"", b"gitdir: nowhere\n", b"something else", b"gitdir: \xff\n"):
        (tmp_path / "odd" / ".git").write_bytes(text)
        assert git_directory(tmp_path / "odd") is None


async def test_pain_1_rule_3_while_git_is_at_work_there_is_no_new_listing(tree, watched):
    assert (await watched.source.look()).files == {"a.xml": b"A"}
    lock(tree).touch()
    (tree / "domains" / "a.xml").unlink()
    (tree / "domains" / "b.xml").write_bytes(b"half")
    found = await watched.source.look()
    assert (found.files, found.complete) == ({"a.xml": b"A"}, False)
    assert 0 < found.again_in <= 1.0
    assert watched.source.busy
    lock(tree).unlink()
    found = await watched.source.look()
    assert (found.files, found.complete, found.remark) == ({"b.xml": b"half"}, True, "")
    assert not watched.source.busy


async def test_rule_3_a_lock_that_exists_at_the_start(tree, watched):
    lock(tree).touch()
    assert await watched.start() is None
    delays = []
    while not watched.wakes.empty():
        delays.append(watched.wakes.get())
    assert 1.0 in delays  # the safety net, in case no event comes
    lock(tree).unlink()
    assert (await watched.until(lambda found: True)).files == {"a.xml": b"A"}


async def test_the_removal_of_a_lock_wakes_the_reconciler(tree, watched):
    lock(tree).touch()
    await watched.start()
    while not watched.wakes.empty():
        watched.wakes.get()
    assert await watched.source.look() is None
    lock(tree).rename(lock(tree).with_name("index"))  # as git does it
    deadline = time.monotonic() + LIMIT
    while watched.wakes.get(timeout=max(0.0, deadline - time.monotonic())) != 0.0:
        continue
    assert (await watched.source.look()).files == {"a.xml": b"A"}


async def test_a_stale_lock_is_ignored_and_reported(tree, watched):
    lock(tree).touch()
    then = time.time() - LONGEST_LOCK - 1
    os.utime(lock(tree), (then, then))
    found = await watched.source.look()
    assert (found.files, found.complete) == ({"a.xml": b"A"}, True)
    assert str(lock(tree)) in found.remark
    assert "older than 60 s" in found.remark
    lock(tree).unlink()
    assert (await watched.source.look()).remark == ""


async def test_a_lock_from_the_future_is_not_waited_for_for_ever(tree, watched, monkeypatch):
    lock(tree).touch()
    os.utime(lock(tree), (time.time() + 1e6,) * 2)
    assert await watched.source.look() is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + LONGEST_LOCK + 1)
    assert (await watched.source.look()).files == {"a.xml": b"A"}


async def test_pain_1_rule_3_what_was_read_while_git_came_and_went_is_not_believed(
        tree, watched, monkeypatch):
    assert (await watched.source.look()).files == {"a.xml": b"A"}
    real = local.scan

    def scan(request):
        found = real(request)
        (tree / "domains" / "b.xml").write_bytes(b"B")
        git(tree, "add", "-A")
        return found

    monkeypatch.setattr(local, "scan", scan)
    assert (await watched.source.look()).complete is False
    monkeypatch.undo()
    assert set((await watched.source.look()).files) == {"a.xml", "b.xml"}


async def test_a_pull_is_one_change(upstream, tree, watched):
    """Every listing is one of the two commits, however long the pull takes."""
    await watched.start()
    tip = upstream.commit({f"domains/{n}.xml": f"{n}\n" * 500 for n in range(300)})
    git(tree, "fetch", "-q", str(upstream.path), "main")
    merge = subprocess.Popen(["git", "-C", tree, "merge", "-q", "--ff-only", tip], env=CLEAN)
    seen = []
    while merge.poll() is None:
        found = await watched.source.look()
        seen.append(len(found.files) + len(found.unfinished))
    assert merge.returncode == 0
    assert set(seen) <= {1, 301}
    await watched.until(lambda found: len(found.files) == 301)


async def test_a_look_for_once_waits_for_git(tree, watched):
    lock(tree).touch()
    task = asyncio.create_task(watched.source.refresh())
    done, _ = await asyncio.wait({task}, timeout=0.2)
    assert not done
    lock(tree).unlink()
    async with asyncio.timeout(LIMIT):
        await task
    assert (await watched.source.look()).files == {"a.xml": b"A"}


async def test_a_directory_in_no_work_tree_has_no_locks(tmp_path):
    (tmp_path / "tree" / "domains").mkdir(parents=True)
    (tmp_path / "tree" / "index.lock").touch()
    found = Watched(tmp_path / "tree")
    assert (await found.source.look()).files == {}
