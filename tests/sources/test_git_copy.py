"""The clone of a git source: it survives restarts, is repaired, and stays small."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from reconciler.errors import SourceError
from reconciler.sources import git_repository
from tests.sources.gits import git, older, silent


def clone(site):
    return site.path / "state" / "git" / "clone"


async def test_rule_3_a_restart_without_a_network(site, upstream):
    await site.once(upstream.url)
    upstream.path.rename(upstream.path.with_name("away"))
    found = await (await site.once(upstream.url)).look()
    assert found.files == {"a.xml": b"A"}
    assert found.trouble.reason == "FetchFailed"


async def test_the_accepted_set_is_delivered_before_the_server_answers(site, upstream):
    await site.once(upstream.url)
    with silent() as port:
        source = site.make([f"git://127.0.0.1:{port}/x", upstream.url])
        source.start(site.wake)
        task = asyncio.create_task(source.run())
        await site.until_seen(lambda seen: seen is not None, source)
        assert (await source.look()).files == {"a.xml": b"A"}
        assert source.describe()["lastSuccess"] == ""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _truncate(path):
    for file in path.glob("objects/pack/*.pack"):
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:20])


def _no_objects(path):
    shutil.rmtree(path / "objects" / "pack")


def _no_head(path):
    (path / "HEAD").write_bytes(b"\0\0")


def _no_index(path):
    for file in path.glob("objects/pack/*.idx"):
        file.unlink()


DAMAGE = [_truncate, _no_objects, _no_head, _no_index, shutil.rmtree]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("new", [True, False])
async def test_a_damaged_clone_is_cloned_again(site, upstream, damage, new):
    await site.once(upstream.url)
    damage(clone(site))
    if new:
        upstream.commit({"domains/b.xml": "B"})
    source = await site.once(upstream.url)
    found = await source.look()
    assert found.trouble is None
    assert set(found.files) == ({"a.xml", "b.xml"} if new else {"a.xml"})
    assert sorted(p.name for p in clone(site).parent.iterdir() if p.name in (
        "clone", "fresh", "before")) == ["clone"]
    git(clone(site), "fsck")


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_clone_that_is_damaged_at_run_time_is_cloned_again(site, upstream, damage):
    async with site.running(upstream.url) as source:
        damage(clone(site))
        assert (await site.asked(source)).files == {"a.xml": b"A"}
        upstream.commit({"domains/b.xml": "B"})
        found = await site.asked(source)
        assert (found.trouble, set(found.files)) == (None, {"a.xml", "b.xml"})


@pytest.mark.parametrize("forward", [True, False])
async def test_a_healed_copy_still_knows_what_is_forward(site, upstream, forward):
    await site.once(upstream.url)
    first = upstream.tip
    for n in range(3):
        upstream.commit({"domains/b.xml": f"B{n}"}, *(() if forward or n else ("--amend",)))
    shutil.rmtree(clone(site))
    found = await (await site.once(upstream.url)).look()
    if forward:
        assert (found.trouble, len(found.files)) == (None, 2)
    else:
        assert found.trouble.reason == "NotFastForward"
        assert found.commit == f"main@sha1:{first}"  # the server had it yet


async def test_a_healed_copy_of_a_server_that_gives_no_single_commit(site, upstream, monkeypatch):
    await site.once(upstream.url)
    shutil.rmtree(clone(site))
    for n in range(60):
        upstream.commit({"README": str(n)})
    monkeypatch.setattr(git_repository.Access, "reaching", older(git_repository.Access.reaching))
    monkeypatch.setattr("reconciler.sources.git_clone.EVERYTHING", "+refs/none/*:refs/x/*")
    found = await (await site.once(upstream.url)).look()
    assert (found.trouble, found.commit) == (None, f"main@sha1:{upstream.tip}")


async def test_rule_3_no_server_and_a_broken_copy_say_nothing(site, upstream):
    await site.once(upstream.url)
    _truncate(clone(site))
    upstream.path.rename(upstream.path.with_name("away"))
    source = await site.once(upstream.url)
    with pytest.raises(SourceError) as caught:
        await source.look()
    assert caught.value.reason == "FetchFailed"


async def test_the_lock_of_a_killed_git_is_removed(site, upstream):
    async with site.running(upstream.url) as source:
        for name in ("shallow.lock", "refs/reconciler/candidate.lock", "packed-refs.lock",
                     "refs/reconciler/accepted.lock"):
            (clone(site) / name).touch()
        upstream.commit({"domains/b.xml": "B"})
        assert len((await site.asked(source)).files) == 2


async def test_a_crash_while_one_clone_replaced_another(site, upstream):
    await site.once(upstream.url)
    clone(site).rename(clone(site).with_name("fresh"))
    upstream.path.rename(upstream.path.with_name("away"))
    assert (await (await site.once(upstream.url)).look()).files == {"a.xml": b"A"}


async def test_the_copy_stays_small_over_many_commits(site, upstream, monkeypatch):
    monkeypatch.setattr(git_repository, "CHANGES", 4)
    monkeypatch.setattr(git_repository, "KEPT_DEPTH", 2)
    async with site.running(upstream.url) as source:
        for n in range(9):
            upstream.commit({"domains/b.xml": str(n)})
            found = await site.asked(source)
            assert (found.files["b.xml"], found.trouble) == (str(n).encode(), None)
    assert len(list(clone(site).glob("objects/pack/*.pack"))) <= 4
    assert int(git(clone(site), "rev-list", "--count", "refs/reconciler/accepted")) < 6
    upstream.commit({"domains/c.xml": "C"})
    assert (await (await site.once(upstream.url)).look()).trouble is None


async def test_the_first_fetch_is_shallow(site, upstream):
    for n in range(5):
        upstream.commit({"domains/b.xml": str(n)})
    await site.once(upstream.url)
    assert git(clone(site), "rev-list", "--all", "--count") == "1"


async def test_a_git_that_is_too_old_or_missing(site, upstream, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(SourceError, match="no such program on the PATH"):
        await (await site.once(upstream.url)).look()
    program = tmp_path / "bin" / "git"
    program.write_text("#!/bin/sh\necho git version 2.25.1\n")
    program.chmod(0o755)
    with pytest.raises(SourceError, match=r"2\.25\.1 is too old; accepted: 2\.32"):
        await (await site.once(upstream.url)).look()
