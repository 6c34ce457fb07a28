"""The files that a domain needs are watched while its actions fail, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.engine.control.prerequisites import PrerequisiteWatch


@pytest.fixture
def watch(site):
    return PrerequisiteWatch(site.environment, lambda: site.wakes.append("changed"))


def test_every_file_is_watched_with_its_template_and_the_program(site, watch, tmp_path):
    site.environment.program = ["/usr/bin/stratovirt", "-x", "relative"]
    domain, _ = site.read()
    domain = replace(domain, boot=replace(domain.boot, nvram="/nvram", nvram_template="/template"))
    watch.watch(domain, wanted=True)
    assert site.watched.keys() == {
        str(tmp_path / "images" / "a.img"), str(tmp_path / "images" / "fw.fd"), "/nvram",
        "/template", "/usr/bin/stratovirt"}
    site.watched["/nvram"]()
    assert site.wakes == ["changed"]
    watch.watch(domain, wanted=False)
    assert site.watched == {}


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_is_watched_without_a_failure_or_a_definition(site, watch, wanted):
    domain = None if wanted else site.read()[0]
    watch.watch(domain, wanted=wanted)
    assert site.watched == {}
    assert not watch.changed(site.read()[0])


def test_a_change_is_seen_once_also_one_before_the_next_watch(site, watch, tmp_path):
    domain, _ = site.read()
    watch.watch(domain, wanted=True)
    assert not watch.changed(domain)
    (tmp_path / "images" / "a.img").write_bytes(b"more")
    watch.watch(domain, wanted=True)  # the watch goes on: what it began with counts
    assert watch.changed(domain)
    assert not watch.changed(domain)
    (tmp_path / "images" / "a.img").unlink()
    assert watch.changed(domain)
    watch.close()
    (tmp_path / "images" / "a.img").touch()
    assert not watch.changed(domain)
