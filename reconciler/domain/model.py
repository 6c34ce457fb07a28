"""The values that a domain file becomes; everything after the reader works on these alone.

Two Domains are equal exactly when they mean the same (rule 4): lines, warnings and the file's name
do not take part in comparison, every default is filled in, and devices are sorted by kind and key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.xml_builder import Tag


class DesiredState(StrEnum):
    """What a file may ask for."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class UpdatePolicy(StrEnum):
    """What a changed definition may do to a VM that runs."""

    AUTO = "auto"
    LIVE = "live"
    RECREATE = "recreate"
    MANUAL = "manual"


class PrunePolicy(StrEnum):
    """What happens to the VM when its file goes."""

    DESTROY = "destroy"
    KEEP = "keep"
    CONFIRM = "confirm"


class StopMode(StrEnum):
    """Whether the guest is asked before its process is ended."""

    GRACEFUL = "graceful"
    FORCE = "force"


class MachineType(StrEnum):
    """StratoVirt's machines."""

    Q35 = "q35"
    VIRT = "virt"
    MICROVM = "microvm"


class Impact(StrEnum):
    """What applying a change costs the guest."""

    NONE = "none"  # nothing on the host or in the guest changes
    HOST = "host"  # the host side changes, the guest does not notice
    LIVE = "live"  # the running guest gets it
    RECREATE = "recreate"  # needs a new process


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A PCI place: bus 0 is pcie.0, bus N is the root port of index N."""

    bus: int
    slot: int
    function: int = 0
    multifunction: bool = field(default=False, compare=False)  # of function 0: there are more

    def __str__(self) -> str:
        return f"{self.bus:02x}:{self.slot:02x}.{self.function:x}"


@dataclass(frozen=True, slots=True)
class Need:
    """A file that must be there before the start. `kind`: file, block, file-or-block, character.

    With `template`, a missing file is no error: it is copied from the template, once.
    """

    path: str
    kind: str = "file"
    writable: bool = False
    template: str | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that no two domains of a host may both have."""

    kind: str  # as in an error message: "MAC address", "writable disk", "tap"
    value: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the host's that a file leaves to us: of which kind, and from where to where."""

    claim: str  # as in Claim.kind
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Command:
    """A QMP command of a live change.

    `anyway`: a refusal only says that it is so already. `until`: the event by which StratoVirt
    tells that the guest has agreed.
    """

    name: str
    arguments: Mapping[str, object]
    anyway: bool = False
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What all devices have. A device's module holds its class, its rules and its reader.

    `place` is the one that the file gives; a device without gets one (stratovirt/addresses.py).
    """

    KIND: ClassVar[str]  # the XML tag, as shown in differences
    RANK: ClassVar[int]  # the order among kinds, as libvirt assigns places
    PLUGGED: ClassVar[bool] = True  # needs a PCI place
    MICROVM: ClassVar[bool] = True  # whether microvm has it
    HOTPLUG: ClassVar[bool] = False  # whether it can come and go while the VM runs
    FEATURE: ClassVar[str] = ""  # of all of this kind, see `feature`
    IMPACT: ClassVar[dict[str, Impact]] = {}  # per field, where it is not RECREATE

    alias: str
    place: Place | None = None
    line: int = field(default=0, compare=False)

    @property
    def key(self) -> str:
        """What this device is recognised by within its domain, whatever the order of the file."""
        return self.alias

    @property
    def feature(self) -> str:
        """What StratoVirt must be built with for this one, by its driver's name."""
        return self.FEATURE

    def needs(self) -> tuple[Need, ...]:
        """The files that must be there."""
        return ()

    def claims(self) -> tuple[Claim, ...]:
        """What nobody else on this host may have."""
        return ()

    def automatic(self) -> Number | None:
        """The number that is still to be chosen (domain/numbers.py), if there is one."""
        return None

    def numbered(self, number: int) -> Self:
        """The same with its automatic number."""
        raise NotImplementedError  # only where `automatic` gives one

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """Its part of StratoVirt's command line, at a place."""
        raise NotImplementedError  # abstract; not an ABC because slots and ABCMeta clash with super

    def tag(self) -> Tag:
        """As an element of a domain file, at its place."""
        raise NotImplementedError  # abstract, as `arguments` is

    def plug(self, place: Place) -> tuple[Command, ...]:
        """What adds it to a VM that runs, behind a free root port."""
        raise NotImplementedError  # only with HOTPLUG

    def unplug(self) -> tuple[Command, ...]:
        """What takes it from a VM that runs; the guest must agree."""
        raise NotImplementedError  # only with HOTPLUG

    def adjust(self, wanted: Self) -> tuple[Command, ...]:
        """What makes it as `wanted`, where only fields of the impact LIVE differ."""
        raise NotImplementedError  # only with such fields

    def sort_key(self) -> tuple[int, str]:
        """By kind, then by key."""
        return (self.RANK, self.key)


@dataclass(frozen=True, slots=True)
class Topology:
    """How the processors are shown to the guest; the product is their number."""

    sockets: int = 1
    dies: int = 1
    clusters: int = 1
    cores: int = 1
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Backing:
    """Where the guest's memory comes from: all of it taken at once, shared with other processes.

    `hugepages`: the bytes of a page, 0 for the host's default size; None without huge pages.
    """

    prealloc: bool = False
    shared: bool = False
    hugepages: int | None = None


@dataclass(frozen=True, slots=True)
class Boot:
    """What the guest starts from; paths are absolute."""

    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    loader: str | None = None
    loader_readonly: bool = True
    nvram: str | None = None
    nvram_template: str | None = None


class Met(StrEnum):
    """When a dependency is met."""

    STARTED = "started"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, order=True)
class Dependency:
    """Another domain, which this one starts after and stops before."""

    domain: str  # by name
    condition: Met = Met.STARTED


class Probe(StrEnum):
    """How a guest is asked whether it is well."""

    TCP = "tcp"  # whether something listens at an address
    CONSOLE = "console"  # whether a text has come on its console since it was started
    AGENT = "agent"  # whether the guest agent answers


@dataclass(frozen=True, slots=True)
class Health:
    """What makes a guest healthy; durations in seconds. `target`: an address, or a pattern."""

    probe: Probe
    target: str = ""
    interval: float = 10.0
    timeout: float = 3.0
    failures: int = 3
    start_period: float = 60.0
    restart: bool = False  # an unhealthy one is started anew


@dataclass(frozen=True, slots=True)
class Policy:
    """The `reconcile` metadata and the on_ elements: how the domain is looked after.

    Durations in seconds. `hold_until` is RFC 3339 text.
    """

    state: DesiredState = DesiredState.RUNNING
    hold: bool = False
    hold_reason: str | None = None
    hold_until: str | None = None
    update: UpdatePolicy = UpdatePolicy.AUTO
    window: str | None = None
    rollback: bool = True
    prune: PrunePolicy = PrunePolicy.DESTROY
    prune_after: float = 0.0
    stop: StopMode = StopMode.GRACEFUL
    stop_timeout: float = 30.0
    restart_on_poweroff: bool = True
    restart_on_failure: bool = True
    destroy_on_reboot: bool = False
    restart_limit: int = 5
    restart_window: float = 600.0
    restart_delay: float = 1.0
    restart_max_delay: float = 300.0
    start_wave: int = 0
    start_delay: float = 0.0
    ignore: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    host: str | None = None  # placement: the only host that keeps this domain
    depends_on: tuple[Dependency, ...] = ()  # sorted
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning: where it stands, what was found, what is accepted."""

    file: str
    line: int
    path: str  # the element path, such as domain/devices/disk[2]/driver
    message: str
    warning: bool = False
    reason: str = "InvalidDefinition"

    def __str__(self) -> str:
        word = "warning" if self.warning else "error"
        where = f" {self.path}:" if self.path else ""
        return f"{self.file}:{self.line}: {word}:{where} {self.message}"


@dataclass(frozen=True, slots=True)
class Domain:
    """One file, complete: every default filled in."""

    name: str
    uuid: str
    machine: MachineType
    memory: int  # bytes, a multiple of one MiB
    vcpus: int  # the most that there can be
    current_memory: int | None = None  # bytes that the balloon leaves; None for all
    current_vcpus: int | None = None  # how many are there at first; None for all
    topology: Topology | None = None
    backing: Backing = Backing()
    boot: Boot = Boot()
    gic: bool = False
    emulator: str | None = None
    iothreads: tuple[int, ...] = ()
    devices: tuple[Device, ...] = ()  # sorted by Device.sort_key
    title: str | None = None
    description: str | None = None
    policy: Policy = Policy()
    file: str = field(default="", compare=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    lines: tuple[tuple[str, int], ...] = field(default=(), compare=False)  # field name -> line

    def needs(self) -> tuple[Need, ...]:
        """Every file that must be there before the start."""
        boot, lines = self.boot, dict(self.lines)
        plain = ((boot.kernel, "kernel"), (boot.initrd, "initrd"), (boot.loader, "loader"))
        found = [Need(path, line=lines.get(name, 0)) for path, name in plain if path]
        if boot.nvram:
            found.append(Need(boot.nvram, writable=True, template=boot.nvram_template,
                              line=lines.get("nvram", 0)))
        return (*found, *(need for device in self.devices for need in device.needs()))

    def features(self) -> tuple[str, ...]:
        """What StratoVirt must be built with, by the names of its drivers."""
        return tuple(sorted({name for device in self.devices if (name := device.feature)}))

    def claims(self) -> tuple[Claim, ...]:
        """Everything that belongs to this domain alone."""
        lines = dict(self.lines)
        own = [Claim("name", self.name, lines.get("name", 0)),
               Claim("uuid", self.uuid, lines.get("uuid", 0))]
        if self.boot.nvram:
            own.append(Claim("nvram file", self.boot.nvram, lines.get("nvram", 0)))
        if self.boot.loader and not self.boot.loader_readonly:
            own.append(Claim("writable loader", self.boot.loader, lines.get("loader", 0)))
        return (*own, *(claim for device in self.devices for claim in device.claims()))


@dataclass(frozen=True, slots=True)
class ReadingHost:
    """What a file is read against: the host's architecture and the configuration's defaults."""

    arch: str  # x86_64 or aarch64
    images: Path  # where relative paths start
    nvram: Path  # where variables live whose file is not given
    defaults: Policy = Policy()
    emulators: tuple[str, ...] = ()  # programs that <emulator> may name
    lenient: bool = False  # unknown names are warnings
    strict: bool = False  # every warning is an error

    def keep(self) -> dict[str, str]:
        """What a recorded definition must be read with again, to mean the same."""
        return {"arch": self.arch, "images": str(self.images), "nvram": str(self.nvram)}

    def as_of(self, kept: dict[str, str]) -> Self:
        """This host, with what was kept when a definition was applied."""
        return type(self)(kept.get("arch", self.arch), Path(kept.get("images", self.images)),
                          Path(kept.get("nvram", self.nvram)), self.defaults, self.emulators,
                          lenient=True)


class InvalidDomain(ReconcilerError):
    """The file's fault: all of its errors at once."""

    reason = "InvalidDefinition"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems),
                         reason=problems[0].reason)
        self.problems = problems
