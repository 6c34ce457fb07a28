"""A disk that somebody else writes: told in StratoVirt's words, and tried again."""

import fcntl

from tests.simulated.site import reason


def test_pain_15_a_paused_vm_whose_disk_is_in_use_is_not_resumed_and_told(site):
    site.drop(state="paused")
    site.settled("paused")
    with site.disk("a").open("r+b") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        site.drop(state="running")
        found = site.domain(lambda d: reason(d) in ("BackOff", "StartFailed"))
        assert "cont" in found["conditions"][0]["message"]
    site.settled("running")
