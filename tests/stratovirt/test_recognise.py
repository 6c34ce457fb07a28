"""Command lines as people and libvirt write them; nothing is dropped without a word."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from reconciler.domain.model import MachineType, Topology
from reconciler.domain.options import ImportContext
from reconciler.domain.place import Place
from reconciler.errors import UsageError
from reconciler.stratovirt.recognise import recognise

HERE = ImportContext(Path("/srv"), "vm-7", page_of={"/mnt/huge": 2 << 20}.get,
                    bridge_of={"tap0": "br0"}.get)
MICROVM = """-machine microvm -kernel vmlinux.bin
    -append 'console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda'
    -drive file=rootfs,id=rootfs,readonly=off,direct=off
    -device virtio-blk-device,drive=rootfs,id=rootfs -qmp unix:a.sock,server,nowait
    -serial socket,path=/tmp/s,server,nowait"""
# As libvirt's driver starts one, with all that StratoVirt takes and ignores.
LIBVIRT = """-name guest=fedora,debug-threads=on -S
    -machine q35,accel=kvm,usb=off,dump-guest-core=on -cpu host -m 8192
    -overcommit mem-lock=off -smp 4,sockets=4,cores=1,threads=1
    -object iothread,id=iothread1 -uuid C0FFEE00-1111-4222-8333-444455556666 -no-user-config
    -nodefaults -chardev socket,id=charmonitor,path=/run/m.sock,server,nowait
    -mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc -no-shutdown -boot strict=on
    -drive file=/usr/share/OVMF_CODE.fd,if=pflash,unit=0,readonly=true
    -drive file=/usr/share/OVMF_VARS.fd,if=pflash,unit=1
    -device pcie-root-port,port=0x8,chassis=1,id=pci.1,bus=pcie.0,multifunction=on,addr=0x1
    -device pcie-root-port,port=0x9,chassis=2,id=pci.2,bus=pcie.0,addr=0x1.0x1
    -device virtio-serial-pci,id=virtio-serial0,bus=pci.2,addr=0x0,max-ports=8
    -drive file=/i/a.img,id=drive-virtio-disk0,if=none,format=raw,readonly=off,direct=true
    -device virtio-blk-pci,iothread=iothread1,bus=pci.1,addr=0x0,drive=drive-virtio-disk0,\
id=virtio-disk0,bootindex=1
    -netdev tap,ifname=tap0,id=hostnet0
    -device virtio-net-pci,netdev=hostnet0,id=net0,mac=DE:AD:BE:EF:00:01,bus=pcie.0,addr=3
    -chardev pty,id=charconsole0 -device virtconsole,chardev=charconsole0,id=console0
    -chardev socket,id=charchannel0,path=/run/agent,server,nowait
    -device virtserialport,nr=1,chardev=charchannel0,id=channel0
    -device virtio-balloon-pci,id=balloon0,bus=pcie.0,addr=0x4.0x0 -sandbox on -msg timestamp=on"""


def take(text, around=HERE):
    return recognise(shlex.split(text), around)


def domain(text):
    found = take(text)
    assert found.left == ()
    return found.domain


def left(text, **more):
    """What is reported for a microvm with these options added."""
    return [str(entry) for entry in take(f"{MICROVM} {text}", **more).left]


def device(found, kind):
    return next(d for d in found.devices if kind == d.KIND)


def test_a_microvm_from_the_guidebook():
    found = take(MICROVM)
    machine = found.domain
    assert found.left == ()
    assert (machine.machine, machine.memory, machine.vcpus) == (MachineType.MICROVM, 256 << 20, 1)
    assert machine.boot.kernel == "/srv/vmlinux.bin"
    assert machine.boot.cmdline.endswith("root=/dev/vda")
    assert machine.name == "vm-7"
    disk, serial = device(machine, "disk"), device(machine, "serial")
    assert (disk.path, disk.target, disk.alias, disk.direct, disk.aio, disk.place) == (
        "/srv/rootfs", "vda", "rootfs", False, "off", None)
    assert (serial.backend, serial.path) == ("unix", "/tmp/s")
    assert (found.monitors, found.paused) == (("/srv/a.sock",), False)


def test_libvirts_own_command_line():
    found = take(LIBVIRT)
    assert found.left == ()
    vm = found.domain
    assert (vm.name, vm.uuid) == ("fedora", "c0ffee00-1111-4222-8333-444455556666")
    assert (vm.memory, vm.vcpus, vm.topology) == (8 << 30, 4, Topology(sockets=4))
    assert (vm.boot.loader_readonly, vm.boot.nvram) == (True, "/usr/share/OVMF_VARS.fd")
    assert vm.iothreads == (1,)
    disk, card = device(vm, "disk"), device(vm, "interface")
    assert (disk.place, disk.iothread, disk.target, disk.boot) == (Place(1, 0), 1, "vda", 1)
    assert (card.mac, card.place, card.bridge) == ("de:ad:be:ef:00:01", Place(0, 3), "br0")
    assert device(vm, "virtio-serial").place == Place(2, 0)
    assert device(vm, "channel").name == "org.qemu.guest_agent.0"
    assert (found.paused, found.monitors) == (True, ("/run/m.sock",))


@pytest.mark.parametrize(("text", "counts"), [
    ("", (1, None, None)), ("-smp 4", (4, None, None)), ("-smp cpus=4", (4, None, None)),
    ("-smp 2,maxcpus=4", (4, 2, None)), ("-smp cpus=2,maxcpus=2", (2, None, None)),
    ("-smp 8,sockets=2,dies=1,clusters=1,cores=2,threads=2",
     (8, None, Topology(2, 1, 1, 2, 2))),
    ("-smp 2,sockets=2,cores=2,threads=1", (4, 2, Topology(2, 1, 1, 2, 1))),
    ("-smp 8,cores=4", (8, None, Topology(2, 1, 1, 4, 1))),
    ("-smp 8,sockets=2", (8, None, Topology(2, 1, 1, 4, 1))),
    ("-smp 8,threads=2", (8, None, Topology(1, 1, 1, 4, 2))),
    ("-smp 8,dies=2,clusters=2", (8, None, Topology(1, 2, 2, 2, 1))),
    ("-smp 8,sockets=2,cores=2", (8, None, Topology(2, 1, 1, 2, 2)))])
def test_processors_in_every_form(text, counts):
    found = domain(f"{MICROVM} {text}")
    assert (found.vcpus, found.current_vcpus, found.topology) == counts


@pytest.mark.parametrize(("text", "mib"), [
    ("", 256), ("-m 512", 512), ("-m 512m", 512), ("-m 512M", 512), ("-m 2g", 2048),
    ("-m 2G", 2048), ("-m size=2G", 2048), ("-m 262144k", 256), ("-m 2G,maxmem=2048M", 2048)])
def test_memory_in_every_form(text, mib):
    assert domain(f"{MICROVM} {text}").memory == mib << 20


@pytest.mark.parametrize(("text", "backing"), [
    ("-mem-prealloc", (True, False, None)), ("-mem-path /mnt/huge -mem-prealloc",
                                             (False, False, 2 << 20))])
def test_where_memory_comes_from(text, backing):
    found = domain(f"{MICROVM} {text}").backing
    assert (found.prealloc, found.shared, found.hugepages) == backing


@pytest.mark.parametrize(("text", "kind", "arm"), [
    ("-machine type=microvm,mem-share=on", MachineType.MICROVM, False),
    ("-machine virt,gic-version=3,mem-share=on", MachineType.VIRT, True)])
def test_machines(text, kind, arm):
    found = domain(text)
    assert (found.machine, found.gic, found.backing.shared) == (kind, arm, True)


def test_a_command_line_without_a_vm_is_not_a_domain():
    with pytest.raises(UsageError, match="machine 'none'"):
        take("-machine none -qmp unix:/a,server,nowait")


@pytest.mark.parametrize(("text", "name"), [
    ("-name a", "a"), ("-name guest=a", "a"), ("-name guest=a,debug-threads=on", "a"),
    ("-name a,debug-threads=on,process=x", "a")])
def test_names(text, name):
    assert domain(f"{MICROVM} {text}").name == name


def test_a_uuid_that_only_the_guest_is_shown_is_the_domains():
    shown = "-smbios type=1,uuid=c0ffee00-1111-4222-8333-444455556666"
    assert domain(f"{MICROVM} {shown}").uuid == "c0ffee00-1111-4222-8333-444455556666"
    one, other = domain(f"{MICROVM} -name a"), domain(f"{MICROVM} -name b")
    assert one.uuid != other.uuid
    assert one.uuid == domain(f"{MICROVM} -name a").uuid


@pytest.mark.parametrize(("value", "truth"), [
    ("on", True), ("true", True), ("yes", True), ("off", False), ("no", False)])
def test_switches_in_every_spelling(value, truth):
    found = domain(MICROVM.replace("readonly=off", f"readonly={value}"))
    assert device(found, "disk").readonly is truth


def test_all_options_of_a_disk():
    found = domain("-drive file=/a,id=d,aio=io_uring,format=qcow2,discard=unmap,"
                   "detect-zeroes=unmap,throttling.iops-total=70,media=disk "
                   "-device virtio-blk-device,drive=d,id=x,"
                   "serial=S,num-queues=2,queue-size=64,bootindex=0")
    disk = device(found, "disk")
    assert (disk.aio, disk.format, disk.discard, disk.detect_zeroes, disk.iops) == (
        "io_uring", "qcow2", "unmap", "unmap", 70)
    assert (disk.serial, disk.queues, disk.queue_size, disk.boot) == ("S", 2, 64, 1)


def disks(*ids):
    return domain(" ".join(
        f"-drive file=/{n},id=d{n} -device virtio-blk-device,drive=d{n},id={name}"
        for n, name in enumerate(ids))).devices


def test_disks_keep_the_order_in_which_microvm_shows_them():
    assert [(d.path, d.target) for d in disks("virtio-disk1", "virtio-disk3")] == [
        ("/0", "vdb"), ("/1", "vdd")]
    assert [(d.path, d.target) for d in disks("virtio-disk1", "virtio-disk0")] == [
        ("/0", "vda"), ("/1", "vdb")]
    many = disks(*(f"x{n}" for n in range(30)))
    assert [d.path for d in many] == [f"/{n}" for n in range(30)]


def test_cards_without_a_mac_have_stratovirts_own():
    cards = [",mac=52:54:00:12:34:57", "", "", ",mac=52:54:00:12:34:AB"]
    found = domain(" ".join(
        f"-netdev tap,id=n{n},ifname=t{n} -device virtio-net-device,netdev=n{n},id=n{n}{mac}"
        for n, mac in enumerate(cards)))
    assert {d.tap: d.mac[-2:] for d in found.devices} == {
        "t0": "57", "t1": "56", "t2": "58", "t3": "ab"}


def test_boot_orders_begin_with_1():
    found = domain("-drive file=/a,id=a -device virtio-blk-device,drive=a,id=a,bootindex=1 "
                   "-drive file=/b,id=b -device virtio-blk-device,drive=b,id=b,bootindex=0 "
                   "-drive file=/c,id=c -device virtio-blk-device,drive=c,id=c")
    assert [d.boot for d in found.devices] == [2, 1, None]


def test_root_ports_and_threads_of_any_name():
    found = domain("-machine q35 -object iothread,id=fast -object iothread,id=iothread1 "
                   "-device pcie-root-port,id=up,port=0x10,bus=pcie.0,addr=0x2 "
                   "-device pcie-root-port,id=rp7,port=0x18,bus=pcie.0,addr=0x3 "
                   "-device virtio-balloon-pci,id=b,bus=rp7,addr=0x0 -drive file=/a,id=a "
                   "-device virtio-blk-pci,drive=a,id=a,bus=up,addr=0,iothread=iothread1")
    assert [(d.KIND, d.place) for d in found.devices] == [
        ("root-port", Place(0, 2)), ("root-port", Place(0, 3)), ("disk", Place(1, 0)),
        ("memballoon", Place(7, 0))]
    assert found.iothreads == (1, 2)
    assert device(found, "disk").iothread == 2


def test_ports_without_a_number_are_where_stratovirt_puts_them():
    chardevs = " ".join(f"-chardev pty,id=c{n}" for n in range(3))
    found = domain(f"-machine q35 -device virtio-serial-pci,id=s,bus=pcie.0,addr=2 {chardevs} "
                   "-device virtconsole,chardev=c0,id=a -device virtserialport,chardev=c1,id=b "
                   "-device virtconsole,chardev=c2,id=c")
    assert [(d.alias, d.number) for d in found.devices if d.KIND in ("console", "channel")] == [
        ("a", 0), ("c", 1), ("b", 1)]


def test_a_socket_of_the_vms_own_directory_is_not_written():
    text = ("-machine q35 -device virtio-serial-pci,id=s,bus=pcie.0,addr=2 -chardev "
            "socket,id=c,path=/run/v/agent.sock,server,nowait -device "
            "virtserialport,chardev=c,id=b,nr=1")
    own = ImportContext(Path("/"), own="/run/v")
    assert device(take(text, own).domain, "channel").path is None
    assert device(take(text).domain, "channel").path == "/run/v/agent.sock"


@pytest.mark.parametrize(("text", "reported"), [
    ("-bogus x", "-bogus x: not supported"),
    ("-numa node,cpus=0", "not supported"),
    ("-incoming tcp:1.2.3.4:5", "not supported"),
    ("-smbios type=0,vendor=x", "not supported"),
    ("-disable-seccomp", "not supported"),
    ("-object memory-backend-ram,size=2G,id=m", "not supported"),
    ("-device usb-kbd,id=k", "not supported"),
    ("-drive file=/x,id=lonely", "not supported"),
    ("-netdev tap,id=n,ifname=t", "not supported"),
    ("-chardev pty,id=lonely", "not supported"),
    ("-cpu host,pmu=on", "pmu=on: not supported"), ("-cpu max", "accepted: host"),
    ("-m 1G,maxmem=2G", "maxmem"), ("-m 300000k", "rounded up"), ("-m x", "not a size"),
    ("-smp x,maxcpus=y", "maxcpus=y is not a number"),
    ("-name 'a b'", "'vm-7' is written"), ("-uuid zz", "not a uuid"),
    ("-mem-path /tmp -mem-prealloc", "not on a hugetlbfs"),
    ("-mem-path /mnt/huge", "-mem-prealloc"),
    ("-display gtk", "display"), ("-vnc unix:/a", "ADDRESS:DISPLAY"),
    ("-vnc 0.0.0.0:0,tls-creds=x", "tls-creds=x: not supported"),
    ("-device virtio-blk-device,drive=none,id=x", "there is no -drive of id 'none'"),
    ("-netdev vhost-user,id=n,chardev=c -device virtio-net-device,netdev=n,id=n", "not a tap"),
    ("-netdev tap,id=n,fd=3 -device virtio-net-device,netdev=n,id=n", "fd=3: not supported"),
    ("-device virtio-balloon-device,auto-balloon=true", "auto-balloon=true: not supported"),
    ("-device virtio-balloon-device,deflate-on-oom=perhaps", "neither on nor off"),
    ("-device virtio-balloon-device,id=a/b", "id: "),
    ("-device vfio-pci,host=x,id=h", "host: not a PCI address"),
    ("-device vfio-pci,host=03:00.0,id=h", "managed='no'"),
    ("-device virtio-balloon-pci,id=b,bus=pcie.9,addr=0", "there is no bus 'pcie.9'"),
    ("-device virtio-balloon-pci,id=b,bus=pcie.0,addr=x", "addr=x is not a PCI address"),
    ("-device pcie-root-port,id=pcie.1,port=0x1,bus=pcie.0,addr=0x1", "port=0x1"),
    ("-device scsi-hd,drive=none,bus=scsi0.0,id=s", "its scsi bus"),
    ("-device virtio-serial-device -chardev stdio,id=c -device virtconsole,id=c,chardev=c",
     "not a pty, a file"),
    (("-device virtio-serial-device -chardev socket,id=c,port=9,server,nowait -device "
     "virtconsole,id=c,chardev=c"), "port=9: not supported"),
    ("-device virtio-serial-device -chardev pty,id=c -device virtconsole,id=c,chardev=c,nr=1",
     "port 1 is reserved")])
def test_options_that_are_not_taken_over_are_reported(text, reported):
    found = left(text)
    assert found
    assert any(reported in entry for entry in found), found


def test_a_serial_port_on_a_terminal_is_reported():
    assert [str(e) for e in take("-serial stdio").left] == [
        ("-serial stdio: not a pty, a file, or a socket with a path, server and nowait; its "
         "device is left out")]
    assert device(domain("-chardev pty,id=c -serial chardev:c"), "serial").backend == "pty"
    assert "no -chardev" in str(take("-serial chardev:c").left)


@pytest.mark.parametrize("flag", [
    "-overcommit mem-lock=on", "-no-user-config", "-nodefaults", "-sandbox on", "-msg timestamp=on",
    "-rtc base=utc", "-no-shutdown", "-boot strict=on", "-nographic", "-realtime mlock=off",
    "-display none", "-usb", "-D", "-D /var/log/x", "-daemonize -pidfile /run/p", "-accel kvm"])
def test_options_without_effect_are_not_reported(flag):
    assert left(flag) == []


def test_devices_of_optional_builds():
    found = domain(
        "-machine q35 -vnc 127.0.0.1:3 -device virtio-gpu-pci,id=v,bus=pcie.0,addr=2 "
        "-device vhost-vsock-pci,id=k,guest-cid=9,bus=pcie.0,addr=3 "
        "-object rng-random,id=r,filename=/dev/urandom "
        "-device virtio-rng-pci,rng=r,id=g,max-bytes=1000,period=500,bus=pcie.0,addr=4 "
        "-device virtio-scsi-pci,id=scsi0,bus=pcie.0,addr=5,num-queues=4 "
        "-drive file=/a,id=d0,readonly=true -device scsi-cd,bus=scsi0.0,channel=0,scsi-id=1,lun=2,"
        "drive=d0,id=c")
    assert device(found, "graphics").port == 5903
    assert device(found, "vsock").cid == 9
    rng = device(found, "rng")
    assert (rng.path, rng.bytes, rng.period) == ("/dev/urandom", 1000, 500)
    disk = device(found, "disk")
    assert (disk.controller, disk.scsi_target, disk.unit, disk.bus, disk.optical) == (
        0, 1, 2, "scsi0", True)
