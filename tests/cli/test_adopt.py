"""adopt: an unmanaged VM becomes a domain and is reconciled from then on."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from reconciler.stratovirt import process
from tests.cli.test_import import foreign
from tests.simulated.site import Site, ready


def home(site):
    return site.settings.runtime / "vms" / "web9"


def adopted(site, *more):
    """A foreign VM that was adopted into a running reconciler; its process and its status."""
    return foreign(site, "-chardev", f"socket,id=m,path={site.path}/people.sock,server,nowait",
                   "-mon", "chardev=m,id=m,mode=control", *more)


def test_it_is_kept_as_its_file_says_and_its_process_stays(site):
    with adopted(site) as (child, client):
        client.close()
        done = site.verb("adopt", str(child.pid))
        assert (done.returncode, done.stderr) == (0, ""), done
        found = site.settled("running", "web9")
        assert found["observed"]["pid"] == child.pid
        assert site.verb("plan").returncode == 0
        assert not site.events("domain.starting")
        # It is steered by its file from now on.
        assert site.verb("suspend", "web9").returncode == 0
        assert site.settled("paused", "web9")["observed"]["pid"] == child.pid
        assert site.verb("resume", "web9").returncode == 0
        site.settled("running", "web9")


def test_rule_2_it_outlives_the_reconciler_and_is_found_again(site):
    with adopted(site) as (child, client):
        client.close()
        assert site.verb("adopt", str(child.pid)).returncode == 0
        site.settled("running", "web9")
        site.kill()
        assert process.locked(home(site))
        site.start()
        assert site.settled("running", "web9")["observed"]["pid"] == child.pid
        assert not site.events("domain.starting")


def test_rule_1_its_lock_is_held_for_exactly_as_long_as_it_lives(idle):
    with adopted(idle) as (child, client):
        client.close()
        assert idle.verb("adopt", str(child.pid)).returncode == 0
        assert process.locked(home(idle))
        child.send_signal(signal.SIGKILL)
        child.wait()
        idle.waits(lambda: not process.locked(home(idle)), "the lock to be free")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_an_adopted_vm_that_dies_is_started_again_as_a_managed_vm(site, end):
    with adopted(site) as (child, client):
        client.close()
        assert site.verb("adopt", str(child.pid)).returncode == 0
        site.settled("running", "web9")
        child.send_signal(end)
        child.wait()
        found = site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, child.pid),
                            "web9")
        assert site.processes("web9") == [found["observed"]["pid"]]
        assert len(site.events("domain.exited")) == 1


def test_a_recreate_turns_an_adopted_vm_into_a_managed_vm(site):
    with adopted(site) as (child, client):
        client.close()
        assert site.verb("adopt", str(child.pid)).returncode == 0
        site.settled("running", "web9")
        assert site.verb("restart", "web9").returncode == 0
        found = site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, child.pid),
                            "web9")
        assert site.processes("web9") == [found["observed"]["pid"]]
        assert child.wait() == 0


def test_a_vm_that_cannot_be_adopted_is_reported_and_left_unchanged(idle):
    with adopted(idle) as (child, client):
        client.close()
        held = foreign_file = idle.path / "domains" / "mine.xml"
        idle.verb("import", str(child.pid), "-o", str(foreign_file))
        done = idle.verb("adopt", str(child.pid))
        assert done.returncode == 1
        assert "mine.xml already defines this domain" in done.stderr
        held.unlink()
        assert idle.verb("adopt", str(child.pid), "--dry-run").stdout.startswith("<domain")
        assert not home(idle).exists()
        assert idle.verb("adopt", str(child.pid)).returncode == 0
        again = idle.verb("adopt", str(child.pid))
        assert (again.returncode, "runs as 'web9' already" in again.stderr) == (1, True)
    assert "no process" in idle.verb("adopt", "4194304").stderr


def test_a_vm_controlled_by_another_client_is_left_alone(idle):
    with foreign(idle) as (child, _client):
        done = idle.verb("adopt", str(child.pid))
        assert done.returncode == 1
        assert "in use by another client" in done.stderr
        assert not home(idle).exists()


def test_rule_1_a_lock_holder_that_was_killed_is_replaced(site):
    with adopted(site, "-S") as (child, client):
        client.close()
        assert site.verb("adopt", str(child.pid)).returncode == 0
        site.settled("paused", "web9")
        holders = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()
                   and str(child.pid) in process.command_line(int(entry))[-2:-1]]
        site.kill()
        os.kill(holders[0], signal.SIGKILL)
        site.waits(lambda: not process.locked(home(site)), "the lock to be free")
        site.start()
        assert site.settled("paused", "web9")["observed"]["pid"] == child.pid
        assert process.locked(home(site))
        assert not site.events("domain.starting")


@pytest.mark.parametrize(("inside", "said"), [
    ("<devices><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices>",
     "rng[rng0]: none → "),
    ("<metadata><r:reconcile xmlns:r='urn:stratovirt-reconciler:1' state='paused'/></metadata>",
     "reconcile/@state: running → paused"),
    ("<vcpuu/>", "defaults.xml has errors")])
def test_a_vm_that_the_defaults_would_change_is_not_adopted(idle, inside, said):
    idle.put("defaults.xml", f"<domain>{inside}</domain>".encode())
    with adopted(idle) as (child, client):
        client.close()
        done = idle.verb("adopt", str(child.pid))
    assert done.returncode == 1
    assert "defaults.xml" in done.stderr
    assert said in done.stderr
    assert not idle.file("web9").exists()


def test_rule_4_what_looks_like_a_variable_is_kept_as_it_stands(site):
    site.put("defaults.xml", b"<domain><title>t</title></domain>")
    log = f"{site.path}/$${{X}}${{HOME}}.log"
    with adopted(site, "-serial", f"file,path={log}") as (child, client):
        client.close()
        done = site.verb("adopt", str(child.pid))
        assert (done.returncode, done.stderr) == (0, "")
        assert "/$$${X}$${HOME}.log'" in site.file("web9").read_text()
        assert site.settled("running", "web9")["observed"]["pid"] == child.pid
        assert not site.events("domain.starting")
        assert log in site.verb("explain", "web9", "-o", "json").stdout
        assert "/$$${X}$${HOME}.log'" in site.verb("explain", "web9", "--xml").stdout


def test_rule_1_a_vm_of_another_reconciler_is_not_adopted(idle, tmp_path):
    (tmp_path / "two").mkdir()
    other = Site(tmp_path / "two")
    other.start()
    try:
        other.drop()
        pid = other.settled("running")["observed"]["pid"]
        for more in ([], ["--force"]):
            done = idle.verb("adopt", *more, str(pid))
            assert done.returncode == 1
            assert f"process {pid} is a VM of the reconciler of {other.path / 'run'}" in done.stderr
        assert other.settled("running")["observed"]["pid"] == pid
    finally:
        other.close()


def test_a_process_of_another_program_is_adopted_only_by_force(idle, tmp_path):
    words = ["stratovirt", "-c", "sleep 60; true", "-name", "web9", "-machine", "q35", "-qmp",
             f"unix:{tmp_path}/q,server,nowait"]
    with subprocess.Popen(words, executable="/bin/bash") as other:
        try:
            idle.waits(lambda: process.command_line(other.pid)[:1] == ["stratovirt"], "its exec")
            done = idle.verb("adopt", str(other.pid))
            assert done.returncode == 1
            assert "bash, which is neither hypervisor.path nor in hypervisor.allowed" in done.stderr
            assert "--force" in done.stderr
        finally:
            other.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_a_process_of_another_user_is_adopted_only_by_force(idle, tmp_path):
    words = ["stratovirt", "-c", "sleep 60; true", "-name", "web9", "-machine", "q35", "-qmp",
             f"unix:{tmp_path}/q,server,nowait"]
    with subprocess.Popen(words, executable="/bin/bash", user=31337, cwd="/") as other:
        try:
            idle.waits(lambda: process.command_line(other.pid)[:1] == ["stratovirt"], "its exec")
            done = idle.verb("adopt", str(other.pid))
            assert done.returncode == 1
            assert f"process {other.pid} is a process of user 31337" in done.stderr
        finally:
            other.kill()
