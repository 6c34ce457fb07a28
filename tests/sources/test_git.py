"""A git repository as a source: what is accepted, what is refused, and what then stays in force."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from reconciler.errors import ConfigError, SourceError
from reconciler.sources import git_repository
from reconciler.sources.git_remote import read_remote
from reconciler.sources.listing import LONGEST
from tests.sources.gits import LIMIT, Site, Upstream, daemon, free_port, git, silent


@pytest.fixture
def upstream(tmp_path):
    found = Upstream(tmp_path / "srv" / "repo")
    found.commit({"domains/a.xml": "A"})
    return found


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def clone(site):
    return site.path / "state" / "git" / "clone"


# What a commit gives

async def test_a_commit_is_listed_with_its_name(site, upstream):
    async with site.running(upstream.url) as source:
        found = source.look()
        assert found.files == {"a.xml": b"A"}
        assert found.commit == found.name == found.revision("a.xml") == f"main@sha1:{upstream.tip}"
        assert (found.complete, found.trouble, found.again_in) == (True, None, None)


async def test_a_new_commit_comes_soon_after_it_was_asked_for(site, upstream):
    async with site.running(upstream.url) as source:
        upstream.commit({"domains/b.xml": "B", "domains/a.xml": None})
        began = time.monotonic()
        found = await site.asked(source)
        assert time.monotonic() - began < 0.5
        assert found.files == {"b.xml": b"B"}
        assert not source.busy


async def test_a_new_commit_comes_by_itself_after_the_interval(site, upstream):
    async with site.running(upstream.url, interval="100ms") as source:
        upstream.commit({"domains/b.xml": "B"})
        await site.until(lambda: "b.xml" in source.look().files, source)


async def test_an_unchanged_tip_costs_no_fetch_and_no_new_listing(site, upstream):
    async with site.running(upstream.url) as source:
        before, wakes = source.look(), site.wakes
        for _ in range(3):
            assert await site.asked(source) is before
        assert source.describe()["fetches"] == 1
        assert site.wakes == wakes + 3  # only for those who asked


async def test_attempts_that_nobody_asked_for_and_that_bring_nothing_wake_nobody(site, upstream):
    async with site.running(upstream.url, interval="10ms") as source:
        wakes, seen = site.wakes, {source._last_attempt}
        async with asyncio.timeout(LIMIT):
            while len(seen) < 4:
                await asyncio.sleep(0.005)
                seen.add(source._last_attempt)
        assert site.wakes == wakes


async def test_a_look_runs_nothing(site, upstream, monkeypatch):
    async with site.running(upstream.url) as source:
        monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
        monkeypatch.setattr(os, "open", None)
        assert source.look() is source.look()


async def test_busy_until_what_was_asked_for_is_looked_at(site, upstream):
    async with site.running(upstream.url) as source:
        source.ask()
        source.look()  # the outcome is not known yet
        assert source.busy
        await site.until(lambda: source._answered == source._asked, source)
        assert source.busy
        source.look()
        assert not source.busy


async def test_nothing_is_known_before_the_first_answer(site, upstream):
    source = site.make(upstream.url)
    assert source.look() is None
    assert source.describe()["lastAttempt"] == ""


async def test_what_the_status_says_of_it(site, upstream):
    source = await site.once(upstream.url)
    value = source.describe()
    assert value.pop("lastAttempt") <= value.pop("lastSuccess")
    assert value == {"kind": "git", "url": upstream.url, "ref": "main", "path": "domains",
                     "fetches": 1}
    assert source.where == f"{upstream.url} main, in domains"
    json.dumps(source.describe())


@pytest.mark.parametrize(("path", "files"), [
    ("domains", {"a.xml"}), ("domains/", {"a.xml"}), ("./domains/inner/..", {"a.xml"}),
    ("domains/inner", {"c.xml"}), (".", {"top.xml"}), ("", {"top.xml"}), ("/", {"top.xml"}),
    ("a b*[c]", {"d.xml"}), (":(top)domains", {"f.xml"})])
async def test_only_the_files_of_the_directory_itself(site, upstream, path, files):
    upstream.commit({"top.xml": "T", "domains/inner/c.xml": "C", "a b*[c]/d.xml": "D",
                     "ab/e.xml": "E", ":(top)domains/f.xml": "F"})
    source = await site.once(upstream.url, path=path)
    assert set(source.look().files) == files


@pytest.mark.parametrize("path", ["..", "a/../..", "../x"])
def test_rule_11_no_path_leads_out_of_the_repository(site, upstream, path):
    with pytest.raises(ConfigError, match="within the repository"):
        site.make(upstream.url, path=path)


async def test_names_are_chosen_as_in_a_directory(site, upstream):
    upstream.commit({f"domains/{name}": "x" for name in (
        ".b.xml", "#b.xml", "~b.xml", "b.xml~", "b.txt", "B.XML", "ü \n.xml", "c.dom")})
    source = await site.once(upstream.url)
    assert set(source.look().files) == {"a.xml", "ü \n.xml"}
    source = await site.once(upstream.url, include=["*.dom"])
    assert set(source.look().files) == {"c.dom"}


async def test_links_submodules_and_directories_are_told_and_not_followed(site, upstream):
    (upstream.path / "domains" / "link.xml").symlink_to("/etc/passwd")
    (upstream.path / "domains" / "dir.xml").mkdir()
    (upstream.path / "domains" / "sub.xml").mkdir()
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{upstream.tip},domains/sub.xml")
    upstream.commit({"domains/dir.xml/x": "x"})
    found = (await site.once(upstream.url)).look()
    assert found.files == {"a.xml": b"A"}
    assert found.unreadable == {
        "link.xml": "a symbolic link, which is not followed",
        "sub.xml": "a submodule, which is not followed",
        "dir.xml": "no regular file"}


async def test_a_link_instead_of_the_directory_is_not_followed(site, upstream):
    (upstream.path / "link").symlink_to("domains")
    upstream.commit({})
    source = await site.once(upstream.url, path="link")
    with pytest.raises(SourceError, match="has no directory link"):
        source.look()


async def test_of_a_huge_file_only_enough_to_refuse_it_is_read(site, upstream):
    upstream.commit({"domains/full.xml": b"x" * LONGEST, "domains/over.xml": b"y" * (LONGEST + 1),
                     "domains/huge.xml": b"z" * (8 << 20), "domains/empty.xml": b""})
    files = (await site.once(upstream.url)).look().files
    assert {name: len(data) for name, data in files.items()} == {
        "a.xml": 1, "empty.xml": 0, "full.xml": LONGEST, "over.xml": LONGEST + 1,
        "huge.xml": LONGEST + 1}
    assert files["huge.xml"][:1] == b"z"


# What is wanted

async def test_a_branch_comes_before_a_tag_unless_it_is_written_out(site, upstream):
    upstream.git("tag", "both")
    upstream.git("checkout", "-q", "-b", "both")
    upstream.commit({"domains/b.xml": "B"})
    for ref, count in (("both", 2), ("refs/heads/both", 2), ("refs/tags/both", 1)):
        source = await site.once(upstream.url, ref=ref)
        assert len(source.look().files) == count, ref
        assert source.look().commit.startswith(f"{ref}@sha1:")


@pytest.mark.parametrize("annotated", [True, False])
async def test_a_tag_is_the_commit_that_it_leads_to(site, upstream, annotated):
    tip = upstream.tip
    upstream.git("tag", *(("-a", "-m", "one") if annotated else ()), "v1")
    upstream.commit({"domains/b.xml": "B"})
    source = await site.once(upstream.url, ref="v1")
    assert source.look().commit == f"v1@sha1:{tip}"


async def test_a_whole_commit(site, upstream):
    first = upstream.tip
    upstream.commit({"domains/b.xml": "B"})
    async with site.running(upstream.url, ref=first) as source:
        assert source.look().commit == f"sha1:{first}"
        assert source.look().files == {"a.xml": b"A"}
        upstream.path.rename(upstream.path.with_name("away"))
        assert (await site.asked(source)).trouble is None  # there can be nothing newer


async def test_a_commit_of_a_server_that_gives_none_by_itself(site, upstream, monkeypatch):
    first = upstream.tip
    upstream.commit({"domains/b.xml": "B"})
    monkeypatch.setattr(git_repository.Access, "reaching", _older(git_repository.Access.reaching))
    source = await site.once(upstream.url, ref=first)
    assert source.look().files == {"a.xml": b"A"}


def _older(reaching):
    """The protocol that a server speaks through an sshd which passes no environment on."""
    def reach(self, remote):
        found = reaching(self, remote)
        del found.environment["GIT_PROTOCOL"]
        return found
    return reach


@pytest.mark.parametrize("ref", ["none", "refs/heads/none", "refs/remotes/main", "mai", "a" * 40])
async def test_a_ref_that_is_not_there(site, upstream, ref):
    with pytest.raises(SourceError) as caught:
        (await site.once(upstream.url, ref=ref)).look()
    assert caught.value.reason == "FetchFailed"
    assert upstream.url in str(caught.value)


@pytest.mark.parametrize("ref", ["-q", "", "a b", "a..b", "a^", "refs/heads/*", "a/", "/a", "a\nb"])
def test_rule_11_what_cannot_be_a_ref(site, upstream, ref):
    with pytest.raises(ConfigError, match=r"source\.ref"):
        site.make(upstream.url, ref=ref)


@pytest.mark.parametrize("url", [
    [], "", "-x", "--upload-pack=touch /tmp/x", "ext::sh -c id", "ftp://host/x", "ssh://-oProxy/x",
    "ssh:///x", "-oProxy:x", "file://host/x", "x::y", "a@ext::id", "https://", "http://a:b:c/x",
    "a\nb"])
def test_rule_11_what_cannot_be_a_url(site, url):
    with pytest.raises(ConfigError, match=r"source\.url"):
        site.make(url)


@pytest.mark.parametrize(("url", "address", "shown", "login"), [
    ("https://anna:p%40ss@host:444/x.git", "https://host:444/x.git", "https://host:444/x.git",
     "anna:p@ss"),
    ("ssh://git@host/x", "ssh://git@host/x", "ssh://host/x", ""),
    ("ssh://git:secret@host:22/x", "ssh://git@host:22/x", "ssh://host:22/x", ""),
    ("git@host:x/y.git", "git@host:x/y.git", "host:x/y.git", ""),
    ("https://[::1]:80/x", "https://[::1]:80/x", "https://[::1]:80/x", ""),
    ("file:///a%20b/50%25", "ext::git upload-pack /a% b/50%%", "file:///a b/50%", ""),
    ("../x", "ext::git upload-pack /etc/x", "file:///etc/x", "")])
def test_rule_11_no_secret_stays_in_an_address(url, address, shown, login):
    found = read_remote(url, Path("/etc/reconciler"))
    assert (found.address, found.shown, found.login) == (address, shown, login)


async def test_a_local_path_with_strange_characters(site, upstream):
    strange = upstream.path.with_name("a b%S 'q\" $(id)")
    upstream.path.rename(strange)
    for url in (f"file://{str(strange).replace('%', '%25')}", f"srv/{strange.name}"):
        assert (await site.once(url)).look().files == {"a.xml": b"A"}


# Servers that fail

async def test_of_several_urls_the_first_that_answers(site, upstream):
    source = await site.once([f"{upstream.url}-none", upstream.url])
    assert source.look().files == {"a.xml": b"A"}
    assert source.describe()["url"] == upstream.url
    source = await site.once([f"{upstream.url}-x", f"{upstream.url}-y"])
    trouble = source.look().trouble if source._shown else pytest.raises(SourceError, source.look)
    assert f"{upstream.url}-x" in str(trouble.value)
    assert f"{upstream.url}-y" in str(trouble.value)


async def test_a_mirror_that_is_behind_is_no_rewind(site, upstream):
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
            await site.until(lambda: source.look().trouble is None, source)
            assert set(source.look().files) == {"a.xml", "b.xml"}


def test_failures_are_tried_again_ever_later(site, upstream):
    source = site.make(upstream.url, interval="1h")
    assert [source._pause(n) for n in (0, 1, 2, 3, 9, 10, 99)] == [3600, 1, 2, 4, 256, 300, 300]
    source = site.make(upstream.url, interval="10s")
    assert [source._pause(n) for n in (0, 1, 5, 99)] == [10, 1, 10, 10]


async def test_a_server_that_never_answers_has_a_time(site, upstream):
    with silent() as port:
        source = await site.once([f"git://127.0.0.1:{port}/x", upstream.url], timeout="2s")
        assert source.look().files == {"a.xml": b"A"}
        source = await site.once(f"http://127.0.0.1:{port}/x", timeout="300ms")
        with pytest.raises(SourceError, match=r"within 0\.3 s|after 0\.3 s"):
            source.look()
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
        await source._attempt()
        assert source.describe()["fetches"] == fetches
        assert "307200 bytes" in str(source.look().trouble)


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


# Rewinds

async def test_rule_3_a_rewound_branch_is_refused_until_it_is_allowed(site, upstream):
    upstream.commit({"domains/b.xml": "B"})
    async with site.running(upstream.url) as source:
        before = source.look()
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
        await site.until(lambda: source.look().trouble is None, source)
        assert set(source.look().files) == {"a.xml", "c.xml"}
        assert source.rewind is None


async def test_an_approval_is_good_for_one_commit_alone(site, upstream):
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
async def test_another_configuration_is_a_new_beginning(site, upstream, change):
    upstream.commit({"domains/b.xml": "B", "other/c.xml": "C"})
    assert (await site.once(upstream.url)).look().trouble is None
    upstream.git("checkout", "-q", "-b", "side", "HEAD~1")
    upstream.commit({"other/d.xml": "D"})
    more = {"ref": {"ref": "side"}, "path": {"path": "other", "ref": "side"}, "url": {}}[change]
    url = upstream.url
    if change == "url":
        upstream.path.rename(upstream.path.with_name("moved"))
        url = f"file://{upstream.path.with_name('moved')}"
        git(upstream.path.with_name("moved"), "branch", "-f", "main", "side")
    source = await site.once(url, **more)
    assert source.look().trouble is None


async def test_one_more_url_is_no_new_beginning(site, upstream):
    assert (await site.once(upstream.url)).look()
    upstream.commit({"domains/c.xml": "C"}, "--amend")
    found = (await site.once(["file:///nowhere", upstream.url])).look()
    assert found.trouble.reason == "NotFastForward"


# A directory that is gone

async def test_rule_3_a_missing_directory_is_refused_at_first(site, upstream):
    source = await site.once(upstream.url, path="nowhere")
    with pytest.raises(SourceError, match="no directory nowhere") as caught:
        source.look()
    assert caught.value.reason == "Incomplete"


async def test_rule_6_the_last_file_may_be_deleted_on_purpose(site, upstream):
    async with site.running(upstream.url) as source:
        upstream.commit({"domains/a.xml": None, "README": "none"})
        found = await site.asked(source)
        assert (found.files, found.complete, found.trouble) == ({}, True, None)
        upstream.commit({"README": "still none"})
        found = await site.asked(source)
        assert (found.files, found.trouble) == ({}, None)
    # And it stays so over a restart.
    found = (await site.once(upstream.url)).look()
    assert (found.files, found.trouble) == ({}, None)


async def test_rule_3_a_directory_that_a_rewind_has_not_is_refused(site, upstream):
    async with site.running(upstream.url, fast_forward_only=False) as source:
        upstream.git("checkout", "-q", "--orphan", "empty")
        upstream.git("rm", "-q", "-r", "-f", ".")
        upstream.commit({"README": "nothing else"})
        upstream.git("branch", "-q", "-f", "main", "empty")
        found = await site.asked(source)
        assert found.files == {"a.xml": b"A"}
        assert found.trouble.reason == "Incomplete"


# Our copy

async def test_rule_3_a_restart_without_a_network(site, upstream):
    await site.once(upstream.url)
    upstream.path.rename(upstream.path.with_name("away"))
    source = site.make(upstream.url)
    await source._load()  # what `run` does first
    assert source.look().files == {"a.xml": b"A"}
    assert source.look().trouble is None
    found = (await site.once(upstream.url)).look()
    assert found.files == {"a.xml": b"A"}
    assert found.trouble.reason == "FetchFailed"


async def test_the_accepted_set_is_delivered_before_the_server_answers(site, upstream):
    await site.once(upstream.url)
    with silent() as port:
        source = site.make([f"git://127.0.0.1:{port}/x", upstream.url])
        source.start(site._wake)
        task = asyncio.create_task(source.run())
        await site.until(lambda: source.look() is not None, source)
        assert source.look().files == {"a.xml": b"A"}
        assert source._last_success == ""
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
async def test_a_broken_copy_heals(site, upstream, damage, new):
    await site.once(upstream.url)
    damage(clone(site))
    if new:
        upstream.commit({"domains/b.xml": "B"})
    source = await site.once(upstream.url)
    found = source.look()
    assert found.trouble is None
    assert set(found.files) == ({"a.xml", "b.xml"} if new else {"a.xml"})
    assert sorted(p.name for p in clone(site).parent.iterdir() if p.name in (
        "clone", "fresh", "before")) == ["clone"]
    git(clone(site), "fsck")


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_copy_that_breaks_while_we_run_heals(site, upstream, damage):
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
    found = (await site.once(upstream.url)).look()
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
    monkeypatch.setattr(git_repository.Access, "reaching", _older(git_repository.Access.reaching))
    monkeypatch.setattr("reconciler.sources.git_clone._EVERYTHING", "+refs/none/*:refs/x/*")
    found = (await site.once(upstream.url)).look()
    assert (found.trouble, found.commit) == (None, f"main@sha1:{upstream.tip}")


async def test_rule_3_no_server_and_a_broken_copy_say_nothing(site, upstream):
    await site.once(upstream.url)
    _truncate(clone(site))
    upstream.path.rename(upstream.path.with_name("away"))
    source = await site.once(upstream.url)
    with pytest.raises(SourceError) as caught:
        source.look()
    assert caught.value.reason == "FetchFailed"


async def test_a_lock_that_a_killed_git_left_is_taken_away(site, upstream):
    async with site.running(upstream.url) as source:
        for name in ("shallow.lock", "refs/reconciler/candidate.lock", "packed-refs.lock",
                     "refs/reconciler/accepted.lock"):
            (clone(site) / name).touch()
        upstream.commit({"domains/b.xml": "B"})
        assert len((await site.asked(source)).files) == 2


async def test_we_were_ended_while_one_copy_took_the_place_of_another(site, upstream):
    await site.once(upstream.url)
    clone(site).rename(clone(site).with_name("fresh"))
    upstream.path.rename(upstream.path.with_name("away"))
    assert (await site.once(upstream.url)).look().files == {"a.xml": b"A"}


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
    assert (await site.once(upstream.url)).look().trouble is None


async def test_the_first_fetch_is_shallow(site, upstream):
    for n in range(5):
        upstream.commit({"domains/b.xml": str(n)})
    await site.once(upstream.url)
    assert git(clone(site), "rev-list", "--all", "--count") == "1"


async def test_a_git_that_is_too_old_or_missing(site, upstream, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(SourceError, match="no such program on the PATH"):
        (await site.once(upstream.url)).look()
    program = tmp_path / "bin" / "git"
    program.write_text("#!/bin/sh\necho git version 2.25.1\n")
    program.chmod(0o755)
    with pytest.raises(SourceError, match=r"2\.25\.1 is too old; accepted: 2\.32"):
        (await site.once(upstream.url)).look()
