"""A domain is its uuid: renames, exchanges of names and new uuids give no VM to another domain.

Each set of changes is one commit, so that the reconciler sees it in one look.
"""

from __future__ import annotations

import json
import signal
import time

import pytest

from reconciler.stratovirt import process
from tests.simulated.site import REAL, condition, ready, reason
from tests.simulated.test_gitops import Deployment, text

UUIDS = {number: f"{number * 4}-{number * 4}-4{number * 3}-8{number * 3}-{number * 12}"
         .replace(number * 4, number * 8, 1) for number in "123"}
REASON = "storage moves"

# Before and after: number of the uuid -> name. Each domain has a disk of its own, by its number.
CHANGES = {
    "its old name is given to a new domain": ({"1": "b"}, {"1": "c", "2": "b"}),
    "two exchange their names": ({"1": "a", "2": "b"}, {"1": "b", "2": "a"}),
    "a chain": ({"1": "a", "2": "b"}, {"1": "b", "2": "c"}),
    "a cycle of three": ({"1": "a", "2": "b", "3": "c"}, {"1": "b", "2": "c", "3": "a"}),
}
# Those that need a name, directly or not, that the VM of the first domain keeps while it is held.
WAIT = {"its old name is given to a new domain": "2", "two exchange their names": "2",
        "a chain": "", "a cycle of three": "23"}


def definition(number: str, name: str, **values) -> bytes:
    """The domain with this uuid and this disk, under any name."""
    return text(name, **values).replace(
        f"<name>{name}</name>".encode(),
        f"<name>{name}</name><uuid>{UUIDS[number]}</uuid>".encode()).replace(
        f"{name}.img".encode(), f"disk{number}.img".encode())


class Names(Deployment):
    """Commits of whole sets of domains; what runs is found by uuid."""

    def commit(self, names: dict[str, str], *, reverse: bool = False, **values) -> None:
        """These and no others; the files are listed in the order of the numbers, or against it."""
        for number in names:
            self.disk(f"disk{number}")
        for old in (self.upstream.path / "domains").glob("*.xml"):
            old.unlink()
        prefix = {number: 9 - int(number) if reverse else int(number) for number in names}
        self.push({f"{prefix[number]}-domain": definition(number, name, **values)
                   for number, name in names.items()})

    def by_uuid(self, value: dict) -> dict[str, dict]:
        numbers = {uuid: number for number, uuid in UUIDS.items()}
        assert len({d["uuid"] for d in value["domains"]}) == len(value["domains"])
        return {numbers[d["uuid"]]: d for d in value["domains"]}

    def all_run(self, names: dict[str, str]) -> dict[str, int]:
        """Wait until these domains, and no others, run under these names; their pids by number."""
        found: dict[str, dict] = {}

        def so(value: dict) -> bool:
            found.clear()
            found.update(self.by_uuid(value))
            return {n: d["name"] for n, d in found.items()} == names and all(
                d["observed"]["state"] == "running" and ready(d) and not d["pending"]
                and d["observedGeneration"] == d["generation"] for d in found.values())

        self.until(so, f"{names} run")
        return {number: d["observed"]["pid"] for number, d in found.items()}

    def check(self, names: dict[str, str], pids: dict[str, int]) -> None:
        """One process for each domain, with its own disk, in the directory of its name."""
        assert set(pids) == set(names)
        for number, name in names.items():
            assert self.processes(name) == [pids[number]], name
            assert f"disk{number}.img" in " ".join(process.command_line(pids[number]))
        records = {path.stem: json.loads(path.read_text())["name"]
                   for path in (self.path / "state" / "domains").glob("*.json")}
        assert records == {UUIDS[number]: name for number, name in names.items()}
        failed = [e for e in self.events("action.failed") if "still runs as" not in e["error"]]
        assert failed == []


@pytest.fixture
def site(tmp_path):
    found = Names(tmp_path)
    yield found
    found.close()


def begin(site, names: dict[str, str]) -> dict[str, int]:
    site.commit(names)
    site.start()
    return site.all_run(names)


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "in reverse order"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_name_that_moves_takes_no_vm_with_it(site, change, reverse):
    before, after = CHANGES[change]
    old = begin(site, before)
    site.commit(after, reverse=reverse)
    site.verb("sync")
    pids = site.all_run(after)
    site.check(after, pids)
    assert not set(pids.values()) & set(old.values())
    started = [e["uuid"] for e in site.events("domain.started")]
    expected = [*before, *after]
    assert sorted(started) == sorted(UUIDS[number] for number in expected)


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "in reverse order"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_held_domain_keeps_its_vm_and_its_hold_when_names_move(site, change, reverse):
    before, after = CHANGES[change]
    old = begin(site, before)
    assert site.verb("hold", before["1"], "--reason", REASON).returncode == 0
    site.until(lambda value: condition(site.by_uuid(value)["1"], "Held"))
    site.commit(after, reverse=reverse)
    site.verb("sync")
    for restart in (False, True):
        if restart:
            site.kill()
            site.start()
        found = site.until(lambda value: {n: d["name"] for n, d in site.by_uuid(
            value).items()} == after and reason(site.by_uuid(value)["1"]) == "HoldRequested"
            and all(reason(site.by_uuid(value)[n]) == "WaitingForSlot" for n in WAIT[change]))
        held = site.by_uuid(found)["1"]
        assert REASON in condition(held, "Held")["message"]
        assert held["observed"]["pid"] == old["1"]
        assert all(not condition(d, "Held") for n, d in site.by_uuid(found).items() if n != "1")
        assert process.start_time(old["1"]) is not None
        for one in old.keys() & set(WAIT[change]):  # no VM is stopped for a name that is not free
            part = site.by_uuid(found)[one]
            assert (part["observed"]["pid"], reason(part)) == (old[one], "WaitingForSlot")
    assert site.verb("release", after["1"]).returncode == 0
    pids = site.all_run(after)
    site.check(after, pids)
    assert pids["1"] != old["1"]


@pytest.mark.parametrize("event", ["domain.accepted", "domain.recreating", "domain.stopping",
                                   "domain.stopped", "domain.starting", "domain.started"])
@pytest.mark.parametrize("change", ["its old name is given to a new domain",
                                    "two exchange their names", "a cycle of three"])
def test_names_move_though_the_reconciler_is_killed_meanwhile(site, change, event):
    before, after = CHANGES[change]
    begin(site, before)
    count = len(site.events(event))
    site.commit(after)
    site.verb("sync")
    while len(site.events(event)) == count:
        assert site.reconciler.poll() is None
        time.sleep(0.002)
    site.kill()
    site.start()
    pids = site.all_run(after)
    site.check(after, pids)


@pytest.mark.skipif(bool(REAL), reason="kills in the middle of what takes no time")
@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_another_uuid_keeps_what_is_known_of_a_domain(site, number, held):
    """Hold, generation, restarts and history go with the domain; a restart changes nothing."""
    pid = begin(site, {"1": "a"})["1"]
    if held:
        assert site.verb("hold", "a", "--reason", REASON).returncode == 0
        site.until(lambda value: condition(value["domains"][0], "Held"))
    known = site.until(lambda value: True)["domains"][0]
    site.disk("disk2")
    site.push({"1-domain": definition("2", "a").replace(b"disk2.img", b"disk1.img")})
    site.verb("sync")
    if not held:
        new = site.all_run({"2": "a"})["2"]
        assert new != pid
    expected = pid if held else new
    for restart in (False, True):
        if restart:
            site.kill(number)
            site.start()
        found = site.until(lambda value: [d["uuid"] for d in value["domains"]] == [UUIDS["2"]]
                           and value["domains"][0]["observed"]["pid"])["domains"][0]
        assert found["observed"]["pid"] == expected
        assert found["generation"] == known["generation"] + 1
        assert found["restarts"] == known["restarts"]
        assert found["history"][:1][0]["hash"] == known["history"][0]["hash"]
        assert bool(condition(found, "Held")) is held
        assert [path.name for path in (site.path / "state" / "domains").glob("[!.]*")] == [
            f"{UUIDS['2']}.json"]
    if held:
        assert site.verb("release", "a").returncode == 0
    assert site.all_run({"2": "a"})["2"] != pid
    assert len(site.events("domain.started")) == 2
    assert len(site.events("domain.recreating")) == 1


def test_a_change_of_uuid_that_was_cut_short_is_finished(site):
    """Killed after the record was written, and before its file had the new name."""
    pid = begin(site, {"1": "a"})["1"]
    site.kill()
    record = site.path / "state" / "domains" / f"{UUIDS['1']}.json"
    record.write_text(record.read_text().replace(UUIDS["1"], UUIDS["2"]))
    site.push({"1-domain": definition("2", "a").replace(b"disk2.img", b"disk1.img")})
    site.start()
    pids = site.all_run({"2": "a"})
    assert pids["2"] != pid
    assert [path.name for path in record.parent.glob("[!.]*")] == [f"{UUIDS['2']}.json"]
    assert site.events("domain.destroyed") == []
