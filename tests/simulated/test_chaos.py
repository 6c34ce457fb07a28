"""Everything happens at once; afterwards files and processes agree, and nothing is left over.

RECONCILER_CHAOS_MINUTES says for how long, RECONCILER_CHAOS_VMS with how many VMs, RECONCILER_SEED
what the actions come from: `make chaos MINUTES=30 SEED=1`.
"""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.host.test_taps import apart
from tests.simulated.chaos import Chaos, Commits, Limited, Networked
from tests.simulated.left_over import left_over
from tests.simulated.site import REAL

pytestmark = [pytest.mark.skipif(bool(REAL), reason="faults are the simulator's"),
              pytest.mark.long]
SECONDS = 60 * float(os.environ.get("RECONCILER_CHAOS_MINUTES", "0.2"))
COUNT = int(os.environ.get("RECONCILER_CHAOS_VMS", "10"))
SEED = os.environ.get("RECONCILER_SEED", "seed")
MOST_DESCRIPTORS = 8  # more than a reconciler that was just started has
MOST_MEMORY = 24 << 20  # bytes more


@pytest.mark.parametrize("kind", [Limited, Commits])
def test_pain_9_rules_1_and_2_hold_in_chaos(tmp_path, kind):
    happens(kind, tmp_path)


def test_rules_1_and_5_hold_in_chaos_on_a_network(tmp_path):
    apart(lambda: happens(Networked, tmp_path))


def happens(kind: type[Chaos], path) -> None:
    state = path / "state"
    state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", state],
                             check=False, capture_output=True).returncode == 0
    print(f"RECONCILER_SEED={SEED}")
    site = kind(path, SEED, COUNT)
    try:
        site.start()
        site.converges()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            site.act()
        ends(site)
    except Exception as error:
        error.add_note(f"RECONCILER_SEED={SEED}, after {len(site.done)} actions, last: "
                       f"{', '.join(site.done[-12:])}")
        raise
    finally:
        site.close()
        if mounted:
            subprocess.run(["umount", "-l", state], check=True)


def ends(site: Chaos) -> None:
    """It comes to what is wanted; the next reconciler needs as much, and then all goes."""
    site.calm()
    site.converges(tidy=False)  # what a step left that failed, the next reconciler removes
    before = site.vms()
    descriptors, memory = site.descriptors(), site.memory()
    site.kill()
    site.start_again()
    site.converges()
    assert site.vms() == before, "a restart of the reconciler has restarted VMs"
    more = descriptors - site.descriptors()
    assert more.total() <= MOST_DESCRIPTORS, more
    assert memory <= site.memory() + MOST_MEMORY
    assert not [e for e in site.events() if e.get("reason") == "InternalError"]
    site.remove_all()
    site.converges()
    assert site.vms() == {}
    site.kill()
    assert left_over(site, set()) == []
