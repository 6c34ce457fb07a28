"""Whether a path leads to a file system that may not answer, found without touching that."""

from __future__ import annotations

import os

import pytest

from reconciler.host.mounts import Mounts
from tests.hung import hung


@pytest.fixture
def mounts(tmp_path):
    (tmp_path / "nfs").mkdir()
    return Mounts({"/": "ext4", str(tmp_path / "nfs"): "nfs4",
                   str(tmp_path / "nfs" / "ram"): "tmpfs", str(tmp_path / "fuse"): "fuse.sshfs"})


@pytest.mark.parametrize(("path", "kind"), [
    ("a.img", ""), ("nfs", "nfs4"), ("nfs/deep/a.img", "nfs4"), ("nfsx/a.img", ""),
    ("nfs/ram/a.img", "nfs4"), ("x/../nfs/a.img", "nfs4"), ("fuse/a.img", "fuse.sshfs")])
def test_rule_8_any_part_of_a_path_counts(mounts, tmp_path, path, kind):
    """Also what lies on the way to a local file system: it has to be passed."""
    assert mounts.remote_kind(tmp_path / path) == kind


def test_rule_8_links_are_followed_until_one_leads_away(mounts, tmp_path):
    (tmp_path / "one").symlink_to("two/a")
    (tmp_path / "two").symlink_to(tmp_path / "nfs")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "beside").symlink_to("nfs/../beside.img")
    assert mounts.remote_kind(tmp_path / "one") == "nfs4"
    assert mounts.remote_kind(tmp_path / "loop") == ""
    assert mounts.remote_kind(tmp_path / "beside") == "nfs4"  # the kernel looks up nfs as well


def test_rule_8_what_is_mounted_is_known_without_looking_at_it(tmp_path):
    place = tmp_path / "with space"
    place.mkdir()
    assert Mounts.now().remote_kind(place) == ""
    with hung(place):
        assert Mounts.now().remote_kind(place / "a.img") == "fuse.remote"
        (tmp_path / "link").symlink_to(place / "a.img")
        assert Mounts.now().remote_kind(tmp_path / "link") == "fuse.remote"
        os.chdir(tmp_path)
        assert Mounts.now().remote_kind("link") == "fuse.remote"
    assert Mounts.now().remote_kind(place) == ""
