"""The life of a domain, on real processes."""

import json
import os
import signal

import pytest

from reconciler.samples import firmware
from reconciler.stratovirt import process
from tests.simulated.site import condition, ready, reason
from tests.values import xml

SECOND = "<disk type='file'><source file='b.img'/><target dev='vdb' bus='virtio'/></disk>"


def test_a_file_is_dropped_edited_and_taken_away(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.drop(state="paused")
    assert site.settled("paused")["observed"]["pid"] == pid
    site.drop(state="running")
    assert site.settled("running")["observed"]["pid"] == pid
    site.drop(state="stopped")
    stopped = site.settled("absent")
    assert reason(stopped) == "InSync"
    assert site.processes() == []
    site.drop(state="running", memory=256)
    assert site.settled("running")["observed"]["memoryBytes"] == 256 << 20
    site.file().unlink()
    site.gone()
    assert site.processes() == []
    assert site.disk("a").exists()


def test_wanted_paused_and_absent_never_runs(site):
    site.drop(state="paused")
    site.settled("paused")
    words = process.command_line(site.processes()[0])
    assert "-S" in words
    assert [e["event"] for e in site.events() if e.get("domain") == "a"] == [
        "domain.accepted", "domain.starting", "domain.started"]


def test_pain_9_rule_2_the_reconciler_comes_back_to_its_vms(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        site.kill(number)
        site.start()
        assert site.settled("running")["observed"]["pid"] == pid
    assert len(site.events("domain.adopted")) == 3
    assert len(site.events("domain.starting")) == 1


def test_pain_1_rule_3_a_broken_file_and_a_vanished_source_stop_nothing(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.put("a.xml", b"<domain>")
    site.domain(lambda d: reason(d) == "InvalidDefinition")
    (site.path / "domains").rename(site.path / "elsewhere")
    site.until(lambda v: v["source"]["conditions"][0]["status"] == "False")
    (site.path / "domains").mkdir()
    found = site.until(lambda v: v["source"]["conditions"][0]["reason"] == "SourceChanged")
    assert found["domains"][0]["observed"]["pid"] == pid
    (site.path / "domains").rmdir()
    (site.path / "elsewhere").rename(site.path / "domains")
    site.drop()
    assert site.settled("running")["observed"]["pid"] == pid


@pytest.mark.parametrize("version", ["older", "newer"])
def test_pain_4_rule_4_records_of_another_reconciler_version_restart_no_vm(site, version):
    site.disk("b")
    site.drop(devices=SECOND)
    before = site.settled("running")
    site.kill(signal.SIGTERM)
    late = {"cgroup", "oom_kills", "foreign", "uncertain", "updated", "accepted_at", "prune_held",
            "well", "history", "exits"}
    for file in (site.settings.runtime / "vms" / "a" / "record.json",
                 site.settings.state / "domains" / f"{before['uuid']}.json"):
        value = json.loads(file.read_bytes())
        for part in (value, value.get("ledger", {})):
            for key in late & part.keys() if version == "older" else ():
                del part[key]
            part.update({"of tomorrow": [1]} if version == "newer" else {})
        file.write_text(json.dumps(value))
    site.start()
    after = site.settled("running")
    assert after["observed"]["pid"] == before["observed"]["pid"]
    if version == "older":
        assert after["generation"] == before["generation"]
    assert site.verb("plan").returncode == 0
    assert len(site.events("domain.starting", "domain.stopping", "domain.recreating",
                           "domain.updated", "domain.exited")) == 1


def test_pain_4_rule_4_the_same_meaning_does_nothing(site):
    site.drop(memory=256)
    before = site.settled("running")
    data = site.file().read_bytes()
    other = data.replace(b"<memory unit='MiB'>256<", b"<!-- a --><memory unit='KiB'>262144<")
    site.put("a.xml", other.replace(b"><", b">\n  <"))
    site.file().rename(site.file("renamed"))
    site.domain(lambda d: d["file"] == "renamed.xml")
    after = site.settled("running")
    assert after["observed"]["pid"] == before["observed"]["pid"]
    assert after["generation"] == before["generation"]
    assert len(site.events("domain.starting", "domain.stopping")) == 1


def test_pain_1_rule_6_a_removal_of_many_is_held_until_approved(site):
    for name in "abcd":
        site.drop(name)
    for name in "abcd":
        site.settled("running", name)
    for name in "abc":
        site.file(name).unlink()
    held = site.until(lambda v: v["approvals"])
    assert held["approvals"][0]["domains"] == ["a", "b", "c"]
    assert all(site.processes(name) for name in "abcd")
    assert site.verb("approve", "p-000000").returncode == 1
    token = held["approvals"][0]["token"]
    asked = site.verb("approve")  # not at a terminal
    assert asked.returncode == 3
    assert token in asked.stdout
    assert f"`reconciler approve {token}`" in asked.stderr
    assert all(site.processes(name) for name in "abcd")
    # A word about three is none about four.
    data = site.file("d").read_bytes()
    site.file("d").unlink()
    site.until(lambda v: v["approvals"] and v["approvals"][0]["domains"] == [*"abcd"])
    assert site.verb("approve", token).returncode == 1
    site.put("d.xml", data)
    site.until(lambda v: v["approvals"] and v["approvals"][0]["domains"] == [*"abc"])
    assert all(site.processes(name) for name in "abcd")
    assert site.verb("approve", token).returncode == 0
    for name in "abc":
        site.gone(name)
    assert site.processes("d")
    # The last one may go by itself.
    site.file("d").unlink()
    site.gone("d")
    assert site.processes("d") == []


def test_rule_7_a_definition_that_cannot_start_leaves_the_vm_alone(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    data = site.file().read_bytes()
    site.put("a.xml", data.replace(b"a.img", b"b.img"))
    found = site.domain(lambda d: reason(d) in ("BackOff", "MissingFile"))
    assert "b.img" in found["conditions"][0]["message"]
    assert site.processes() == [pid]
    # The file that it needs appears: it is tried at once, whatever the wait.
    site.disk("b")
    site.domain(lambda d: ready(d) and d["observed"]["pid"] != pid)


def test_rule_10_every_act_is_announced_before_it_with_its_cause(site):
    site.drop()
    site.settled("running")
    starting, = site.events("domain.starting")
    started, = site.events("domain.started")
    assert starting["seq"] < started["seq"]
    assert (starting["cause"], starting["file"]) == ("file", "a.xml")
    assert starting["revision"].startswith("sha256:")


def test_a_vm_that_is_killed_is_started_again(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    os.kill(pid, signal.SIGKILL)
    again = site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (pid, None))
    assert again["restarts"]["total"] == 1
    assert again["restarts"]["lastExit"]["kind"] == "killed"


def test_pain_15_a_second_reconciler_is_refused(site):
    site.drop()
    site.settled("running")
    second = site.verb("run")
    assert second.returncode == 2
    assert "another reconciler" in second.stderr


def test_pain_2_a_domain_may_be_renamed_by_its_uuid(site):
    uuid = "<uuid>aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee</uuid>"
    site.disk("a")
    data = site.path / "x"
    base = xml("a").replace(b"fw.fd", b"sample-firmware.fd").replace(
        b"<disk type='file'>", b"<disk type='file'><driver cache='writeback'/>").decode()
    data.write_text(base.replace("</name>", "</name>" + uuid))
    data.replace(site.file())
    site.settled("running")
    data.write_text(base.replace("<name>a<", "<name>b<").replace("</name>", "</name>" + uuid))
    (site.path / "next").mkdir()
    (site.path / "next" / "other.xml").write_bytes(data.read_bytes())
    plan, = json.loads(site.verb("plan", "--dir", str(site.path / "next"), "-o", "json").stdout)[
        "plans"]
    assert [(c["path"], c["from"], c["to"], c["class"]) for c in plan["changes"]] == [
        ("name", "a", "b", "recreate")]
    assert plan["action"] == "recreate"
    data.replace(site.file())
    site.settled("running", "b")
    assert site.processes("a") == []
    assert len(site.processes("b")) == 1


def test_a_conflict_keeps_the_one_that_runs(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.drop("z", file="0.xml")
    site.put("0.xml", site.file("0").read_bytes().replace(b"z.img", b"a.img"))
    value = site.until(lambda v: any(e["reason"] == "Conflict" for e in v["source"]["invalid"]))
    errors = " ".join(value["source"]["invalid"][0]["errors"])
    assert "a.xml" in errors
    assert site.processes() == [pid]


def test_pain_9_sigterm_ends_the_reconciler_and_leaves_the_vms(site):
    site.drop()
    site.settled("running")
    assert site.kill(signal.SIGTERM) == 0
    assert len(site.processes()) == 1
    assert site.events()[-1]["event"] == "reconciler.stopped"


def test_pain_5_a_change_that_waits_for_a_restart_is_reported_and_applied_by_it(site):
    site.drop(inner="<r:update policy='manual'/>")
    pid = site.settled("running")["observed"]["pid"]
    site.drop(memory=256, inner="<r:update policy='manual'/>")
    waiting = site.domain(lambda d: d["pending"])
    assert condition(waiting, "RestartRequired")["status"] == "True"
    assert ready(waiting)
    assert site.verb("plan").returncode == 1
    assert site.verb("restart", "a").returncode == 0
    after = site.domain(lambda d: not d["pending"] and ready(d))
    assert after["observed"]["pid"] != pid
    assert after["observed"]["memoryBytes"] == 256 << 20


def test_pain_6_restart_required_lists_every_field_and_ends_when_they_are_reverted(site):
    manual = "<r:update policy='manual'/>"
    site.drop(inner=manual)
    pid = site.settled("running")["observed"]["pid"]
    site.drop(memory=256, head="<vcpu>2</vcpu>", inner=manual)
    waiting = site.domain(lambda d: len(d["pending"]) == 2)
    assert condition(waiting, "RestartRequired")["status"] == "True"
    assert "memory" in {pending["path"] for pending in waiting["pending"]}
    site.drop(memory=256, inner=manual)
    waiting = site.domain(lambda d: [p["path"] for p in d["pending"]] == ["memory"])
    assert condition(waiting, "RestartRequired")["status"] == "True"
    site.drop(inner=manual)
    after = site.domain(lambda d: not d["pending"] and ready(d))
    assert condition(after, "RestartRequired") is None
    assert after["observed"]["pid"] == pid


def test_rule_6_a_held_removal_stays_held_when_some_files_are_back(site):
    names = "abcde"
    for name in names:
        site.drop(name)
    site.until(lambda v: v["summary"]["running"] == len(names))
    kept = {name: site.file(name).read_bytes() for name in "abc"}
    for name in "abc":
        site.file(name).unlink()
    site.until(lambda v: v["approvals"] and v["approvals"][0]["domains"] == ["a", "b", "c"])
    site.put("a.xml", kept["a"])
    site.until(lambda v: v["approvals"] and v["approvals"][0]["domains"] == ["b", "c"])
    # Our restart says nothing about their files, either.
    site.kill()
    site.start()
    site.until(lambda v: v["approvals"] and v["approvals"][0]["domains"] == ["b", "c"])
    for name, data in kept.items():
        site.put(f"{name}.xml", data)
    site.until(lambda v: not v["approvals"] and v["summary"]["ready"] == len(names))
    assert not site.events("domain.stopping")


def test_pain_16_pain_8_no_end_of_a_vm_takes_its_disk_its_variables_or_a_template(site):
    template = site.path / "images" / "vars.fd"
    template.write_bytes(firmware())
    os.chmod(template, 0o444)
    before = (template.read_bytes(), template.stat().st_mtime_ns)
    site.drop(file=".a", inner="<r:restart limit='20' delay='100ms'/>")
    data = (site.path / "domains" / ".a").read_bytes()
    site.put("a.xml", data.replace(
        b"</loader>", f"</loader><nvram template='{template}'/>".encode()))
    pid = site.settled("running")["observed"]["pid"]
    variables, = (site.path / "state" / "nvram").iterdir()
    variables.write_bytes(b"of the guest".ljust(template.stat().st_size))
    disk = site.disk("a")
    disk.write_bytes(b"precious".ljust(1 << 20))
    kept = (disk.read_bytes(), variables.read_bytes())
    for number in (signal.SIGKILL, signal.SIGTERM):
        os.kill(pid, number)
        pid = site.domain(lambda d, old=pid: ready(d) and d["observed"]["pid"] not in (old, None))[
            "observed"]["pid"]
    site.verb("restart", "a")
    site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (pid, None))
    site.file().unlink()
    site.gone()
    assert (disk.read_bytes(), variables.read_bytes()) == kept
    assert (template.read_bytes(), template.stat().st_mtime_ns) == before


def test_pain_16_rule_10_each_step_is_announced_before_it_is_done(site):
    site.disk("b")
    site.drop()
    site.settled("running")
    site.drop(devices=SECOND)
    site.until(lambda _: site.events("domain.updated"))
    site.drop(state="paused", devices=SECOND)
    site.settled("paused")
    site.drop(devices=SECOND)
    site.settled("running")
    site.file().unlink()
    site.gone()
    found = [(e["event"], e["action"]) for e in site.events() if e.get("action")]
    assert found == [
        ("domain.starting", "start"), ("domain.started", "start"),
        ("action.started", "update"), ("domain.updated", "update"),
        ("domain.pausing", "pause"), ("domain.paused", "pause"),
        ("action.started", "resume"), ("domain.resumed", "resume"),
        ("domain.stopping", "stop"), ("domain.stopped", "stop"),
        ("action.started", "forget"), ("domain.destroyed", "forget")]
    assert all(e["cause"] for e in site.events() if e.get("action"))
    assert not [e for e in site.events() if e["event"] == "domain.exited"]  # pain 8: ours is none


def test_pain_17_nothing_is_written_into_the_watched_directory_by_itself(site):
    site.drop()
    site.drop("b", file="0.xml", memory=1)
    folder = site.path / "domains"

    def seen():
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns)
                for path in folder.iterdir()}

    before = seen()
    site.settled("running")
    os.kill(site.processes()[0], signal.SIGKILL)
    site.domain(lambda d: d["restarts"]["total"] == 1 and ready(d))
    for words in (["hold", "a"], ["release", "a"], ["restart", "a"], ["sync", "--wait"]):
        assert site.verb(*words).returncode in (0, 1), words
    site.settled("running")
    site.kill(signal.SIGTERM)
    assert seen() == before


def test_pain_18_what_is_removed_is_nowhere_in_the_status(site):
    for name in ("a", "lost"):
        site.drop(name, inner="<r:label name='team' value='lost'/>" if name == "lost" else "")
    site.drop("lost-too", file="lost-too.xml", memory=1)
    for name in ("a", "lost"):
        site.settled("running", name)
    for name in ("lost", "lost-too"):
        site.file(name).unlink()
    site.gone("lost")
    value = site.until(lambda v: not v["source"]["invalid"] and not v["source"]["settling"])
    assert (value["summary"]["domains"], value["source"]["files"]) == (1, 1)
    shown = {k: v for k, v in value.items() if k != "source"}, value["source"]["conditions"]
    assert "lost" not in json.dumps(shown)
    assert not (site.settings.runtime / "vms" / "lost").exists()
    assert "lost" not in site.verb("status", "-o", "wide").stdout
    kept = json.loads((site.path / "state" / "status.json").read_text())
    assert ([d["name"] for d in kept["domains"]], kept["approvals"]) == (["a"], [])
    site.kill()
    site.start()
    site.settled("running")
    assert [d["name"] for d in site.until(lambda v: v["domains"])["domains"]] == ["a"]
