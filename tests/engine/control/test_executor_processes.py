"""A start that fails leaves nothing on the host: on real taps, in a network namespace."""

from __future__ import annotations

import asyncio
import sys

import pytest

from reconciler.host import links
from reconciler.stratovirt.binary import Binary
from tests.engine.making import Place, running, until
from tests.host.test_taps import apart

CARD = ("<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
        "<target dev='tap-a'/></interface>")


class FailingPlace(Place):
    """Its hypervisor ends as soon as it is started."""

    def binary(self) -> Binary:
        program = self.path / "stratovirt"
        program.write_text(f"#!{sys.executable} -IS\nraise SystemExit('no luck')\n")
        program.chmod(0o755)
        return Binary((str(program),), simulated=False)


@pytest.mark.parametrize(("why", "obstacle"), [
    ("it ends at once", ""), ("its definition cannot be written", ".definition.xml.new"),
    ("its output cannot be opened", "stderr")])
def test_pain_16_a_start_that_fails_leaves_no_tap_behind(tmp_path, why, obstacle):
    place = FailingPlace(tmp_path, "reconcile: {backoff: {initial: 50ms}}\n")

    def test():
        async def fails():
            async with running(place) as daemon:
                if obstacle:
                    (tmp_path / "run" / "vms" / "a" / obstacle).mkdir(parents=True)
                place.drop("a", "running", devices=CARD)
                await until(daemon, lambda: len(place.reported("action.failed")) > 1)
                assert not links.exists("tap-a")
                assert all("no luck" in e["error"] for e in place.reported("action.failed")) is (
                    not obstacle), why

        asyncio.run(fails())

    apart(test)
