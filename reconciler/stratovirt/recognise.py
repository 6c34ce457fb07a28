"""Builds a Domain from a StratoVirt command line: the inverse of command_line.py.

For VMs that were started by another tool. Options of a device are read in domain/devices; options
of the machine, and those that only say how the process is run, here. Pure: facts that a command
line does not contain come from ImportContext, and options without an equivalent are returned.
"""

from __future__ import annotations

import uuid as uuids
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import KINDS, Disk, controller
from reconciler.domain.model import Backing, Boot, Device, Domain, MachineType, Topology
from reconciler.domain.options import ImportContext, Option, Options, Unrecognised
from reconciler.domain.reader import derived_uuid
from reconciler.domain.table import NAME
from reconciler.errors import UsageError
from reconciler.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Options that StratoVirt accepts and ignores, and options that only say how a process is run.
_WITHOUT_MEANING = (
    "-overcommit", "-no-user-config", "-nodefaults", "-sandbox", "-msg", "-rtc", "-no-shutdown",
    "-boot", "-nographic", "-realtime", "-usb", "-D", "-daemonize", "-pidfile", "-accel")
_DEFAULT_MEMORY = 256 * MIB
_UNITS = {"k": 1 << 10, "m": MIB, "g": 1 << 30}
_LEVELS = ("sockets", "dies", "clusters", "cores", "threads")


@dataclass(frozen=True, slots=True)
class Recognised:
    """A command line's domain, and its options without an equivalent in a domain file."""

    domain: Domain
    left: tuple[Unrecognised, ...]
    monitors: tuple[str, ...]  # socket paths; that of the second monitor last
    paused: bool  # whether it was started paused; it may be running now


def recognise(argv: Sequence[str], around: ImportContext) -> Recognised:
    """Read the arguments after the program; raises UsageError if they do not start a VM."""
    options = Options.of(argv, around)
    for option in (o for flag in _WITHOUT_MEANING for o in options.take(flag)):
        option.whole()
    for option in options.take("-display"):
        if option.kind not in ("none", ""):
            option.note("not supported in a domain file")
    monitors = _monitors(options)
    paused = bool([*options.take("-S"), *options.take("-freeze")])
    name, uuid = _identity(options)
    machine, shared, gic = _machine(options)
    count, now, shape = _processors(options)
    threads = _iothreads(options)
    boot = _boot(options)
    ports_first = sorted(KINDS, key=lambda kind: kind is not controller)
    devices = _counted_from_one([d for kind in ports_first for d in kind.recognise(options)])
    domain = Domain(
        name=name, uuid=uuid, machine=machine, memory=_memory(options), vcpus=count,
        current_vcpus=now, topology=shape, backing=_backing(options, shared=shared), boot=boot,
        gic=gic, iothreads=threads, devices=tuple(sorted(devices, key=Device.sort_key)))
    return Recognised(domain, options.unrecognised(), monitors, paused)


def _monitors(options: Options) -> tuple[str, ...]:
    found = [option.whole().partition(",")[0].removeprefix("unix:")
             for option in options.take("-qmp")]
    for option in options.take("-mon"):
        option.skip("id", "mode")
        chardev = options.backend(option, "-chardev", "chardev")
        if chardev is not None:
            chardev.skip("server", "nowait", "host", "port")
            found.append(chardev.text("path") or "")
    return tuple(path for text in found if (path := options.path(text)) is not None)


# The machine


def _identity(options: Options) -> tuple[str, str]:
    """Name and uuid. From `guest=a,…` only `a` is taken, as libvirt does; StratoVirt takes all."""
    name, shown = _name(options), None
    for option in options.take("-smbios"):
        if option.text("type") == "1":
            shown = option.text("uuid")
        else:
            option.note("not supported")
    given = options.one("-uuid")
    text = given.whole() if given is not None else shown
    if text is not None:
        try:
            return name, str(uuids.UUID(text))
        except ValueError:
            options.add_unrecognised(f"-uuid {text}",
                                     "not a uuid; one derived from the name is written")
    return name, derived_uuid(name)


def _name(options: Options) -> str:
    option, default = options.one("-name"), options.context.name
    if option is None:
        return default
    option.skip("debug-threads", "process")
    try:
        return str(NAME.parse(option.kind or option.text("guest") or ""))
    except ValueError as error:
        option.note(f"{error}; '{default}' is written")
        return default


def _machine(options: Options) -> tuple[MachineType, bool, bool]:
    """The machine type, whether memory is shared, whether it has a GIC."""
    cpu, option = options.one("-cpu"), options.one("-machine")
    if cpu is not None and cpu.kind != "host":
        cpu.note("accepted: host")
    if option is None:
        return MachineType.MICROVM, False, False  # StratoVirt's own default
    option.skip("accel", "usb")
    if option.truth("dump-guest-core") is False:
        option.note("dump-guest-core=off: not supported")
    name = (option.kind or option.text("type") or "").lower()
    if name not in list(MachineType):
        raise UsageError(f"machine '{name}' does not run a VM",
                         hint="such a process only reports what StratoVirt supports")
    return (MachineType(name), option.truth("mem-share") or False,
            option.number("gic-version") is not None)


def _memory(options: Options) -> int:
    """Bytes. Without a unit MiB, without the option 256 MiB."""
    option = options.one("-m")
    if option is None:
        return _DEFAULT_MEMORY
    size = _size(option, option.kind or option.text("size") or "")
    most = option.text("maxmem")
    if most is not None and _size(option, most) != size:
        option.note("maxmem: memory hot plug is not supported in a domain file")
    if size % MIB:
        option.note("rounded up to whole MiB")
    return -(-size // MIB) * MIB


def _size(option: Option, text: str) -> int:
    unit = _UNITS.get(text[-1:].lower())
    digits = text[:-1] if unit else text
    if not digits.isdecimal():
        option.note(f"'{text}' is not a size; 256 MiB are written")
        return _DEFAULT_MEMORY
    return int(digits) * (unit or MIB)


def _backing(options: Options, *, shared: bool) -> Backing:
    """With huge pages, memory is always preallocated: -mem-prealloc is implied."""
    prealloc, option = bool(options.take("-mem-prealloc")), options.one("-mem-path")
    if option is None:
        return Backing(prealloc, shared)
    page = options.context.page_of(option.whole())
    if page is None:
        option.note("not on a hugetlbfs: not supported")
        return Backing(prealloc, shared)
    if not prealloc:
        option.note("without -mem-prealloc: a domain file always preallocates huge pages")
    return Backing(shared=shared, hugepages=page)


def _processors(options: Options) -> tuple[int, int | None, Topology | None]:
    """The maximum, the count at start if it is lower, the topology if it is given."""
    option = options.one("-smp")
    if option is None:
        return 1, None, None
    counts = {name: option.number(name) or 0 for name in ("cpus", "maxcpus", *_LEVELS)}
    if option.kind:
        counts["cpus"] = int(option.kind) if option.kind.isdecimal() else 1
    counts["cpus"] = counts["cpus"] or 1
    given = [counts[name] for name in _LEVELS]
    most = counts["maxcpus"] or _product(given) or counts["cpus"]
    now = None if counts["cpus"] == most else counts["cpus"]
    return most, now, _arranged(most, *given) if any(given) else None


def _arranged(most: int, sockets: int, dies: int, clusters: int, cores: int,
              threads: int) -> Topology:
    """The topology with omitted parts filled in as StratoVirt does: cores, sockets, threads."""
    dies, clusters = dies or 1, clusters or 1
    if not cores:
        sockets, threads = sockets or 1, threads or 1
        cores = most // (sockets * dies * clusters * threads)
    elif not sockets:
        threads = threads or 1
        sockets = most // (dies * clusters * cores * threads)
    threads = threads or most // max(1, sockets * dies * clusters * cores)
    return Topology(sockets, dies, clusters, cores, threads)


def _product(levels: Iterable[int]) -> int:
    """0 unless sockets, cores and threads are all given; dies and clusters default to 1."""
    sockets, dies, clusters, cores, threads = levels
    return sockets * (dies or 1) * (clusters or 1) * cores * threads


def _boot(options: Options) -> Boot:
    values: dict[str, str | None] = {}
    for flag, name in (("-kernel", "kernel"), ("-initrd", "initrd"), ("-append", "cmdline")):
        option = options.one(flag)
        if option is not None:
            text = option.whole()
            values[name] = text if name == "cmdline" else options.path(text)
    readonly = True
    for drive in [o for o in options.every if o.flag == "-drive" and o.text("if") == "pflash"]:
        unit, file = drive.number("unit"), options.path(drive.text("file"))
        options.take_one(drive)
        if unit:
            values["nvram"] = file
        else:
            values["loader"], readonly = file, drive.truth("readonly") or False
    return Boot(**values, loader_readonly=readonly)


def _iothreads(options: Options) -> tuple[int, ...]:
    """Numbers from their ids, else the lowest free ones."""
    for option in options.take("-object", "iothread"):
        name = option.text("id") or ""
        digits, taken = name.removeprefix("iothread"), set(options.iothreads.values())
        fits = digits.isdecimal() and 0 < int(digits) < 256 and int(digits) not in taken
        options.iothreads[name] = int(digits) if fits else next(
            number for number in range(1, 256) if number not in taken)
    return tuple(sorted(options.iothreads.values()))


def _counted_from_one(devices: list[Device]) -> list[Device]:
    """Boot orders start at 1 in a file; if a StratoVirt bootindex is 0, all are raised by one."""
    if not any(isinstance(device, Disk) and device.boot == 0 for device in devices):
        return devices
    return [replace(device, boot=device.boot + 1)
            if isinstance(device, Disk) and device.boot is not None else device
            for device in devices]
