"""A disk that another process writes: StratoVirt's error is reported, and the start is retried."""

import fcntl

from tests.simulated.site import Site, condition, reason


def test_pain_15_a_paused_vm_whose_disk_is_in_use_is_reported_and_not_resumed(site):
    site.drop(state="paused")
    site.settled("paused")
    with site.disk("a").open("r+b") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        site.drop(state="running")
        found = site.domain(lambda d: reason(d) in ("BackOff", "StartFailed"))
        assert "cont" in found["conditions"][0]["message"]
    site.settled("running")


def test_pain_15_of_two_reconcilers_only_one_vm_gets_a_disk(tmp_path):
    sites = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sites.append(Site(tmp_path / name))
    one, two = sites
    try:
        one.start()
        two.start()
        one.drop()
        pid = one.settled("running")["observed"]["pid"]
        two.drop(file=".a")
        data = (two.path / "domains" / ".a").read_bytes().replace(
            b"</name>", b"</name><uuid>5ee5b4d5-0000-4000-8000-000000000001</uuid>")
        two.put("a.xml", data.replace(b"'a.img'", f"'{one.disk('a')}'".encode()))
        found = two.domain(lambda d: condition(d, "Stalled"))
        assert condition(found, "Stalled")["reason"] == "StartFailed"
        assert "lock" in condition(found, "Stalled")["message"]
        assert (one.processes(), two.processes()) == ([pid], [])
        assert one.settled("running")["observed"]["pid"] == pid
        # Once the first lets go, the second has it.
        one.drop(state="stopped")
        assert two.settled("running")
    finally:
        for site in sites:
            site.close()
