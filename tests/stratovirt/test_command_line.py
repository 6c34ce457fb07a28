"""A golden command line: places by kind and key, whatever the order of the file."""

from pathlib import Path

from reconciler.domain.model import Balloon, Disk, Machine, Port, VirtioSerial
from reconciler.stratovirt.command_line import arguments

GOLDEN = """-name a -uuid u -machine q35 -cpu host -smp 2 -m 512m -smbios type=1,uuid=u
-device pcie-root-port,id=pcie.1,port=0x8,bus=pcie.0,addr=0x1,multifunction=on
-device pcie-root-port,id=pcie.2,port=0x9,bus=pcie.0,addr=0x1.0x1
-device pcie-root-port,id=pcie.3,port=0xa,bus=pcie.0,addr=0x1.0x2
-device pcie-root-port,id=pcie.4,port=0xb,bus=pcie.0,addr=0x1.0x3
-device pcie-root-port,id=pcie.5,port=0xc,bus=pcie.0,addr=0x1.0x4
-device pcie-root-port,id=pcie.6,port=0xd,bus=pcie.0,addr=0x1.0x5
-device pcie-root-port,id=pcie.7,port=0xe,bus=pcie.0,addr=0x1.0x6
-device virtio-serial-pci,id=virtio-serial0,bus=pcie.1,addr=0x0
-drive file=/a.img,id=drive-virtio-disk0,readonly=off,direct=on,throttling.iops-total=1000
-device virtio-blk-pci,drive=drive-virtio-disk0,id=virtio-disk0,bus=pcie.2,addr=0x0
-device virtio-balloon-pci,id=balloon0,bus=pcie.3,addr=0x0
-chardev pty,id=charconsole0 -device virtconsole,chardev=charconsole0,id=console0
-qmp unix:/r/qmp.sock,server,nowait
-chardev socket,id=people,path=/r/monitor.sock,server,nowait
-mon chardev=people,id=people,mode=control -S"""


def test_golden() -> None:
    machine = Machine(
        "a", "u", "q35", 512 << 20, 2, balloon=Balloon(), virtio_serial=VirtioSerial(),
        disks=(Disk("vda", "/a.img", direct=True, iops=1000, alias="virtio-disk0"),),
        ports=(Port("console", "pty", alias="console0"),))
    assert arguments(machine, Path("/r"), paused=True) == GOLDEN.split()
