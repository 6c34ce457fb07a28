"""From a Machine to StratoVirt's arguments: a pure function.

Devices stand after what they plug into; each gets a root port of its own, by kind and then by key,
so that the order of a file means nothing. Eight root ports share a slot of pcie.0, from slot 1.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.domain.model import Disk, Machine

SPARE_PORTS = 4


def arguments(machine: Machine, directory: Path, *, paused: bool) -> list[str]:
    """The arguments after the program; `directory` is where the sockets of this VM live."""
    boot = machine.boot
    args = ["-name", machine.name, "-uuid", machine.uuid,
            "-machine", machine.type + (",gic-version=3" if machine.gic else ""),
            "-cpu", "host", "-smp", str(machine.vcpus), "-m", f"{machine.memory >> 20}m",
            "-smbios", f"type=1,uuid={machine.uuid}"]
    for flag, value in (("-kernel", boot.kernel), ("-initrd", boot.initrd),
                        ("-append", boot.cmdline)):
        if value:
            args += [flag, value]
    if boot.loader:
        args += ["-drive", f"file={boot.loader},if=pflash,unit=0"
                 + (",readonly=true" if boot.loader_readonly else "")]
    if boot.nvram:
        args += ["-drive", f"file={boot.nvram},if=pflash,unit=1"]
    for number in machine.iothreads:
        args += ["-object", f"iothread,id=iothread{number}"]
    args += _devices(machine)
    args += ["-qmp", f"unix:{directory / 'qmp.sock'},server,nowait",
             "-chardev", f"socket,id=people,path={directory / 'monitor.sock'},server,nowait",
             "-mon", "chardev=people,id=people,mode=control"]
    return [*args, "-S"] if paused else args


def _devices(machine: Machine) -> list[str]:
    plugged: list[tuple[list[str], str]] = []  # (what comes before, the device without its place)
    for net in machine.interfaces:
        plugged.append((["-netdev", f"tap,id=host{net.alias},ifname={net.tap}"],
                        f"virtio-net-pci,netdev=host{net.alias},id={net.alias},mac={net.mac}"))
    if machine.virtio_serial:
        plugged.append(([], f"virtio-serial-pci,id={machine.virtio_serial.alias}"))
    for disk in machine.disks:
        iothread = f",iothread=iothread{disk.iothread}" if disk.iothread else ""
        serial = f",serial={disk.serial}" if disk.serial else ""
        plugged.append((["-drive", _drive(disk)],
                        f"virtio-blk-pci,drive=drive-{disk.alias},id={disk.alias}{iothread}{serial}"))
    if machine.balloon:
        options = (",deflate-on-oom=true" if machine.balloon.deflate_on_oom else "") + (
            ",free-page-reporting=true" if machine.balloon.free_page_reporting else "")
        plugged.append(([], f"virtio-balloon-pci,id={machine.balloon.alias}{options}"))
    args: list[str] = []
    for index in range(1, len(plugged) + SPARE_PORTS + 1):
        args += ["-device", _root_port(index)]
    for index, (before, device) in enumerate(plugged, 1):
        args += [*before, "-device", f"{device},bus=pcie.{index},addr=0x0"]
    for port in machine.ports:
        backend = port.backend if port.path is None else f"{port.backend},path={port.path}"
        if port.kind == "serial":
            args += ["-serial", backend]
        else:
            kind, _, rest = backend.partition(",")
            args += ["-chardev", ",".join(filter(None, (kind, f"id=char{port.alias}", rest))),
                     "-device", f"virtconsole,chardev=char{port.alias},id={port.alias}"]
    return args


def _root_port(index: int) -> str:
    slot, function = 1 + (index - 1) // 8, (index - 1) % 8
    place = f"0x{slot:x}" + (f".0x{function:x}" if function else ",multifunction=on")
    return f"pcie-root-port,id=pcie.{index},port=0x{7 + index:x},bus=pcie.0,addr={place}"


def _drive(disk: Disk) -> str:
    options = [f"file={disk.path}", f"id=drive-{disk.alias}",
               f"readonly={'on' if disk.readonly else 'off'}"]
    if disk.direct is not None:
        options.append(f"direct={'on' if disk.direct else 'off'}")
    if disk.aio:
        options.append(f"aio={disk.aio}")
    if disk.iops:
        options.append(f"throttling.iops-total={disk.iops}")
    return ",".join(options)
