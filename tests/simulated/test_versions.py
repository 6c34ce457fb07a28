"""Upgrades and downgrades over the same state: nothing is lost, holds are kept, VMs run on.

`oldest/` is what the oldest version with a format of its own has left behind: the files, its state,
and what it kept of two VMs that run (`a` has crashed once and has two definitions; `h` is held, and
its file says stopped). A newer version is today's, with fields that are not known yet.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.stratovirt import process, record
from reconciler.stratovirt.binary import SIMULATOR
from tests.simulated.left_over import left_over
from tests.simulated.site import REAL, Site, condition
from tests.values import of_a_newer_version

pytestmark = pytest.mark.skipif(bool(REAL), reason="the VMs of the older version are simulated")
OLDEST = Path(__file__).parent / "oldest"


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    yield found
    found.close()


@pytest.fixture
def pids(site):
    """What the oldest version has left behind is there, and its VMs run; their pids."""
    shutil.copytree(OLDEST, site.path, dirs_exist_ok=True)
    for path in site.path.rglob("*"):
        if path.is_file() and (OLDEST / path.relative_to(site.path)).exists():
            path.write_text(path.read_text().replace("@ROOT@", str(site.path)).replace(
                "@BOOT@", record.boot_id()))
    folder = (site.path / "domains").stat()
    changed(site.path / "state" / "source.json", device=folder.st_dev, inode=folder.st_ino)
    variables_of(site).parent.mkdir()
    variables_of(site).write_bytes(variables(site))
    for name in "ahc":
        site.disk(name)
    vms = {name: runs(site.path / "run" / "vms" / name) for name in "ah"}
    yield {name: vm.pid for name, vm in vms.items()}
    for vm in vms.values():
        vm.kill()
        vm.wait()


def variables_of(site):
    return site.settings.state / "nvram" / "a_VARS.fd"


def variables(site):
    """The firmware's, and something that the guest wrote."""
    return (site.path / "images" / "sample-firmware.fd").read_bytes()[:-5] + b"guest"


def runs(home):
    """A VM process as it was started there: its lock is inherited."""
    words = (home / "arguments").read_text().splitlines()
    with (home / process.LOCK).open("w") as lock, (home / "stderr").open("wb") as stderr:
        fcntl.flock(lock, fcntl.LOCK_EX)
        vm = subprocess.Popen([sys.executable, "-I", "-S", SIMULATOR, *words], stderr=stderr,
                              stdout=stderr, stdin=subprocess.DEVNULL, start_new_session=True,
                              pass_fds=[lock.fileno()])
    changed(home / record.RECORD, pid=vm.pid, started=process.start_time(vm.pid))
    return vm


def changed(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def stays_as_it_is(site, pids):
    """What runs is that process; what is held is; and nothing was done."""
    for name, pid in pids.items():
        assert site.domain(lambda d: d["observed"]["state"] == "running", name)["observed"][
            "pid"] == pid
        assert site.processes(name) == [pid]
    held = site.domain(lambda d: condition(d, "Held") and condition(d, "Drifted"), "h")
    assert condition(held, "Held")["message"].endswith(": mine")
    site.settled("absent", "c")
    assert {e["event"] for e in site.events()}.isdisjoint(
        {"domain.starting", "domain.stopping", "domain.recreating", "domain.destroyed"})
    assert not list(site.settings.state.rglob("*.unreadable"))


def history(site, name="a"):
    lines = site.verb("history", name).stdout.splitlines()[1:]
    return [line.split()[0] for line in lines if line]


def kept_of(site, name="a"):
    uuid = next(d["uuid"] for d in site.until(lambda value: True)["domains"] if d["name"] == name)
    return json.loads((site.settings.state / "domains" / f"{uuid}.json").read_text())


def shape(value):
    """The keys of a JSON object and of those in it."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    return None


def test_rule_2_an_upgrade_from_the_oldest_state_changes_nothing(site, pids):
    site.start()
    site.settled("running")
    stays_as_it_is(site, pids)
    a = site.domain(lambda d: d["restarts"]["total"] == 1)
    assert (a["generation"], a["restarts"]["byKind"]) == (2, {"killed": 1})
    assert history(site) == ["2", "1"]
    assert variables_of(site).read_bytes() == variables(site)
    revisions = site.until(lambda value: True)["source"]["history"]
    assert [revision["result"] for revision in revisions][:4] == ["success"] * 4
    # What was kept can be used.
    assert site.verb("rollback", "a", "--to", "1").returncode == 0
    site.domain(lambda d: d["observed"].get("memoryBytes") == 128 << 20)
    assert variables_of(site).read_bytes() == variables(site)
    assert site.verb("release", "h").returncode == 0
    site.settled("absent", "h")
    site.waits(lambda: not left_over(site, set("ahc")))


def test_what_is_written_can_be_read_by_the_oldest_version(site, pids):
    """It ignores unknown keys at the top level of a record, and nowhere else."""
    site.start()
    site.settled("running")
    site.drop(memory=512)
    site.domain(lambda d: d["observed"].get("memoryBytes") == 512 << 20
                and d["observedGeneration"] == d["generation"])
    assert site.processes() != [pids["a"]]
    for name in "ah":
        now = kept_of(site, name)
        then = json.loads((OLDEST / "state" / "domains" / f"{now['uuid']}.json").read_text())
        assert then.keys() <= now.keys()
        for key in then.keys() - {"definition", "good", "places", "history"}:
            assert shape(now[key]) == shape(then[key]), key
        for key in ("definition", "good"):
            assert now[key].keys() == then[key].keys()
        place, = {frozenset(place) for place in then["places"].values()}
        assert {frozenset(each) for each in now["places"].values()} == {place}
    now, then = (json.loads((root / "run" / "vms" / "a" / record.RECORD).read_text())
                 for root in (site.path, OLDEST))
    assert then.keys() <= now.keys()
    for key in ("places", "ports"):
        assert {frozenset(each) for each in now[key].values()} == {place}


def test_rule_2_a_downgrade_to_this_version_changes_nothing(site):
    for name in "ahc":
        site.drop(name)
    site.start()
    pids = {name: site.settled("running", name)["observed"]["pid"] for name in "ahc"}
    os.kill(pids["a"], 9)
    site.domain(lambda d: d["restarts"]["total"] == 1)
    site.settled("running")
    site.drop(memory=256)
    site.domain(lambda d: d["observed"].get("memoryBytes") == 256 << 20
                and d["observedGeneration"] == d["generation"])
    site.drop("c", state="stopped")
    site.settled("absent", "c")
    assert site.verb("hold", "h", "--reason", "mine").returncode == 0
    assert site.verb("hold", "--all", "--reason", "all mine").returncode == 0
    site.drop("h", state="stopped")
    site.domain(lambda d: condition(d, "Held") and condition(d, "Drifted"), "h")
    numbers = history(site)
    pids = {name: site.processes(name)[0] for name in "ah"}
    generation = site.domain(lambda d: True)["generation"]
    site.kill()
    state = site.settings.state
    for path in (*state.glob("*.json"), *state.glob("domains/*.json"),
                 *site.settings.runtime.glob("vms/*/record.json")):
        of_a_newer_version(path)
    (state / "events.jsonl").unlink()
    site.start()
    site.until(lambda value: all(condition(d, "Held") for d in value["domains"]))
    assert site.verb("release", "--all").returncode == 0
    site.settled("running")
    stays_as_it_is(site, pids)
    a = site.domain(lambda d: d["restarts"]["total"] == 1)
    assert (a["generation"], history(site)) == (generation, numbers)


def test_an_exit_of_a_kind_that_is_not_known_yet_is_no_damage(site):
    site.drop()
    site.start()
    os.kill(site.settled("running")["observed"]["pid"], 9)
    site.domain(lambda d: d["restarts"]["total"] == 1)
    pid = site.settled("running")["observed"]["pid"]
    found = kept_of(site)
    site.kill()
    found["ledger"]["last_exit"]["kind"] = "frozen"
    (site.settings.state / "domains" / f"{found['uuid']}.json").write_text(json.dumps(found))
    site.start()
    site.domain(lambda d: d["restarts"]["total"] == 1 and not condition(d, "Held"))
    assert site.processes() == [pid]
