"""Which files a review is about."""

from __future__ import annotations

import subprocess

import pytest

from reconciler.engine.dryrun.target import Kind, Target, files
from reconciler.errors import SourceError, UsageError
from reconciler.settings import load
from reconciler.sources import git_record
from reconciler.sources.git_record import Accepted
from tests.values import xml

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")


def settings(path, config=""):
    (path / "config.yaml").write_text(f"paths: {{state: state}}\n{config}")
    return load(path / "config.yaml", {})


async def test_the_source_and_another_directory(tmp_path):
    for place in ("domains", "other"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"{place}.xml").write_bytes(xml())
    found = settings(tmp_path)
    assert list((await files(found, Target())).files) == ["domains.xml"]
    other = Target(Kind.DIRECTORY, str(tmp_path / "other"))
    assert list((await files(found, other)).files) == ["other.xml"]
    with pytest.raises(UsageError, match="no such directory"):
        await files(found, Target(Kind.DIRECTORY, str(tmp_path / "none")))


async def test_what_somebody_writes_just_now_is_no_target(tmp_path):
    (tmp_path / "domains").mkdir()
    found = settings(tmp_path)
    with (tmp_path / "domains" / "a.xml").open("w") as writer:
        writer.write("<domain")
        writer.flush()
        assert (await files(found, Target())).unfinished == {"a.xml"}
        with pytest.raises(SourceError, match="being written right now"):
            await files(found, Target(Kind.DIRECTORY, str(tmp_path / "domains")))


@pytest.mark.parametrize("inside", ["", "vms"])
async def test_a_git_source_is_what_was_accepted_last(tmp_path, inside):
    found = settings(tmp_path, "source: {kind: git, url: 'https://example.org/r', ref: main, "
                               f"path: '{inside}'}}")
    with pytest.raises(SourceError, match="no commit .* was accepted"):
        await files(found, Target())
    place = tmp_path / "r" / inside
    place.mkdir(parents=True)
    (place / "a.xml").write_bytes(xml())

    def git(*words):
        return subprocess.run([*GIT, "-C", str(tmp_path / "r"), *words], check=True,
                              capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "x")
    home = tmp_path / "state" / "git"
    home.mkdir(parents=True)
    git("clone", "-q", "--bare", ".", str(home / "clone"))
    commit = git("rev-parse", "HEAD")
    git_record.save(home / "accepted.json",
                    Accepted(("https://example.org/r",), "main", inside, commit, "now"))
    listing = await files(found, Target())
    assert listing.files == {"a.xml": xml()}
    assert listing.commit == f"main@sha1:{commit}"
    # What was accepted under another configuration says nothing about this one.
    for other in ("{kind: git, url: 'https://example.org/other', ref: main, path: '%s'}",
                  "{kind: git, url: 'https://example.org/r', ref: next, path: '%s'}",
                  "{kind: git, url: 'https://example.org/r', ref: main, path: 'x%s'}"):
        with pytest.raises(SourceError, match="no commit of the configured git repository"):
            await files(settings(tmp_path, f"source: {other % inside}"), Target())
    both = "['https://example.org/other', 'https://example.org/r']"
    more = settings(tmp_path, f"source: {{kind: git, url: {both}, ref: main, path: '{inside}'}}")
    assert (await files(more, Target())).files == {"a.xml": xml()}


async def test_another_ref_of_a_git_source_comes_from_its_server(tmp_path):
    place = tmp_path / "r" / "domains"
    place.mkdir(parents=True)
    (place / "a.xml").write_bytes(xml())
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"],
                  ["checkout", "-q", "-b", "next"]):
        subprocess.run([*GIT, "-C", str(tmp_path / "r"), *words], check=True)
    (place / "b.xml").write_bytes(xml("b"))
    for words in (["add", "-A"], ["commit", "-q", "-m", "y"]):
        subprocess.run([*GIT, "-C", str(tmp_path / "r"), *words], check=True)
    found = settings(tmp_path, f"source: {{kind: git, url: 'file://{tmp_path}/r', ref: main}}")
    listing = await files(found, Target(Kind.REF, "next"))
    assert sorted(listing.files) == ["a.xml", "b.xml"]
    assert listing.commit.startswith("next@sha1:")
    assert not found.state.exists()  # nothing of it is kept
    with pytest.raises(SourceError, match="no branch or tag nowhere"):
        await files(found, Target(Kind.REF, "nowhere"))
