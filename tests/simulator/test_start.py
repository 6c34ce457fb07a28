"""Conformance: how a start is refused, by the simulator and by a real StratoVirt."""

import os
import select
import subprocess

import pytest

RANGE = "should in range of [134217728, 549755813888] bytes"
SECOND = "-drive file=d2.img,id=d1,direct=off,aio=off -device virtio-blk-pci,drive=d1,id=vd1,"
REFUSED = {
    "unknown option": ("-bogus x", {}, "Found argument '-bogus' which wasn't expected"),
    "two dashes": ("--machine=q35", {}, "Found argument '--machine=q35' which wasn't expected"),
    "value that looks like an option": ("", {"name": "-name -x"}, "Found argument '-x'"),
    "stray word": ("", {"name": "x -name a"}, "Found argument 'x' which wasn't expected"),
    "machine twice": ("-machine q35", {}, "'machine' was provided more than once"),
    "smp twice": ("-smp 1", {}, "The argument 'smp' was provided more than once"),
    "m twice": ("-m 256m", {}, "The argument 'm' was provided more than once"),
    "kernel twice": ("-kernel a -kernel b", {}, "'kernel' was provided more than once"),
    "S with a value": ("-S x", {}, "The value 'x' is illegel for argument 'S'"),
    "no value": ("-pidfile", {}, "The argument 'pidfile' requires a value"),
    "memory too small": ("", {"m": "-m 64m"}, f"(67108864 bytes) {RANGE}"),
    "memory too big": ("", {"m": "-m 600g"}, f"(644245094400 bytes) {RANGE}"),
    "memory no number": ("", {"m": "-m 12x"}, "Unable to parse '12x' for 'u64'"),
    "no processor": ("", {"smp": "-smp 0"}, "1: 0 is not in 1..=254"),
    "too many processors": ("", {"smp": "-smp 255"}, "1: 255 is not in 1..=254"),
    "maxcpus": ("", {"smp": "-smp 2,maxcpus=1"}, "MAX CPU number must >= 2 and <= 254."),
    "topology": ("", {"smp": "-smp 4,sockets=3"}, "threads must be equal to max_cpus"),
    "machine type": ("", {"machine": "-machine pc"}, "1: Invalid machine type."),
    "microvm without kernel": (
        "",
        {"machine": "-machine microvm", "fw": "", "rp": "", "disk": ""},
        "kernel file is required for microvm machine type",
    ),
    "no disk": ("", {"drive": "", "disk": ""}, "Before Vm start, set a initrd or drive_file or "),
    "no firmware": ("", {"fw": ""}, "1: Kernel is required for direct-boot mode."),
    "kernel is no kernel": ("-kernel d.img", {}, "2: Invalid magic in ELF header"),
    "small firmware": (
        "",
        {"fw": "-drive file=fw64,if=pflash,unit=0,readonly=true"},
        "1: pflash file size less than rom size",
    ),
    "missing disk": ("", {"drive": "-drive file=no,id=d0"}, "Failed to get metadata of file no: "),
    "comma": ("", {"drive": "-drive file=a,,b,id=d0"}, "error: unexpected argument found"),
    "equals sign": ("", {"drive": "-drive file=a=b,id=d0"}, "error: unexpected argument found"),
    "drive twice": (
        "-drive file=d2.img,id=d0,direct=off,aio=off",
        {},
        "Drive d0 has been added",
    ),
    "direct without aio": (
        "",
        {"drive": "-drive file=d.img,id=d0,aio=off"},
        'low performance expected when use sync io with "direct" on',
    ),
    "iops": (
        "",
        {"drive": "-drive file=d.img,id=d0,direct=off,aio=off,throttling.iops-total=1000001"},
        "1: 1000001 is not in 0..=1000000",
    ),
    "place taken": (
        SECOND + "bus=pcie.1,addr=0x0",
        {},
        "3: Location of the device vd1 is same as one of the bus pcie.1",
    ),
    "bus unknown": (SECOND + "bus=pcie.9,addr=0x0", {}, "2: Parent bus :pcie.9 not found"),
    "id twice": (
        "-device virtio-balloon-pci,id=vd0,bus=pcie.0,addr=0x5",
        {},
        "1: Device id vd0 existed",
    ),
    "no bus": ("", {"disk": "-device virtio-blk-pci,drive=d0,id=v,addr=0x0"}, "Should set bus."),
    "no addr": ("", {"disk": "-device virtio-blk-pci,drive=d0,id=v,bus=pcie.1"}, "set addr."),
    "port later than disk": (
        "-device pcie-root-port,id=pcie.1,port=0x8,bus=pcie.0,addr=0x1",
        {"rp": ""},
        "2: Parent bus :pcie.1 not found",
    ),
    "one file twice": (
        SECOND.replace("d2.img", "d.img") + "bus=pcie.0,addr=0x5",
        {},
        (
            "d.img, file can only be shared with read_only. Is it used more than once or another "
            "process using the same file?"
        ),
    ),
    "serial stdio": ("", {"serial": "-serial stdio"}, "Failed to set terminal to raw mode"),
    "serial chardev": ("", {"serial": "-serial chardev:x"}, 'Chardev "x" not found or is in use'),
    "rng": ("-device virtio-rng-pci,id=x,rng=r", {}, 'Unsupported device: "virtio-rng-pci"'),
    "vsock": ("-device vhost-vsock-pci,id=x", {}, 'Unsupported device: "vhost-vsock-pci"'),
    "vfio": ("-device vfio-pci,id=x", {}, 'Unsupported device: "vfio-pci"'),
    "gpu": ("-device virtio-gpu-pci,id=x", {}, 'Unsupported device: "virtio-gpu-pci"'),
    "scsi": ("-device virtio-scsi-pci,id=x", {}, 'Unsupported device: "virtio-scsi-pci"'),
    "vhost-user": ("-device vhost-user-blk-pci,id=x", {}, 'device: "vhost-user-blk-pci"'),
    "vnc": ("-vnc 0.0.0.0:0", {}, "Found argument '-vnc' which wasn't expected"),
    "balloon switch": (
        "-device virtio-balloon-pci,id=b,bus=pcie.0,addr=0x5,deflate-on-oom=on",
        {},
        "error: one of the values isn't valid for an argument",
    ),
    "console without bus": (
        "-chardev pty,id=c -device virtconsole,chardev=c,id=c0",
        {},
        "1: No virtio serial device specified",
    ),
    "netdev missing": (
        "-device virtio-net-pci,netdev=n0,id=net0,bus=pcie.0,addr=0x6",
        {},
        '1: Netdev: "n0" not found for net device',
    ),
    "pidfile alone": ("-pidfile p", {}, "-pidfile must be used with -daemonize together."),
    "no monitor": ("", {"qmp": ""}, "Please use '-qmp' or '-mon' to give a qmp path"),
    "long socket": (
        "",
        {"qmp": f"-qmp unix:/tmp/{'x' * 103},server,nowait"},
        "path must be shorter than SUN_LEN",
    ),
    "no folder": ("", {"qmp": "-qmp unix:no/q,server,nowait"}, "(os error 2)"),
    "incoming": ("-incoming foo", {}, "Invalid incoming config foo"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(both, case, tmp_path):
    (tmp_path / "fw64").write_bytes(bytes(65536))
    more, changes, reason = REFUSED[case]
    machine = both()
    status, said = machine.refused(more, **changes)
    assert (status, reason in said) == (1, True), said
    assert "Stack backtrace" in said
    assert not machine.socket.exists()


ACCEPTED = {
    "ignored options": "-uuid x -nodefaults -no-user-config -no-shutdown -nographic "
    "-sandbox on,obsolete=deny -msg timestamp=on -rtc base=utc -overcommit mem-lock=off "
    "-realtime mlock=off -display none -usb -boot strict=on",
    "append": "-append 'console=hvc0,a root=/dev/vda x=y,z'",
    "function": SECOND + "bus=pcie.0,addr=0x1.0x2",
    "tap that is not there": "-netdev tap,id=n0,ifname=simnotap -device virtio-net-pci,netdev=n0,"
    "id=net0,mac=de:ad:be:ef:00:01,bus=pcie.0,addr=0x6",
    "smbios": "-smbios type=1,uuid=b74cd7c8-7e4d-4e5d-a5d8-1f2a3b4c5d6e",
    "iothread": "-object iothread,id=io1",
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(both, case):
    client = both().running(ACCEPTED[case])
    assert client.ask("query-status")["return"]["running"]


def test_name_is_taken_literally(both):
    both().running(name="-name guest=a,debug-threads=on")


def test_smallest_and_first_machine(both):
    assert both().running(machine="-machine none").ask("query-version")["return"]


def test_reason_goes_to_the_log_file_only(both, tmp_path):
    machine = both()
    assert machine.refused("-D x.log -device bogus,id=b") == (1, "")
    assert 'Unsupported device: "bogus"' in (tmp_path / "x.log").read_text()
    assert (tmp_path / "x.log").stat().st_mode & 0o777 == 0o640


def test_a_wrong_value_is_on_stderr_even_with_a_log_file(both, tmp_path):
    status, said = both().refused("-D x.log", m="-m 64m")
    assert status == 1
    assert "Caused by:\n    current memory size" in said
    assert "Caused by:\n    current memory size" in (tmp_path / "x.log").read_text()


def test_daemon(both, tmp_path):
    machine = both().start("-daemonize -pidfile p.pid -D d.log")
    assert machine.wait() == 0
    client = machine.connect()
    pid = int((tmp_path / "p.pid").read_text())
    assert (tmp_path / "p.pid").stat().st_mode & 0o777 == 0o600
    other = both("web2")
    status, said = other.refused("-daemonize -pidfile p.pid")
    assert (status, "Pidfile path is existed yet." in said) == (1, True)
    watched = os.pidfd_open(pid)
    assert client.ask("quit") == {"return": {}}
    assert client.at_end()

    assert select.select([watched], [], [], 10)[0]
    os.close(watched)
    assert not (tmp_path / "p.pid").exists()
    assert not machine.socket.exists()


def test_version(both):

    machine = both()
    done = subprocess.run(
        [*machine.program, "-version"], capture_output=True, text=True, timeout=10, check=True
    )
    assert done.stdout.startswith("StratoVirt 2.5.0 ")
    done = subprocess.run(
        [*machine.program, "--version"], capture_output=True, timeout=10, check=False
    )
    assert done.returncode == 1
