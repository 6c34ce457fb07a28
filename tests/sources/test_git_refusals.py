"""A git source without a usable answer: the set accepted last stays in force."""

from __future__ import annotations

import asyncio
import os

import pytest

from reconciler.errors import SourceError
from tests.sources.gits import daemon, free_port, git, http, silent


def clone(site):
    return site.path / "state" / "git" / "clone"


async def test_of_several_urls_the_first_that_answers(site, upstream):
    source = await site.once([f"{upstream.url}-none", upstream.url])
    assert (await source.look()).files == {"a.xml": b"A"}
    assert source.describe()["url"] == upstream.url
    source = await site.once([f"{upstream.url}-x", f"{upstream.url}-y"])
    with pytest.raises(SourceError) as caught:
        await source.look()
    assert f"{upstream.url}-x" in str(caught.value)
    assert f"{upstream.url}-y" in str(caught.value)


async def test_a_mirror_that_is_behind_is_not_a_rewind(site, upstream):
    mirror = upstream.path.with_name("mirror")
    git(upstream.path.parent, "clone", "-q", "--bare", str(upstream.path), str(mirror))
    async with site.running([upstream.url, f"file://{mirror}"], fast_forward_only=False) as source:
        upstream.commit({"domains/b.xml": "B"})
        assert len((await site.asked(source)).files) == 2
        upstream.path.rename(upstream.path.with_name("away"))
        found = await site.asked(source)
        assert (len(found.files), found.trouble) == (2, None)
        assert source.describe()["url"] == f"file://{mirror}"


async def test_rule_3_a_server_that_is_down_takes_nothing_away(site, upstream):
    port = free_port()
    with daemon(upstream, port) as url:
        async with site.running(url) as source:
            upstream.path.rename(upstream.path.with_name("away"))
            found = await site.asked(source)
            assert found.files == {"a.xml": b"A"}
            assert found.trouble.reason == "FetchFailed"
            assert url in str(found.trouble)
            again = await site.asked(source)
            assert str(again.trouble) == str(found.trouble)
            # By itself, soon after it is back.
            upstream.path.with_name("away").rename(upstream.path)
            upstream.commit({"domains/b.xml": "B"})
            await site.until_seen(lambda seen: seen.trouble is None, source)
            assert set((await source.look()).files) == {"a.xml", "b.xml"}


def test_the_pause_after_failures_grows_up_to_the_interval(site, upstream):
    source = site.make(upstream.url, interval="1h")
    assert [source.pause(n) for n in (0, 1, 2, 3, 9, 10, 99)] == [3600, 1, 2, 4, 256, 300, 300]
    source = site.make(upstream.url, interval="10s")
    assert [source.pause(n) for n in (0, 1, 5, 99)] == [10, 1, 10, 10]


async def test_a_server_that_never_answers_has_a_time(site, upstream):
    with silent() as port:
        source = await site.once([f"git://127.0.0.1:{port}/x", upstream.url], timeout="2s")
        assert (await source.look()).files == {"a.xml": b"A"}
        source = await site.once(f"http://127.0.0.1:{port}/x", timeout="300ms")
        with pytest.raises(SourceError, match=r"within 0\.3 s|after 0\.3 s"):
            await source.look()
        assert not _programs_of(site)


def _programs_of(site):
    """Processes whose environment has our home."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                text = file.read()
        except OSError:
            continue
        if f"HOME={site.path}/state/git/home".encode() in text:
            found.append(entry)
    return found


async def test_cancelled_in_the_middle_it_leaves_no_process(site, upstream):
    with silent() as port:
        source = site.make(f"http://127.0.0.1:{port}/x")
        task = asyncio.create_task(source.run())
        async with asyncio.timeout(10):
            while len(_programs_of(site)) < 2:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not _programs_of(site)


async def test_a_huge_download_is_given_up(site, upstream):
    async with site.running(upstream.url, max_size="300KiB") as source:
        small = upstream.tip
        upstream.commit({"huge": os.urandom(1 << 20)})
        found = await site.asked(source)
        assert found.trouble.reason == "FetchFailed"
        assert "307200 bytes" in str(found.trouble)
        assert "source.max_size" in found.trouble.hint
        assert found.commit == f"main@sha1:{small}"
        # Nothing of it stays, and it is not fetched again by itself.
        assert sum(f.stat().st_size for f in clone(site).rglob("*") if f.is_file()) < 100_000
        fetches = source.describe()["fetches"]
        await source.refresh()
        assert source.describe()["fetches"] == fetches
        assert "307200 bytes" in str((await source.look()).trouble)


async def test_a_full_disk_is_an_error_like_others(site, upstream):
    async with site.running(upstream.url) as source:
        upstream.commit({"domains/b.xml": "B"})
        record = site.path / "state" / "git" / "accepted.json"
        kept = record.read_bytes()
        record.unlink()
        record.mkdir()  # cannot be replaced
        found = await site.asked(source)
        assert (len(found.files), found.trouble.reason) == (1, "FetchFailed")
        record.rmdir()
        record.write_bytes(kept)
        found = await site.asked(source)
        assert (len(found.files), found.trouble) == (2, None)


@pytest.mark.parametrize("cut", [0, 40, 3000])
async def test_pain_1_rule_3_half_a_fetch_brings_nothing(site, upstream, cut):
    with http(upstream) as (url, server):
        async with site.running(url) as source:
            before = await source.look()
            upstream.commit({"domains/a.xml": None, "domains/b.xml": os.urandom(8000)})
            server.cut = cut
            found = await site.asked(source)
            assert (found.files, found.commit) == (before.files, before.commit)
            assert found.trouble.reason == "FetchFailed"
            server.cut = None
            assert set((await site.asked(source)).files) == {"b.xml"}


async def test_pain_1_rule_3_a_repository_that_is_empty_takes_nothing_away(site, upstream):
    async with site.running(upstream.url) as source:
        upstream.path.rename(upstream.path.with_name("away"))
        git(upstream.path.parent, "init", "-q", "-b", "main", str(upstream.path))
        found = await site.asked(source)
        assert found.files == {"a.xml": b"A"}
        assert found.trouble.reason == "FetchFailed"
    # Nor over a restart, which has what was accepted.
    found = await (await site.once(upstream.url)).look()
    assert (found.files, found.trouble.reason) == ({"a.xml": b"A"}, "FetchFailed")


# Rewinds

async def test_pain_1_rule_3_a_rewound_branch_is_refused_until_it_is_allowed(site, upstream):
    upstream.commit({"domains/b.xml": "B"})
    async with site.running(upstream.url) as source:
        before = await source.look()
        upstream.git("reset", "-q", "--hard", "HEAD~1")
        tip = upstream.commit({"domains/c.xml": "C"})
        found = await site.asked(source)
        assert (found.files, found.commit) == (before.files, before.commit)
        assert found.trouble.reason == "NotFastForward"
        assert "reconciler approve" in found.trouble.hint
        assert source.rewind == source.describe()["rewind"] == tip
        fetches = source.describe()["fetches"]
        await site.asked(source)
        assert source.describe()["fetches"] == fetches
        source.allow("0" * 40)  # another one than waits
        assert (await site.asked(source)).trouble.reason == "NotFastForward"
        source.allow(tip)
        await site.until_seen(lambda seen: seen.trouble is None, source)
        assert set((await source.look()).files) == {"a.xml", "c.xml"}
        assert source.rewind is None


async def test_pain_1_an_approval_is_good_for_one_commit_alone(site, upstream):
    upstream.commit({"domains/b.xml": "B"})
    async with site.running(upstream.url) as source:
        upstream.git("reset", "-q", "--hard", "HEAD~1")
        tip = upstream.commit({"domains/c.xml": "C"})
        await site.asked(source)
        upstream.commit({"domains/c.xml": None, "domains/d.xml": "D"}, "--amend")
        source.allow(tip)
        assert (await site.asked(source)).trouble.reason == "NotFastForward"
        assert source.rewind == upstream.tip


async def test_a_rewind_that_is_taken_back_waits_no_more(site, upstream):
    async with site.running(upstream.url) as source:
        tip = upstream.tip
        upstream.commit({"domains/c.xml": "C"}, "--amend")
        assert (await site.asked(source)).trouble.reason == "NotFastForward"
        upstream.git("reset", "-q", "--hard", tip)
        assert (await site.asked(source)).trouble is None
        assert source.rewind is None


async def test_rewinds_may_be_wanted(site, upstream):
    async with site.running(upstream.url, fast_forward_only=False) as source:
        tip = upstream.commit({"domains/c.xml": "C"}, "--amend")
        found = await site.asked(source)
        assert (found.trouble, found.commit) == (None, f"main@sha1:{tip}")


async def test_a_merge_is_forward(site, upstream):
    base = upstream.tip
    upstream.commit({"domains/b.xml": "B"})
    async with site.running(upstream.url) as source:
        upstream.git("checkout", "-q", "-b", "side", base)
        upstream.commit({"domains/c.xml": "C"})
        upstream.git("checkout", "-q", "main")
        upstream.git("merge", "-q", "--no-ff", "-m", "both", "side")
        found = await site.asked(source)
        assert (found.trouble, len(found.files)) == (None, 3)


@pytest.mark.parametrize("change", ["ref", "path", "url"])
async def test_another_configuration_starts_afresh(site, upstream, change):
    upstream.commit({"domains/b.xml": "B", "other/c.xml": "C"})
    assert (await (await site.once(upstream.url)).look()).trouble is None
    upstream.git("checkout", "-q", "-b", "side", "HEAD~1")
    upstream.commit({"other/d.xml": "D"})
    more = {"ref": {"ref": "side"}, "path": {"path": "other", "ref": "side"}, "url": {}}[change]
    url = upstream.url
    if change == "url":
        upstream.path.rename(upstream.path.with_name("moved"))
        url = f"file://{upstream.path.with_name('moved')}"
        git(upstream.path.with_name("moved"), "branch", "-f", "main", "side")
    source = await site.once(url, **more)
    assert (await source.look()).trouble is None


async def test_one_more_url_does_not_start_afresh(site, upstream):
    assert await (await site.once(upstream.url)).look()
    upstream.commit({"domains/c.xml": "C"}, "--amend")
    found = await (await site.once(["file:///nowhere", upstream.url])).look()
    assert found.trouble.reason == "NotFastForward"


# A directory that is gone

async def test_pain_1_rule_3_a_missing_directory_is_refused_at_first(site, upstream):
    source = await site.once(upstream.url, path="nowhere")
    with pytest.raises(SourceError, match="no directory nowhere") as caught:
        await source.look()
    assert caught.value.reason == "Incomplete"


async def test_pain_1_rule_6_the_last_file_may_be_deleted_on_purpose(site, upstream):
    async with site.running(upstream.url) as source:
        upstream.commit({"domains/a.xml": None, "README": "none"})
        found = await site.asked(source)
        assert (found.files, found.complete, found.trouble) == ({}, True, None)
        upstream.commit({"README": "still none"})
        found = await site.asked(source)
        assert (found.files, found.trouble) == ({}, None)
    # And it stays so over a restart.
    found = await (await site.once(upstream.url)).look()
    assert (found.files, found.trouble) == ({}, None)


async def test_pain_1_rule_3_a_directory_that_a_rewind_has_not_is_refused(site, upstream):
    async with site.running(upstream.url, fast_forward_only=False) as source:
        upstream.git("checkout", "-q", "--orphan", "empty")
        upstream.git("rm", "-q", "-r", "-f", ".")
        upstream.commit({"README": "nothing else"})
        upstream.git("branch", "-q", "-f", "main", "empty")
        found = await site.asked(source)
        assert found.files == {"a.xml": b"A"}
        assert found.trouble.reason == "Incomplete"


def moved(upstream):
    upstream.git("mv", "domains", "vms")


def moved_below(upstream):
    (upstream.path / "domains" / "prod").mkdir()
    upstream.git("mv", "domains/a.xml", "domains/prod/a.xml")


def moved_and_changed(upstream):
    upstream.git("mv", "domains", "vms")
    (upstream.path / "vms" / "a.xml").write_text("another text")


def became_a_link(upstream):
    upstream.git("mv", "domains", "envs")
    (upstream.path / "domains").symlink_to("envs")


def became_a_file(upstream):
    upstream.git("rm", "-q", "-r", "domains")
    (upstream.path / "domains").write_text("x")


def became_a_submodule(upstream):
    tip = upstream.tip
    upstream.git("rm", "-q", "-r", "domains")
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{tip},domains")


@pytest.mark.parametrize(("change", "said"), [
    (moved, "vms/a.xml is where one of them was moved to"),
    (moved_below, "domains/prod/a.xml is where one of them was moved to"),
    (moved_and_changed, "vms/a.xml is where one of them was moved to"),
    (became_a_link, "domains is a symbolic link"), (became_a_file, "domains is a file"),
    (became_a_submodule, "domains is a submodule")])
async def test_rule_6_a_directory_that_moved_or_was_replaced_is_no_evidence(site, upstream, change,
                                                                           said):
    async with site.running(upstream.url) as source:
        change(upstream)
        if change is not became_a_submodule:  # which has no directory that could be added
            upstream.git("add", "-A")
        upstream.git("commit", "-q", "-m", "move")
        found = await site.asked(source)
        assert found.files == {"a.xml": b"A"}
        assert found.trouble.reason == "Incomplete"
        assert said in str(found.trouble)
    found = await (await site.once(upstream.url)).look()  # and so it is after a restart
    assert found.files == {"a.xml": b"A"}
    assert said in str(found.trouble)
    upstream.git("revert", "--no-edit", "HEAD")
    found = await (await site.once(upstream.url)).look()
    assert (found.files, found.trouble) == ({"a.xml": b"A"}, None)
