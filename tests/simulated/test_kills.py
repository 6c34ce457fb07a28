"""kill -9 of the reconciler at random steps while files change: nothing is lost or doubled.

RECONCILER_KILLS says how many, RECONCILER_SEED what the steps and changes come from; `make kills`
does a thousand.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from reconciler.failpoints import ANY, KILL, VARIABLE
from tests.simulated.left_over import left_over
from tests.simulated.site import Site, ready

PARTS = 4  # independent runs, so that several processors can share the work
KILLS = max(int(os.environ.get("RECONCILER_KILLS", "24")) // PARTS, 1)
SEED = os.environ.get("RECONCILER_SEED", "seed")
NAMES = "abc"
SECOND = "<disk type='file'><source file='{}2.img'/><target dev='vdb' bus='virtio'/></disk>"
MOST_POINTS = 60  # a recreate passes about 40
PATIENCE = 0.5  # seconds until it is killed wherever it is


def change(site, dice, wanted):
    name = dice.choice(NAMES)
    if dice.random() < 0.15:
        site.file(name).unlink(missing_ok=True)
        wanted.pop(name, None)
        return
    state = dice.choice(["running", "running", "paused", "stopped"])
    memory = dice.choice([128, 128, 256])
    wanted[name] = (state, memory)
    devices = dice.choice(["", SECOND.format(name)])  # it comes and goes in a VM that runs
    site.drop(name, state=state, memory=memory, devices=devices)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_pain_9_rules_1_and_2_hold_over_many_kills(tmp_path, part):
    dice = random.Random(f"{SEED} {part}")
    points = tmp_path / "points"
    points.mkdir()
    site = Site(tmp_path, env={VARIABLE: str(points)}, prune="settle: 200ms, hold_minimum: 9")
    wanted = {}
    try:
        for name in NAMES:
            site.disk(f"{name}2")
            wanted[name] = ("running", 128)
            site.drop(name)
        site.start()
        for kill in range(KILLS):
            if kill % 10 == 3:
                # Let it come to rest once in a while: there must be something to lose.
                converged(site, wanted)
            (points / "fresh").write_text(f"{KILL} {dice.randint(1, MOST_POINTS)}")
            (points / "fresh").replace(points / ANY)
            for _ in range(dice.randint(1, 3)):
                change(site, dice, wanted)
                time.sleep(dice.choice([0.0, 0.002, 0.02]))
            deadline = time.monotonic() + PATIENCE
            while site.reconciler.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            assert site.kill() == -signal.SIGKILL
            (points / ANY).unlink(missing_ok=True)
            for name in NAMES:
                assert len(site.processes(name)) <= 1, f"{name} runs twice after kill {kill}"
            site.start()
        converged(site, wanted)
        assert not [e for e in site.events() if e.get("reason") == "InternalError"]
    except AssertionError as error:
        error.add_note(f"RECONCILER_SEED={SEED}, part {part}")
        raise
    finally:
        site.close()


def converged(site, wanted):
    states = {"running": "running", "paused": "paused", "stopped": "absent"}
    for name, (state, memory) in wanted.items():
        observed = {"state": states[state]}
        if state != "stopped":
            observed["memoryBytes"] = memory << 20
        # Right after a restart its last definition may still be in force, and be all it should be:
        # a file that was written a moment ago counts as unfinished.
        site.domain(lambda d, observed=observed, memory=memory:
                    observed.items() <= d["observed"].items() and ready(d)
                    and d["observedGeneration"] == d["generation"]
                    and d["desired"]["memoryBytes"] == memory << 20
                    and all(p["blockedBy"].startswith("guest") for p in d["pending"]), name)
        assert len(site.processes(name)) == (0 if state == "stopped" else 1)
    site.until(lambda value: {d["name"] for d in value["domains"]} == set(wanted))
    found: list[str] = []

    def clean():
        found[:] = left_over(site, set(wanted))
        return not found

    site.waits(clean, found)
