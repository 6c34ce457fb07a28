"""From the settings to what files are read with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.engine.composition import reading_host
from reconciler.settings import Settings
from reconciler.settings.sections import Source


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "config.yaml", machine_id=tmp_path / "machine-id")


@pytest.mark.parametrize(("source", "repository"), [
    (Source(), ""),
    (Source(identity="site-7"), "site-7"),
    (Source(kind="git", url=("git@git.example:vms.git", "https://two.example/")),
     "git.example/vms main domains"),
    (Source(kind="git", url=("https://git.example/vms",), ref="v1", path="."),
     "git.example/vms v1 ."),
    (Source(kind="git", url=("https://git.example/vms",), identity="x"), "x"),
    (Source(kind="git"), ""),
    (Source(kind="git", url=("ftp://x",)), "")])
def test_what_all_hosts_of_a_repository_have_in_common(settings, source, repository):
    assert reading_host(replace(settings, source=source)).repository == repository


def test_each_host_has_an_id_of_its_own(settings):
    settings.machine_id.write_text("3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    assert reading_host(settings).machine
