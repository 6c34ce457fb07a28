"""kill -9 of the reconciler at random moments while files change: nothing is lost or doubled.

RECONCILER_KILLS says how many (200), RECONCILER_SEED what the moments and changes come from.
"""

import os
import random
import signal
import time

import pytest

from tests.simulated.site import Site, ready

PARTS = 4  # independent runs, so that several processors can share the work
KILLS = int(os.environ.get("RECONCILER_KILLS", "200")) // PARTS
SEED = os.environ.get("RECONCILER_SEED", "seed")
NAMES = "abc"
SECOND = "<disk type='file'><source file='{}2.img'/><target dev='vdb' bus='virtio'/></disk>"


def change(site, dice, wanted):
    name = dice.choice(NAMES)
    state = dice.choice(["running", "running", "paused", "stopped"])
    memory = dice.choice([128, 128, 256])
    wanted[name] = (state, memory)
    devices = dice.choice(["", SECOND.format(name)])  # it comes and goes in a VM that runs
    site.drop(name, state=state, memory=memory, devices=devices)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_pain_9_rules_1_and_2_hold_over_many_kills(tmp_path, part):
    dice = random.Random(f"{SEED} {part}")
    site = Site(tmp_path)
    wanted = {}
    try:
        for name in NAMES:
            site.disk(f"{name}2")
            wanted[name] = ("running", 128)
            site.drop(name)
        site.start()
        for kill in range(KILLS):
            if kill % 10 == 9:
                # Let it come to rest once in a while: there must be something to lose.
                converged(site, wanted)
            else:
                # The moment is the point: anywhere between exec and rest, and right after a change.
                time.sleep(dice.uniform(0.0, 0.2))
                change(site, dice, wanted)
                time.sleep(dice.choice([0.0, 0.002, 0.01, 0.02, 0.05]))
            site.lives()
            site.kill(signal.SIGKILL)
            for name in NAMES:
                assert len(site.processes(name)) <= 1, f"{name} runs twice after kill {kill}"
            site.start()
        converged(site, wanted)
        assert not [e for e in site.events() if e.get("reason") == "InternalError"]
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
