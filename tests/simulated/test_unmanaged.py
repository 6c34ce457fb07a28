"""Rule 5: an unmanaged VM is listed and never touched."""

import os
import signal
import subprocess
import sys

from reconciler.stratovirt.binary import SIMULATOR
from tests.simulated.site import ready


def test_rule_5_an_unmanaged_stratovirt_is_listed_and_left_alone(site, tmp_path):
    site.kill()
    other = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SIMULATOR), "-name", "theirs", "-machine", "q35", "-m",
         "128m", "-drive", f"file={site.disk('theirs')},id=d,direct=off", "-device",
         "pcie-root-port,port=0x1,addr=0x1,bus=pcie.0,id=pcie.1", "-device",
         "virtio-blk-pci,drive=d,id=d,bus=pcie.1,addr=0x0", "-drive",
         f"file={site.path}/images/sample-firmware.fd,if=pflash,unit=0,readonly=true",
         "-qmp", f"unix:{tmp_path}/q,server,nowait"], stderr=subprocess.DEVNULL)
    try:
        site.drop()
        site.start()
        pid = site.settled("running")["observed"]["pid"]
        value = site.until(lambda v: any(u["pid"] == other.pid for u in v["unmanaged"]))
        mine = [found for found in value["unmanaged"] if found["pid"] == other.pid]
        assert [(found["name"], "adopt" in found["reason"]) for found in mine] == [("theirs", True)]
        assert pid not in [found["pid"] for found in value["unmanaged"]]
        assert f"unmanaged: process {other.pid} theirs" in site.verb("status", "-o", "wide").stdout
        site.file().unlink()
        site.gone()
        assert other.poll() is None
        os.kill(other.pid, signal.SIGKILL)
    finally:
        other.kill()
        other.wait()


def test_a_vm_of_ours_is_not_called_unmanaged_after_a_restart(site):
    for name in ("a", "b", "c"):
        site.drop(name)
    for name in ("a", "b", "c"):
        site.settled("running", name)
    site.kill()
    seen = []
    site.start()

    def all_found(value):
        seen.extend(value["unmanaged"])
        return len(value["domains"]) == 3 and all(map(ready, value["domains"]))

    site.until(all_found)
    assert seen == []
