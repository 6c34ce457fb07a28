"""import: the domain file of a VM that the reconciler did not start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from reconciler.domain.reader import read_domain
from reconciler.engine.adopt.recognise_running import _without
from reconciler.engine.composition import reading_host
from reconciler.stratovirt import process
from reconciler.stratovirt.binary import SIMULATOR
from tests.simulator.support import LIMIT, Client

UUID = "0c2f5a0e-3d6c-4b8e-9d53-1f0a3f1c2b4d"


@contextmanager
def foreign(site, *more, machine="q35", smp="2", name="web9"):
    """A VM as a user's script starts it: relative paths, other ids, no virtio-serial."""
    site.disk("web9")
    socket = site.path / "foreign.sock"
    words = [sys.executable, "-I", "-S", str(SIMULATOR), "-name", name, "-uuid", UUID,
             "-machine", machine, "-cpu", "host", "-smp", smp, "-m", "1G", "-drive",
             "file=sample-firmware.fd,if=pflash,unit=0,readonly=true",
             "-device", "pcie-root-port,id=rp0,port=0x8,bus=pcie.0,addr=0x1",
             "-drive", "id=rootfs,file=web9.img,direct=off,readonly=off",
             "-device", "virtio-blk-pci,id=blk0,drive=rootfs,bus=rp0,addr=0x0,bootindex=0",
             "-qmp", f"unix:{socket},server,nowait", *more]
    child = subprocess.Popen(words, cwd=site.path / "images", stdin=subprocess.DEVNULL)
    client = Client(str(socket))
    try:
        yield child, client
    finally:
        client.close()
        child.terminate()
        child.wait(LIMIT)


def test_an_unmanaged_vm_becomes_a_valid_and_complete_file(idle):
    with foreign(idle) as (child, client):
        client.close()
        file = idle.path / "web9.xml"
        done = idle.verb("import", str(child.pid), "-o", str(file))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    domain = read_domain(file.read_bytes(), "web9.xml", reading_host(idle.settings))
    assert (domain.name, domain.uuid, domain.vcpus) == ("web9", UUID, 2)
    assert domain.memory == 1 << 30
    disk, = (d for d in domain.devices if d.KIND == "disk")
    assert (disk.path, disk.alias, disk.boot) == (str(idle.path / "images/web9.img"), "blk0", 1)
    assert (disk.place.bus, disk.place.slot) == (1, 0)
    assert domain.boot.loader == str(idle.path / "images/sample-firmware.fd")
    assert not [d for d in domain.devices if d.KIND == "memballoon"]
    assert idle.verb("validate", str(file)).returncode == 0


def test_a_paused_one_is_wanted_paused(idle):
    with foreign(idle, "-S") as (child, client):
        client.close()
        assert "state='paused'" in idle.verb("import", str(child.pid)).stdout
        resumed = Client(str(idle.path / "foreign.sock"))
        resumed.ask("cont")
        resumed.close()
        assert "state='paused'" not in idle.verb("import", str(child.pid)).stdout


def test_a_monitor_in_use_by_another_client_is_reported(idle):
    with foreign(idle) as (child, _client):
        done = idle.verb("import", str(child.pid))
    assert done.returncode == 3
    assert "whether it runs or is paused is not known" in done.stderr
    assert "<name>web9</name>" in done.stdout


def test_options_without_a_domain_element_are_reported_and_the_rest_is_written(idle):
    more = ("-device", "nec-usb-xhci,id=usb,bus=pcie.0,addr=0x9", "-global",
            "pcie-root-port.fast-unplug=1")
    with foreign(idle, *more) as (child, client):
        client.close()
        done = idle.verb("import", str(child.pid))
    assert done.returncode == 3
    assert "not taken over: -device nec-usb-xhci,id=usb" in done.stderr
    assert "not taken over: -global" in done.stderr
    assert "usb" not in done.stdout


def test_an_option_that_a_domain_cannot_have_makes_the_file_invalid(idle):
    with foreign(idle, "-device", "virtio-balloon-pci,id=b,bus=pcie.0,addr=0x2.0x1") as (
            child, client):
        client.close()
        done = idle.verb("import", str(child.pid))
    assert done.returncode == 1
    assert "function 0x1 without a function 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_there_is_not_replaced(idle):
    with foreign(idle) as (child, client):
        client.close()
        file = idle.path / "there.xml"
        file.write_text("mine")
        done = idle.verb("import", str(child.pid), "-o", str(file))
        assert (done.returncode, file.read_text()) == (1, "mine")
        done = idle.verb("import", str(child.pid), "-o", str(idle.path / "none" / "x.xml"))
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.parametrize("pid", ["self", "gone"])
def test_without_a_stratovirt_process_it_exits_1(idle, pid):
    done = idle.verb("import", str(os.getpid()) if pid == "self" else "4194304")
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert ("is not a StratoVirt process" if pid == "self" else "no process") in done.stderr


@pytest.mark.parametrize("verb", ["import", "explain"])
def test_rule_4_importing_a_managed_vm_and_adding_its_file_changes_nothing(site, verb):
    console = ("<console type='pty'><target type='virtio'/></console><serial type='pty'/>"
               "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
               "</channel>")
    site.drop("a", devices=console)
    site.settled("running")
    pid, = site.processes()
    before = process.command_line(pid)
    done = site.verb("import", str(pid)) if verb == "import" else site.verb("explain", "a", "--xml")
    assert (done.returncode, done.stderr) == (0, "")
    site.put("a.xml", done.stdout.encode())
    site.domain(lambda d: d["generation"] == 2 and d["observedGeneration"] == 2)
    value = json.loads(site.verb("plan", "-o", "json").stdout)["plans"][0]
    assert (value["changesAnything"], value["steps"]) == (False, [])
    assert not [c for c in value["changes"] if c["class"] != "none"]
    assert site.processes() == [pid]
    explained = json.loads(site.verb("explain", "a", "-o", "json").stdout)
    assert sorted(explained["commandLine"]) == sorted(before)


def test_only_the_configured_arguments_as_they_stand_together_are_left_out():
    words = ["-smp", "1", "-D", "/log", "-m", "1"]
    assert _without(words, ["-D", "/log"]) == ["-smp", "1", "-m", "1"]
    assert _without(words, []) == words
    assert _without(words, ["/log", "-D"]) == words
