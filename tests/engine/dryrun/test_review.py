"""What would be done if the source were this set of files; on values, without any VM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.reader import read_domain
from reconciler.engine.composition import decision_config, reading_host
from reconciler.engine.decide.attempts import Attempts
from reconciler.engine.decide.inputs import Hold, Now, Vm, VmState
from reconciler.engine.decide.state import DomainRecord, DomainState, Running, StoredDefinition
from reconciler.engine.dryrun.entry import Drawn
from reconciler.engine.dryrun.review import meaning, review
from reconciler.engine.dryrun.saved_plan import moved, plan_file, target_of
from reconciler.engine.dryrun.snapshot import KnownDomain, Snapshot
from reconciler.engine.dryrun.target import Kind, Target
from reconciler.errors import UsageError
from reconciler.settings import load
from reconciler.sources.listing import Listing
from reconciler.stratovirt.record import Record
from tests.values import xml

NOW = Now(1000.0, 1_800_000_000.0)
NEVER = "windows: {nights: {allow: '2001-01-01 22:00-23:00', timezone: UTC}}"


class Bench:
    """A host on which each of `names` runs as its file says."""

    def __init__(self, path, names="", config="", **values):
        (path / "config.yaml").write_text(f"paths: {{state: state, images: images}}\n{config}")
        self.settings = load(path / "config.yaml", {})
        self.files = {f"{name}.xml": xml(name, **values) for name in names}
        self.snapshot = Snapshot({
            known.state.uuid: known for known in map(self.known, self.files)})

    def known(self, file):
        data = self.files[file]
        host = reading_host(self.settings)
        domain = read_domain(data, file, host)
        text = StoredDefinition(data.decode(), file, "", host.keep())
        attempts = Attempts(observed_generation=1, last_settled_state=str(domain.policy.state))
        record = DomainRecord(domain.uuid, domain.name, 1, text, text, attempts)
        runs = domain.policy.state != "stopped"
        state = DomainState(
            record, decision_config(self.settings, "", NOW.clock), domain=domain,
            last_known_good=domain,
            vm=Vm(VmState.RUNNING, 42, generation=1) if runs else Vm(VmState.ABSENT),
            running=Running(domain, text, domain) if runs else None)
        return KnownDomain(state, Record(domain.name, domain.uuid, pid=42))

    def one(self, name, process=None, **values):
        """Change what is known of one: its process, its state."""
        known = self.snapshot.domains[self.uuid(name)]
        changed = replace(known, state=replace(known.state, **values),
                          process=process or known.process)
        self.snapshot = replace(self.snapshot, domains={
            **self.snapshot.domains, known.state.uuid: changed})

    def record(self, name, **values):
        """Change the record of one."""
        kept = self.snapshot.domains[self.uuid(name)].state.record
        self.one(name, record=replace(kept, **values))

    def hold_all(self):
        self.snapshot = replace(self.snapshot, hold=Hold("", "me"))

    def look(self, files=None, obeyed=(), **listing):
        found = Listing(self.files if files is None else files, **listing)
        return review(self.settings, self.snapshot,
                      meaning(self.settings, self.snapshot, found), NOW,
                      frozenset(self.uuid(name) for name in obeyed))

    def uuid(self, name):
        return next(u for u, k in self.snapshot.domains.items() if k.state.name == name)

    def actions(self, *args, **values):
        return {p["name"]: f"{p['action']}{' waits' if p['waits'] else ''}"
                for p in self.look(*args, **values).value()["plans"] if p["action"] != "none"}

    def drawn(self, files=None, commit=""):
        listing = Listing(self.files if files is None else files, commit=commit)
        return Drawn(self.look(files, commit=commit), self.snapshot, listing, Listing(self.files))


@pytest.fixture
def bench(tmp_path):
    return lambda names="", **more: Bench(tmp_path, names, **more)


def test_rule_4_a_file_that_means_the_same_changes_nothing(bench):
    there = bench("ab")
    other = there.files["a.xml"].replace(b"unit='MiB'>128", b"unit='KiB'>131072")
    assert there.actions({"moved.xml": other, "b.xml": there.files["b.xml"]}) == {}


def test_rule_3_where_the_source_is_not_known_no_domain_is_removed(bench):
    there = bench("ab")
    found = review(there.settings, there.snapshot, "it is not mounted", NOW).value()
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
def test_rule_6_a_file_that_cannot_be_read_may_be_the_one_that_is_missing(bench, listing):
    there = bench("ab")
    assert there.actions({"a.xml": there.files["a.xml"]}, **listing) == {}
    assert there.actions({"a.xml": there.files["a.xml"]}) == {"b": "destroy"}


def test_rule_6_many_removals_at_once_are_shown_as_held(bench):
    there = bench("abcd")
    rest = {"d.xml": there.files["d.xml"]}
    assert there.actions(rest) == dict.fromkeys("abc", "destroy waits")
    assert {c["reason"] for p in there.look(rest).value()["plans"] for c in p["conditions"]
            if c["type"] == "PruneHeld"} == {"MassRemoval"}
    # A file that was missing before does not count: then it is two of three.
    assert there.actions(rest, obeyed="a") == dict.fromkeys("abc", "destroy")


def test_rule_6_a_removal_that_was_held_stays_held(bench):
    there = bench("abcd")
    there.record("a", prune_held=True)
    rest = {f: d for f, d in there.files.items() if f != "a.xml"}
    assert there.actions(rest) == {"a": "destroy waits"}


def test_where_pruning_is_switched_off_no_domain_is_removed(bench):
    assert bench("ab", config="prune: {enabled: false}").actions({}) == {}


def test_a_domain_is_known_by_its_name_where_its_uuid_is_another(bench):
    there = bench("a")
    uuid = b"</name><uuid>aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee</uuid>"
    data = there.files["a.xml"].replace(b"</name>", uuid)
    assert there.actions({"a.xml": data}) == {"a": "recreate"}


def test_a_recreate_waits_for_its_window(bench):
    there = bench("a", config=NEVER, inner="<r:update window='nights'/>")
    found = there.look({"a.xml": there.files["a.xml"].replace(b">128<", b">256<")}).value()
    plan, = found["plans"]
    assert (plan["action"], plan["waits"]) == ("recreate", True)
    assert plan["changes"][0]["blockedBy"] == "window:nights"


@pytest.mark.parametrize("hold", ["own", "all", "file"])
def test_a_domain_on_hold_is_left_alone(bench, hold):
    there = bench("a")
    data = there.files["a.xml"].replace(b">128<", b">256<")
    if hold == "own":
        there.record("a", hold=Hold("", "me"))
    elif hold == "all":
        there.hold_all()
    else:
        data = data.replace(b"state='running'", b"state='running' hold='yes'")
    plan, = there.look({"a.xml": data}).value()["plans"]
    assert plan["waits"] is True
    assert plan["steps"] == []
    assert plan["conditions"][0]["reason"] == "HoldRequested"


def test_a_start_waits_only_for_what_does_not_come_by_itself(bench):
    there = bench()
    needs = "<r:depends-on domain='b'/>"
    both = {"a.xml": xml("a", inner=needs), "b.xml": xml("b")}
    assert there.actions(both) == {"a": "start", "b": "start"}
    assert there.actions({"a.xml": both["a.xml"]}) == {"a": "start waits"}
    assert there.actions({**both, "b.xml": xml("b", "stopped")}) == {"a": "start waits"}


def test_a_start_waits_for_memory(bench):
    there = bench("a", config="admission: {total_memory: 256MiB}")
    assert there.actions({**there.files, "b.xml": xml("b", memory=200)}) == {"b": "start waits"}
    assert there.actions({**there.files, "b.xml": xml("b", memory=128)}) == {"b": "start"}


def test_changes_of_a_stopped_domain_are_shown(bench):
    there = bench("a", state="stopped")
    plan, = there.look({"a.xml": there.files["a.xml"].replace(b">128<", b">256<")}).value()["plans"]
    change, = plan["changes"]
    assert (plan["action"], plan["changesAnything"]) == ("none", False)
    assert (change["path"], change["class"], change["cost"]) == (
        "memory", "none", "with its next start")


def test_a_file_of_several_domains_loses_one_of_them(bench):
    there = bench("ab")
    for name in "ab":
        definition = there.snapshot.domains[there.uuid(name)].state.record.definition
        there.record(name, definition=replace(definition, file="both.xml"))
    assert there.actions({"b.xml": there.files["b.xml"]}) == {"a": "destroy"}
    # An invalid file belongs to all domains that it defined.
    assert there.actions({"both.xml": b"<domain>"}) == {}


# A plan in a file


def kept(there, target=None, **values):
    return plan_file(there.settings, target or Target(), there.drawn(**values))


def test_the_same_state_gives_the_same_plan(bench):
    there = bench("ab")
    assert kept(there) == kept(there)
    assert moved(kept(there), kept(there)) == []


def test_what_changed_since_the_plan_was_made_is_named(bench):
    there = bench("ab")
    before = kept(there, Target(Kind.REF, "change"), commit="one")
    there.one("a", Record("a", "x", pid=7, started=3), vm=Vm(VmState.RUNNING, 7))
    there.one("b", vm=Vm(VmState.PAUSED, 42))
    there.files["c.xml"] = b"x"
    after = kept(there, Target(Kind.REF, "change"), commit="two",
                 files={"a.xml": there.files["a.xml"]})
    assert moved(before, after) == [
        "change: now at two, was one", "c.xml: new", "b.xml of the target: gone",
        "a: changed: process", "b: changed: state of its VM"]


def test_a_plan_that_would_be_a_different_one_now_is_named(bench):
    there = bench("a")
    before = kept(there)
    there.hold_all()
    there.record("a", generation=2)
    assert moved(before, kept(there)) == ["a: changed: generation"]
    there = bench("a")
    fresh = there.files["a.xml"].replace(b">128<", b">256<")
    files = {"a.xml": fresh}
    before = kept(there, files=files)
    there.hold_all()
    assert moved(before, kept(there, files=files)) == ["a: its plan is a different one now"]


def test_a_plan_of_the_source_has_the_restarts_and_approvals_that_wait_for_a_user(bench):
    there = bench("abcd", inner="<r:update policy='manual'/>")
    files = {"d.xml": there.files["d.xml"].replace(b">128<", b">256<")}
    found = kept(there, files=files)
    assert found["restart"] == [{"domain": "d", "uuid": there.uuid("d"), "generation": 2}]
    approval, = found["approve"]
    assert approval["domains"] == ["a", "b", "c"]
    assert (found["write"], found["remove"]) == ([], [])
    there.hold_all()
    assert kept(there, files=files)["restart"] == []


def test_a_removal_with_policy_confirm_waits_for_a_user(bench):
    there = bench("a", inner="<r:prune policy='confirm'/>")
    approval, = kept(there, files={})["approve"]
    assert approval["domains"] == ["a"]


def test_a_plan_of_other_files_has_the_files_that_are_written_and_removed(bench):
    there = bench("abc")
    files = {"a.xml": there.files["a.xml"], "b.xml": xml("b", memory=256), "d.xml": xml("d")}
    found = kept(there, Target(Kind.DIRECTORY, "/x"), files=files)
    assert (found["write"], found["remove"]) == (["b.xml", "d.xml"], ["c.xml"])
    assert (found["restart"], found["approve"]) == ([], [])


@pytest.mark.parametrize("value", [
    None, 1, [], {}, {"kind": "Plan", "version": 1}, "version", "kind", "target"])
def test_a_file_that_is_not_a_plan_is_refused(bench, value):
    good = kept(bench("a"))
    assert target_of(good) == Target()
    if isinstance(value, str):
        value = {**good, value: {"kind": "else"} if value == "target" else 2}
    with pytest.raises(UsageError, match=r"not a plan file|plan file is incomplete|version 2"):
        target_of(value)
