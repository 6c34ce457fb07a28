"""What a start that fails leaves on the host: nothing. On real taps, in a network of its own."""

from __future__ import annotations

import asyncio
import sys

import pytest

from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.daemon import Daemon
from reconciler.host import taps
from reconciler.report.events import Journal
from reconciler.settings import load
from reconciler.stratovirt.binary import Binary
from tests.engine.making import Place, running, until
from tests.host.test_taps import apart

CARD = ("<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
        "<target dev='tap-a'/></interface>")


class NoLuck(Place):
    """Its hypervisor ends as soon as it is started."""

    def make(self) -> Daemon:
        program = self.path / "stratovirt"
        program.write_text(f"#!{sys.executable} -IS\nraise SystemExit('no luck')\n")
        program.chmod(0o755)
        settings = load(self.path / "config.yaml", {})
        journal = Journal(settings.state / "events.jsonl", self.events.append)
        return Daemon(settings, Binary((str(program),), simulated=False), journal,
                          reading_host(settings), read_domain)


@pytest.mark.parametrize(("why", "obstacle"), [
    ("it ends at once", ""), ("nothing can be written of it", ".definition.xml.new"),
    ("its output cannot be opened", "stderr")])
def test_pain_16_half_a_start_leaves_nothing_behind(tmp_path, why, obstacle):
    place = NoLuck(tmp_path, "reconcile: {backoff: {initial: 50ms}}\n")
    if obstacle:
        (tmp_path / "run" / "vms" / "a" / obstacle).mkdir(parents=True)
    place.drop("a", "running", devices=CARD)

    def test():
        async def fails():
            async with running(place) as reconciler:
                await until(reconciler, lambda: len(place.reported("action.failed")) > 1)
                assert not taps.exists("tap-a")
                assert all("no luck" in e["error"] for e in place.reported("action.failed")) is (
                    not obstacle), why

        asyncio.run(fails())

    apart(test)
