"""What two urls of one repository have in common."""

from __future__ import annotations

import pytest

from reconciler.sources.git_remote import repository_of


@pytest.mark.parametrize("url", [
    "https://git.example/team/vms.git", "https://user:secret@GIT.example/team/vms",
    "ssh://git@git.example:2222/team/vms.git/", "git@git.example:team/vms.git"])
def test_all_ways_to_a_repository_are_the_same_repository(url, tmp_path):
    assert repository_of(url, tmp_path) == "git.example/team/vms"


def test_a_local_repository_is_its_path(tmp_path):
    assert repository_of("vms.git", tmp_path) == f"{tmp_path}/vms"
