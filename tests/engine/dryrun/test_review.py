"""What would be done if the source were another set of files; on values, without any VM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.decide.attempts import Attempts
from reconciler.engine.decide.inputs import Hold, Now, Vm, VmState
from reconciler.engine.dryrun.entry import Drawn
from reconciler.engine.dryrun.review import meaning, review
from reconciler.engine.dryrun.saved_plan import moved, plan_file, target_of
from reconciler.engine.dryrun.snapshot import KnownDomain, Snapshot
from reconciler.engine.dryrun.target import Kind, Target
from reconciler.engine.records.store import DomainRecord, StoredDefinition
from reconciler.errors import UsageError
from reconciler.settings import load
from reconciler.sources.listing import Listing
from reconciler.stratovirt.record import Record
from tests.values import xml

NOW = Now(1000.0, 1_800_000_000.0)
NEVER = "windows: {nights: {allow: '2001-01-01 22:00-23:00', timezone: UTC}}"


class Bench:
    """A world in which each of `names` runs as its file says."""

    def __init__(self, path, names="", config="", **values):
        (path / "config.yaml").write_text(f"paths: {{state: state, images: images}}\n{config}")
        self.settings = load(path / "config.yaml", {})
        self.files = {f"{name}.xml": xml(name, **values) for name in names}
        self.world = Snapshot({known.memory.uuid: known for known in map(self.known, self.files)})

    def known(self, file):
        data = self.files[file]
        host = reading_host(self.settings)
        domain = read_domain(data, file, host)
        text = StoredDefinition(data.decode(), file, "", host.keep())
        attempts = Attempts(observed_generation=1, last_settled_state=str(domain.policy.state))
        running = domain.policy.state != "stopped"
        vm = Vm(VmState.RUNNING, 42, generation=1) if running else Vm(VmState.ABSENT)
        return KnownDomain(DomainRecord(domain.uuid, domain.name, 1, text, text, attempts), domain,
                           domain, vm,
                     domain if running else None, Record(domain.name, domain.uuid, pid=42),
                     data)

    def one(self, name, **values):
        """Change what is known of one."""
        uuid = next(u for u, k in self.world.domains.items() if k.memory.name == name)
        known = replace(self.world.domains[uuid], **values)
        self.world = Snapshot(self.world.domains | {uuid: known}, self.world.hold)

    def look(self, files=None, obeyed=(), **listing):
        found = Listing(self.files if files is None else files, **listing)
        return review(self.settings, self.world, meaning(self.settings, self.world, found), NOW,
                      frozenset(self.uuid(name) for name in obeyed))

    def uuid(self, name):
        return next(u for u, k in self.world.domains.items() if k.memory.name == name)

    def actions(self, *args, **values):
        return {p["name"]: f"{p['action']}{' waits' if p['waits'] else ''}"
                for p in self.look(*args, **values).value()["plans"] if p["action"] != "none"}

    def drawn(self, files=None, commit=""):
        listing = Listing(self.files if files is None else files, commit=commit)
        return Drawn(self.look(files, commit=commit), self.world, listing, Listing(self.files))


@pytest.fixture
def bench(tmp_path):
    return lambda names="", **more: Bench(tmp_path, names, **more)


def test_rule_4_what_means_the_same_does_nothing(bench):
    there = bench("ab")
    other = there.files["a.xml"].replace(b"unit='MiB'>128", b"unit='KiB'>131072")
    assert there.actions({"moved.xml": other, "b.xml": there.files["b.xml"]}) == {}


def test_rule_3_where_the_source_is_not_known_nothing_goes(bench):
    there = bench("ab")
    found = review(there.settings, there.world, "it is not mounted", NOW).value()
    assert found["sourceError"] == "it is not mounted"
    assert [p["action"] for p in found["plans"]] == ["none", "none"]


def test_rule_3_a_file_that_is_invalid_stops_nothing(bench):
    there = bench("ab")
    value = there.look({**there.files, "a.xml": b"<domain>"}).value()
    assert [(p["action"], p["conditions"][0]["reason"]) for p in value["plans"]] == [
        ("none", "InvalidDefinition"), ("none", "InSync")]
    assert [entry["file"] for entry in value["invalid"]] == ["a.xml"]


@pytest.mark.parametrize("listing", [
    {"complete": False}, {"unfinished": frozenset({"c.xml"})}, {"unreadable": {"x.xml": "no"}}])
def test_rule_6_what_cannot_be_read_may_be_what_is_missing(bench, listing):
    there = bench("ab")
    assert there.actions({"a.xml": there.files["a.xml"]}, **listing) == {}
    assert there.actions({"a.xml": there.files["a.xml"]}) == {"b": "destroy"}


def test_rule_6_the_breaker_is_shown(bench):
    there = bench("abcd")
    rest = {"d.xml": there.files["d.xml"]}
    assert there.actions(rest) == dict.fromkeys("abc", "destroy waits")
    assert {c["reason"] for p in there.look(rest).value()["plans"] for c in p["conditions"]
            if c["type"] == "PruneHeld"} == {"MassRemoval"}
    # What was gone before is no news: then it is two of three, and obeyed.
    assert there.actions(rest, obeyed="a") == dict.fromkeys("abc", "destroy")


def test_rule_6_what_the_breaker_has_it_keeps(bench):
    there = bench("abcd")
    known = there.world.domains[there.uuid("a")]
    there.one("a", memory=replace(known.memory, prune_held=True))
    rest = {f: d for f, d in there.files.items() if f != "a.xml"}
    assert there.actions(rest) == {"a": "destroy waits"}


def test_a_switched_off_prune_removes_nothing(bench):
    assert bench("ab", config="prune: {enabled: false}").actions({}) == {}


def test_a_domain_is_known_by_its_name_where_its_uuid_is_another(bench):
    there = bench("a")
    uuid = b"</name><uuid>aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee</uuid>"
    data = there.files["a.xml"].replace(b"</name>", uuid)
    assert there.actions({"a.xml": data}) == {"a": "recreate"}


def test_a_window_that_is_shut_holds_a_recreate(bench):
    there = bench("a", config=NEVER, inner="<r:update window='nights'/>")
    found = there.look({"a.xml": there.files["a.xml"].replace(b">128<", b">256<")}).value()
    plan, = found["plans"]
    assert (plan["action"], plan["waits"]) == ("recreate", True)
    assert plan["changes"][0]["blockedBy"] == "window:nights"


@pytest.mark.parametrize("hold", ["own", "all", "file"])
def test_what_is_held_is_left_alone(bench, hold):
    there = bench("a")
    data = there.files["a.xml"].replace(b">128<", b">256<")
    if hold == "own":
        known = there.world.domains[there.uuid("a")]
        there.one("a", memory=replace(known.memory, hold=Hold("", "me")))
    elif hold == "all":
        there.world = replace(there.world, hold=Hold("", "me"))
    else:
        data = data.replace(b"state='running'", b"state='running' hold='yes'")
    plan, = there.look({"a.xml": data}).value()["plans"]
    assert plan["waits"] is True
    assert plan["steps"] == []
    assert plan["conditions"][0]["reason"] == "HoldRequested"


def test_only_what_nobody_waits_away_holds_a_start(bench):
    there = bench()
    needs = "<r:depends-on domain='b'/>"
    both = {"a.xml": xml("a", inner=needs), "b.xml": xml("b")}
    assert there.actions(both) == {"a": "start", "b": "start"}
    assert there.actions({"a.xml": both["a.xml"]}) == {"a": "start waits"}
    assert there.actions({**both, "b.xml": xml("b", "stopped")}) == {"a": "start waits"}


def test_memory_that_is_not_there_holds_a_start(bench):
    there = bench("a", config="admission: {total_memory: 256MiB}")
    assert there.actions({**there.files, "b.xml": xml("b", memory=200)}) == {"b": "start waits"}
    assert there.actions({**there.files, "b.xml": xml("b", memory=128)}) == {"b": "start"}


def test_what_a_file_changes_of_a_vm_that_is_stopped_is_shown(bench):
    there = bench("a", state="stopped")
    plan, = there.look({"a.xml": there.files["a.xml"].replace(b">128<", b">256<")}).value()["plans"]
    change, = plan["changes"]
    assert (plan["action"], plan["changesAnything"]) == ("none", False)
    assert (change["path"], change["class"], change["cost"]) == (
        "memory", "none", "with its next start")


def test_a_file_of_several_domains_loses_one_of_them(bench):
    there = bench("ab")
    for name in "ab":
        known = there.world.domains[there.uuid(name)]
        text = replace(known.memory.definition, file="both.xml")
        there.one(name, memory=replace(known.memory, definition=text))
    assert there.actions({"b.xml": there.files["b.xml"]}) == {"a": "destroy"}
    # A file that is invalid is the business of all that it was.
    assert there.actions({"both.xml": b"<domain>"}) == {}


# A plan in a file


def kept(there, target=None, **values):
    return plan_file(there.settings, target or Target(), there.drawn(**values))


def test_the_same_world_gives_the_same_plan_and_nothing_moved(bench):
    there = bench("ab")
    assert kept(there) == kept(there)
    assert moved(kept(there), kept(there)) == []


def test_it_names_what_moved(bench):
    there = bench("ab")
    before = kept(there, Target(Kind.REF, "change"), commit="one")
    there.one("a", vm=Vm(VmState.RUNNING, 7), record=Record("a", "x", pid=7, started=3))
    there.one("b", vm=Vm(VmState.PAUSED, 42))
    there.files["c.xml"] = b"x"
    after = kept(there, Target(Kind.REF, "change"), commit="two",
                 files={"a.xml": there.files["a.xml"]})
    assert moved(before, after) == [
        "change: it is two now, and was one", "c.xml: it is new", "b.xml of the target: it is gone",
        "a: not the same: process", "b: not the same: state of its VM"]


def test_a_plan_that_came_to_be_another_one_is_named_too(bench):
    there = bench("a")
    before = kept(there)
    there.world = replace(there.world, hold=Hold("", "me"))
    there.one("a", memory=replace(there.world.domains[there.uuid("a")].memory, generation=2))
    assert moved(before, kept(there)) == ["a: not the same: generation"]
    there = bench("a")
    fresh = there.files["a.xml"].replace(b">128<", b">256<")
    files = {"a.xml": fresh}
    before = kept(there, files=files)
    there.world = replace(there.world, hold=Hold("", "me"))
    assert moved(before, kept(there, files=files)) == ["a: another plan is made for it now"]


def test_a_plan_of_the_source_has_what_waits_for_a_person(bench):
    there = bench("abcd", inner="<r:update policy='manual'/>")
    files = {"d.xml": there.files["d.xml"].replace(b">128<", b">256<")}
    found = kept(there, files=files)
    assert found["restart"] == [{"domain": "d", "uuid": there.uuid("d"), "generation": 2}]
    approval, = found["approve"]
    assert approval["domains"] == ["a", "b", "c"]
    assert (found["write"], found["remove"]) == ([], [])
    there.world = replace(there.world, hold=Hold("", "me"))
    assert kept(there, files=files)["restart"] == []


def test_a_removal_that_wants_to_be_confirmed_waits_for_a_person(bench):
    there = bench("a", inner="<r:prune policy='confirm'/>")
    approval, = kept(there, files={})["approve"]
    assert approval["domains"] == ["a"]


def test_a_plan_of_others_files_has_what_is_written_and_removed(bench):
    there = bench("abc")
    files = {"a.xml": there.files["a.xml"], "b.xml": xml("b", memory=256), "d.xml": xml("d")}
    found = kept(there, Target(Kind.DIRECTORY, "/x"), files=files)
    assert (found["write"], found["remove"]) == (["b.xml", "d.xml"], ["c.xml"])
    assert (found["restart"], found["approve"]) == ([], [])


@pytest.mark.parametrize("value", [
    None, 1, [], {}, {"kind": "Plan", "version": 1}, "version", "kind", "target"])
def test_what_is_no_plan_is_refused(bench, value):
    good = kept(bench("a"))
    assert target_of(good) == Target()
    if isinstance(value, str):
        value = {**good, value: {"kind": "else"} if value == "target" else 2}
    with pytest.raises(UsageError, match=r"no plan|no whole plan|version 2"):
        target_of(value)
