"""The files of a revision, from real repositories of git."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from reconciler.errors import SourceError
from reconciler.sources.listing import LONGEST
from reconciler.sources.revision import files_of

WHO = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def read(directory, ref, include):
    return asyncio.run(files_of(directory, ref, include))


class Repository:
    def __init__(self, path):
        self.path = path
        self.domains = path / "domains"
        self.domains.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words):
        return subprocess.run(["git", *WHO, "-C", str(self.path), *words], check=True,
                              capture_output=True, text=True).stdout.strip()

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    found = Repository(tmp_path / "r")
    (found.domains / "a.xml").write_bytes(b"one")
    (found.path / "b.xml").write_bytes(b"beside")
    found.commit()
    return found


def listing(repository, ref="main", include=("*.xml",)):
    return read(repository.domains, ref, include)


def test_pain_12_the_files_are_those_of_the_commit_and_not_of_the_work_tree(repository):
    repository.git("checkout", "-q", "-b", "change")
    (repository.domains / "a.xml").write_bytes(b"two\0\n")
    (repository.domains / "ä b.xml").write_bytes(b"")
    commit = repository.commit()
    repository.git("checkout", "-q", "main")
    (repository.domains / "a.xml").write_bytes(b"uncommitted")
    found = listing(repository, "change")
    assert found.files == {"a.xml": b"two\0\n", "ä b.xml": b""}
    assert found.commit == f"change@sha1:{commit}"
    assert found.complete
    assert listing(repository).files == {"a.xml": b"one"}
    for name in (commit, commit[:10], "refs/heads/change", "main~0"):
        assert listing(repository, name).files


def test_what_the_source_would_not_read_is_not_read(repository):
    for name in (".a.xml", "a.xml~", "#a.xml", "a.yaml"):
        (repository.domains / name).write_bytes(b"x")
    (repository.domains / "below").mkdir()
    (repository.domains / "below" / "c.xml").write_bytes(b"x")
    repository.commit()
    assert sorted(listing(repository).files) == ["a.xml"]
    assert sorted(listing(repository, include=("*.yaml",)).files) == ["a.yaml"]


def test_a_directory_that_is_the_whole_repository(repository):
    assert read(repository.path, "main", ("*.xml",)).files == {"b.xml": b"beside"}


def test_links_and_directories_are_named_with_the_reason(repository):
    (repository.domains / "link.xml").symlink_to("../b.xml")
    (repository.domains / "dir.xml").mkdir()
    (repository.domains / "dir.xml" / "x").touch()
    repository.commit()
    found = listing(repository)
    assert (sorted(found.files), found.complete) == (["a.xml"], True)
    assert found.unreadable == {"link.xml": "a symbolic link, which is not followed",
                                "dir.xml": "not a regular file"}


def test_a_file_that_is_too_long_is_read_as_far_as_it_takes_to_refuse_it(repository):
    (repository.domains / "a.xml").write_bytes(b"x" * (LONGEST + 10))
    repository.commit()
    assert len(listing(repository).files["a.xml"]) == LONGEST + 1


@pytest.mark.parametrize("ref", ["none", "", "--all", "-h", "main:domains/a.xml", "HEAD^9"])
def test_what_is_not_a_revision_is_refused(repository, ref):
    with pytest.raises(SourceError, match="is not a branch"):
        listing(repository, ref)


def test_a_revision_without_the_directory_is_not_evidence(repository):
    repository.git("checkout", "-q", "-b", "change")
    repository.git("rm", "-q", "-r", "domains")
    repository.commit()
    repository.git("checkout", "-q", "main")
    with pytest.raises(SourceError, match="has no directory domains"):
        listing(repository, "change")


def test_a_directory_outside_a_repository_is_refused(tmp_path):
    with pytest.raises(SourceError, match="not a git repository"):
        read(tmp_path, "main", ("*.xml",))
    with pytest.raises(SourceError, match="no such directory"):
        read(tmp_path / "none", "main", ("*.xml",))


def test_without_git_the_message_says_so(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SourceError, match="no such program"):
        listing(repository)


def test_no_configuration_of_user_or_repository_takes_effect(repository, tmp_path, monkeypatch):
    """Neither the caller's environment nor the repository's own settings run anything."""
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n")
    script.chmod(0o755)
    other = Repository(tmp_path / "other")
    (other.path / "x").touch()
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external"):
        subprocess.run(["git", "-C", str(repository.path), "config", key, str(script)], check=True,
                       env={k: v for k, v in os.environ.items() if k != "GIT_DIR"})
    (repository.path / ".gitattributes").write_text("*.xml filter=evil export-subst\n")
    assert listing(repository).files == {"a.xml": b"one"}
    assert not ran.exists()
