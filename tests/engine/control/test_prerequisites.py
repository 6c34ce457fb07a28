"""The files that a domain needs are watched while its actions fail, and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.engine.control.prerequisites import PrerequisiteWatch


class Watch(PrerequisiteWatch):
    """Of one definition, which a test changes."""

    def __init__(self, site):
        self.definition = site.read()[0]
        self.changes = 0
        super().__init__(site.environment, site.environment.worker(lambda: None),
                         lambda: self.definition, self.count)

    def count(self):
        self.changes += 1

    async def changed(self):
        """Look; whether something was found."""
        before = self.changes
        self.look()
        await self.looked()
        return self.changes > before


@pytest.fixture
def watch(site):
    return Watch(site)


async def test_the_directory_of_every_file_is_watched_with_its_template_and_the_program(
        site, watch, tmp_path):
    for name in ("nvram", "templates", "bin"):
        (tmp_path / name).mkdir()
    site.environment.program = [str(tmp_path / "bin" / "stratovirt"), "-x", "relative"]
    watch.definition = replace(watch.definition, boot=replace(
        watch.definition.boot, nvram=str(tmp_path / "nvram" / "a"),
        nvram_template=str(tmp_path / "templates" / "t")))
    await watch.watch(wanted=True)
    assert site.watched.keys() == {
        tmp_path / name for name in ("images", "nvram", "templates", "bin")}
    (tmp_path / "nvram" / "a").touch()
    site.watched[tmp_path / "nvram"]()
    await watch.looked()
    assert watch.changes == 1
    await watch.watch(wanted=False)
    assert site.watched == {}


async def test_a_file_that_is_missing_is_awaited_at_the_nearest_directory(site, watch, tmp_path):
    site.environment.program = ["/no/such/program"]
    await watch.watch(wanted=True)
    assert site.watched.keys() == {tmp_path / "images", Path("/")}


@pytest.mark.parametrize("wanted", [True, False])
async def test_nothing_is_watched_without_a_failure_or_a_definition(site, watch, wanted):
    if wanted:
        watch.definition = None
    await watch.watch(wanted=wanted)
    assert site.watched == {}
    watch.definition = site.read()[0]
    assert not await watch.changed()


async def test_a_change_is_seen_once_also_one_before_the_next_watch(site, watch, tmp_path):
    await watch.watch(wanted=True)
    assert not await watch.changed()
    (tmp_path / "images" / "a.img").write_bytes(b"more")
    await watch.watch(wanted=True)  # the watch goes on: what it began with counts
    assert await watch.changed()
    assert not await watch.changed()
    (tmp_path / "images" / "a.img").unlink()
    assert await watch.changed()
    watch.close()
    (tmp_path / "images" / "a.img").touch()
    assert not await watch.changed()
