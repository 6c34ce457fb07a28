"""Rule 1 holds for the whole host: whatever becomes of the runtime directory."""

import os
import shutil
import subprocess

import pytest

from reconciler.settings import load
from reconciler.stratovirt.command_line import qmp_argument
from tests.simulated.site import Site, ready, reason


@pytest.fixture
def site(tmp_path):
    (tmp_path / "one").mkdir()
    found = Site(tmp_path / "one")
    found.start()
    yield found
    found.close()


def moved(site):
    """The same state directory, with another runtime directory."""
    text = site.config.read_text()
    site.config.write_text(text.replace("runtime: run,", "runtime: run2,"))
    return text


def test_rule_1_another_runtime_directory_is_refused_while_vms_run_in_the_old_one(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.kill(15)
    before = moved(site)
    log = (site.path / "log").read_text()
    site.start()
    assert site.reconciler.wait(60) == 2
    said = (site.path / "log").read_text().removeprefix(log)
    assert f"run in {site.path / 'run'} (a)" in said
    assert "set paths.runtime to" in said
    shutil.rmtree(site.path / "run")  # its VMs are found all the same
    site.start()
    assert site.reconciler.wait(60) == 2
    site.config.write_text(before)
    site.start()
    # Its sockets are gone: its state is unknown, but it is known, not doubled, and can be ended.
    found = site.domain(lambda d: d["observed"]["state"] == "unknown")
    assert found["observed"]["pid"] == pid
    site.drop(state="stopped")
    site.settled("absent")
    site.kill(15)
    moved(site)
    site.settings = load(site.config, {})
    site.start()  # nothing runs any more: the new directory is as good
    site.drop(state="running")
    site.settled("running")


@pytest.mark.parametrize("path", ["", "link/"])
def test_rule_1_a_vm_of_another_reconciler_with_the_same_uuid_is_not_started_again(
        site, tmp_path, path):
    shared = (f"<disk type='file'><source file='{tmp_path}/shared.img'/>"
              "<target dev='vdb' bus='virtio'/><readonly/></disk>")
    (tmp_path / "shared.img").write_bytes(b"x" * 4096)
    site.drop(devices=shared)
    pid = site.settled("running")["observed"]["pid"]
    (tmp_path / "link").symlink_to(tmp_path)
    theirs = shared.replace("shared.img", f"{path}shared.img")
    (tmp_path / "two").mkdir()
    other = Site(tmp_path / "two")
    other.start()
    try:
        other.drop("b")  # a name and disks of its own
        other.settled("running", "b")
        other.drop(devices=theirs)
        found = other.domain(lambda d: reason(d) in ("Conflict", "BackOff") and not ready(d))
        assert f"process {pid} runs a VM with this uuid in {site.path / 'run' / 'vms' / 'a'}" in (
            found["conditions"][0]["message"])
        assert len(other.processes("a")) == 0
        site.drop(state="stopped", devices=shared)
        site.settled("absent")
        other.settled("running")
    finally:
        other.close()


def test_domains_of_one_name_with_other_disks_are_not_the_same_vm(site, tmp_path):
    site.drop()
    uuid = site.settled("running")["uuid"]
    (tmp_path / "two").mkdir()
    other = Site(tmp_path / "two")
    other.start()
    try:
        other.drop()
        assert other.settled("running")["uuid"] == uuid  # derived from the name
    finally:
        other.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_rule_1_a_forged_command_line_of_another_user_keeps_no_vm_from_starting(site):
    site.drop(state="stopped")
    uuid = site.settled("absent")["uuid"]
    home = site.settings.runtime / "vms" / "a"
    words = ["stratovirt", "-c", "sleep 100; true", "-name", "a", "-uuid", uuid, "-machine", "q35",
             "-drive", f"file={site.path}/images/a.img,id=d", "-qmp", qmp_argument(home)]
    with subprocess.Popen(words, executable="/bin/bash", user=31337, cwd="/") as other:
        try:
            site.kill()
            site.drop(state="running")
            site.start()
            assert site.settled("running")["observed"]["pid"] != other.pid
            value = site.until(lambda v: any(u["pid"] == other.pid for u in v["unmanaged"]))
            found, = (u for u in value["unmanaged"] if u["pid"] == other.pid)
            assert "process of user 31337" in found["reason"]
            assert "adopt" not in found["reason"]
        finally:
            other.kill()
