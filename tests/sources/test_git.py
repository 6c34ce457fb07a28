"""A git repository as a source: the listing of a commit, and what may be configured."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from reconciler.errors import ConfigError, SourceError
from reconciler.sources import git_repository
from reconciler.sources.git_remote import read_remote
from reconciler.sources.listing import LONGEST
from tests.sources.gits import LIMIT, older


async def test_pain_12_a_commit_is_listed_with_its_name(site, upstream):
    async with site.running(upstream.url) as source:
        found = await source.look()
        assert found.files == {"a.xml": b"A"}
        assert found.commit == found.name == found.revision("a.xml") == f"main@sha1:{upstream.tip}"
        assert (found.complete, found.trouble, found.again_in) == (True, None, None)


async def test_a_new_commit_comes_soon_after_it_was_asked_for(site, upstream):
    async with site.running(upstream.url) as source:
        upstream.commit({"domains/b.xml": "B", "domains/a.xml": None})
        found = await site.asked(source)  # not after the hour of the interval
        assert found.files == {"b.xml": b"B"}
        assert not source.busy


async def test_a_new_commit_comes_by_itself_after_the_interval(site, upstream):
    async with site.running(upstream.url, interval="100ms") as source:
        upstream.commit({"domains/b.xml": "B"})
        await site.until_seen(lambda seen: "b.xml" in seen.files, source)


async def test_an_unchanged_tip_costs_no_fetch_and_no_new_listing(site, upstream):
    async with site.running(upstream.url) as source:
        before, wakes = await source.look(), site.wakes
        for _ in range(3):
            assert await site.asked(source) is before
        assert source.describe()["fetches"] == 1
        assert site.wakes == wakes + 3  # only for those who asked


async def test_attempts_without_news_that_were_not_asked_for_do_not_wake(site, upstream):
    async with site.running(upstream.url, interval="10ms") as source:
        wakes, seen = site.wakes, {source.describe()["lastAttempt"]}
        async with asyncio.timeout(LIMIT):
            while len(seen) < 4:
                await asyncio.sleep(0.005)
                seen.add(source.describe()["lastAttempt"])
        assert site.wakes == wakes


async def test_a_look_runs_nothing(site, upstream, monkeypatch):
    async with site.running(upstream.url) as source:
        monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
        monkeypatch.setattr(os, "open", None)
        assert await source.look() is await source.look()


async def test_busy_until_what_was_asked_for_is_looked_at(site, upstream):
    async with site.running(upstream.url) as source:
        wakes = site.wakes
        source.ask()
        await source.look()  # the outcome is not known yet
        assert source.busy
        await site.until(lambda: site.wakes > wakes, source)
        assert source.busy
        await source.look()
        assert not source.busy


async def test_nothing_is_known_before_the_first_answer(site, upstream):
    source = site.make(upstream.url)
    assert await source.look() is None
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
    assert set((await source.look()).files) == files


@pytest.mark.parametrize("path", ["..", "a/../..", "../x"])
def test_rule_11_no_path_leads_out_of_the_repository(site, upstream, path):
    with pytest.raises(ConfigError, match="within the repository"):
        site.make(upstream.url, path=path)


async def test_names_are_chosen_as_in_a_directory(site, upstream):
    upstream.commit({f"domains/{name}": "x" for name in (
        ".b.xml", "#b.xml", "~b.xml", "b.xml~", "b.txt", "B.XML", "ü \n.xml", "c.dom")})
    source = await site.once(upstream.url)
    assert set((await source.look()).files) == {"a.xml", "ü \n.xml"}
    source = await site.once(upstream.url, include=["*.dom"])
    assert set((await source.look()).files) == {"c.dom"}


async def test_links_submodules_and_directories_are_reported_and_not_followed(site, upstream):
    (upstream.path / "domains" / "link.xml").symlink_to("/etc/passwd")
    (upstream.path / "domains" / "dir.xml").mkdir()
    (upstream.path / "domains" / "sub.xml").mkdir()
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{upstream.tip},domains/sub.xml")
    upstream.commit({"domains/dir.xml/x": "x"})
    found = await (await site.once(upstream.url)).look()
    assert (found.files, found.complete) == ({"a.xml": b"A"}, True)
    assert found.unreadable == {
        "link.xml": "a symbolic link, which is not followed",
        "sub.xml": "a submodule, which is not followed",
        "dir.xml": "not a regular file"}


async def test_a_link_instead_of_the_directory_is_not_followed(site, upstream):
    (upstream.path / "link").symlink_to("domains")
    upstream.commit({})
    source = await site.once(upstream.url, path="link")
    with pytest.raises(SourceError, match="link is a symbolic link, which is not followed") as err:
        await source.look()
    assert err.value.reason == "Incomplete"


async def test_a_huge_file_is_read_only_as_far_as_it_takes_to_refuse_it(site, upstream):
    upstream.commit({"domains/full.xml": b"x" * LONGEST, "domains/over.xml": b"y" * (LONGEST + 1),
                     "domains/huge.xml": b"z" * (8 << 20), "domains/empty.xml": b""})
    files = (await (await site.once(upstream.url)).look()).files
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
        assert len((await source.look()).files) == count, ref
        assert (await source.look()).commit.startswith(f"{ref}@sha1:")


@pytest.mark.parametrize("annotated", [True, False])
async def test_a_tag_is_the_commit_that_it_leads_to(site, upstream, annotated):
    tip = upstream.tip
    upstream.git("tag", *(("-a", "-m", "one") if annotated else ()), "v1")
    upstream.commit({"domains/b.xml": "B"})
    source = await site.once(upstream.url, ref="v1")
    assert (await source.look()).commit == f"v1@sha1:{tip}"


async def test_a_whole_commit(site, upstream):
    first = upstream.tip
    upstream.commit({"domains/b.xml": "B"})
    async with site.running(upstream.url, ref=first) as source:
        assert (await source.look()).commit == f"sha1:{first}"
        assert (await source.look()).files == {"a.xml": b"A"}
        upstream.path.rename(upstream.path.with_name("away"))
        assert (await site.asked(source)).trouble is None  # there can be nothing newer


async def test_a_commit_of_a_server_that_gives_none_by_itself(site, upstream, monkeypatch):
    first = upstream.tip
    upstream.commit({"domains/b.xml": "B"})
    monkeypatch.setattr(git_repository.Access, "reaching", older(git_repository.Access.reaching))
    source = await site.once(upstream.url, ref=first)
    assert (await source.look()).files == {"a.xml": b"A"}


@pytest.mark.parametrize("ref", ["none", "refs/heads/none", "refs/remotes/main", "mai", "a" * 40])
async def test_a_ref_that_is_not_there(site, upstream, ref):
    with pytest.raises(SourceError) as caught:
        await (await site.once(upstream.url, ref=ref)).look()
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
        assert (await (await site.once(url)).look()).files == {"a.xml": b"A"}
