"""The values that the reader makes from a domain file; all later code works on these alone.

Two Domains are equal exactly when they mean the same (rule 4): lines, warnings and the file's name
are not compared, every default is filled in, and devices are sorted by kind and key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.domain.policy import Policy
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.place import Place
    from reconciler.domain.xml_builder import XmlElement


class MachineType(StrEnum):
    """StratoVirt's machine types."""

    Q35 = "q35"
    VIRT = "virt"
    MICROVM = "microvm"


class Origin(StrEnum):
    """Where a value comes from that the file does not give."""

    NAME = "name"  # derived from the name alone, or from the uuid
    MACHINE = "machine"  # the same, and the id of this host
    REPOSITORY = "repository"  # the same, and the id of the repository
    KEPT = "kept"  # as it was when it was chosen


Origins = tuple[tuple[str, Origin], ...]  # by field


class Impact(StrEnum):
    """How a change is applied, and what that costs the guest."""

    NONE = "none"  # nothing to apply to the running VM
    HOST = "host"  # the host side changes, the guest does not notice
    LIVE = "live"  # the running VM is changed
    RECREATE = "recreate"  # needs a new process


@dataclass(frozen=True, slots=True)
class RequiredFile:
    """A file that must exist before the start. `kind`: file, block, file-or-block, character.

    With `template` a missing file is not an error: it is copied from the template, once. The kinds
    `socket` and `log` are made by StratoVirt, which replaces what is there: it must be its own.
    """

    path: str
    kind: str = "file"
    writable: bool = False
    template: str | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ExclusiveResource:
    """Something that only one domain of a host may have, such as a MAC address."""

    kind: str  # as messages name it: "MAC address", "writable disk", "tap"
    value: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AutomaticNumber:
    """A number that the reconciler chooses where the file does not give one, and its range."""

    kind: str  # as in ExclusiveResource.kind
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Command:
    """A QMP command of a live change.

    `anyway`: an error is expected where there is nothing to do, and is ignored. `until`: the event
    that StratoVirt sends once the guest has carried the change out.
    """

    name: str
    arguments: Mapping[str, object]
    anyway: bool = False
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The base of all devices. A device's module holds its class, its table rows and its reader.

    `place` is the PCI address that the file gives; other devices get one when the VM is laid out
    (stratovirt/addresses.py). `PATHS` says for every field where it is in the device's XML
    element, `WORDS` which words the XML has for True and False where these are not yes and no.
    `origins`: of the values that domain/assigned.py keeps.
    """

    KIND: ClassVar[str]  # with `key` the identity of a device; kept on disk (numbers.identity)
    ELEMENT: ClassVar[str] = ""  # its XML element, where that is not KIND
    RANK: ClassVar[int]  # order among kinds, in which libvirt assigns PCI addresses
    SINGLE: ClassVar[bool] = False  # a domain has one at most
    PLUGGED: ClassVar[bool] = True  # needs a PCI address
    MICROVM: ClassVar[bool] = True  # exists on the machine type microvm
    HOTPLUG: ClassVar[bool] = False  # can be added to and removed from a running VM
    FEATURE: ClassVar[str] = ""  # see `feature`; for devices that all need the same one
    IMPACT: ClassVar[dict[str, Impact]] = {}  # per field, where it is not RECREATE
    PATHS: ClassVar[dict[str, str]] = {"alias": "alias/@name", "place": "address"}
    WORDS: ClassVar[dict[str, tuple[str, str]]] = {}

    alias: str
    place: Place | None = None
    line: int = field(default=0, compare=False)
    origins: Origins = field(default=(), compare=False)

    def __init_subclass__(cls) -> None:
        """Raise TypeError for a field without a path, as soon as its module is imported."""
        names = {name for base in cls.__mro__ for name, kind in getattr(
            base, "__annotations__", {}).items() if not str(kind).startswith("ClassVar")}
        unknown = names - {"line", "origins"} ^ cls.PATHS.keys()
        if unknown:
            message = f"{cls.__name__}.PATHS and its fields differ: {', '.join(sorted(unknown))}"
            raise TypeError(message)

    @property
    def key(self) -> str:
        """Identifies the device within its domain, whatever the order of the file."""
        return self.alias

    @property
    def element(self) -> str:
        """Its XML element."""
        return self.ELEMENT or self.KIND

    @property
    def label(self) -> str:
        """The brackets of its path; empty for SINGLE devices, which need none."""
        return "" if self.SINGLE else self.key

    @property
    def labels(self) -> tuple[str, ...]:
        """Everything that `ignore` accepts in the brackets."""
        return self.label, self.alias

    @property
    def path_in_domain(self) -> str:
        """Its path as users see it: disk[vda] (docs/decisions/0013-xml-paths.md)."""
        return f"{self.element}[{self.label}]" if self.label else self.element

    @property
    def feature(self) -> str:
        """The driver that StratoVirt must be built with for this device; empty for none."""
        return self.FEATURE

    def required_files(self) -> tuple[RequiredFile, ...]:
        """The files that must exist before the start."""
        return ()

    def made_files(self) -> tuple[RequiredFile, ...]:
        """The sockets and log files that StratoVirt makes for it."""
        return ()

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """Everything of this device that no other domain on the host may have."""
        return ()

    def automatic(self) -> AutomaticNumber | None:
        """The number that is still to be chosen (domain/numbers.py), if any."""
        return None

    def numbered(self, number: int) -> Self:
        """The same device with its automatic number."""
        raise NotImplementedError  # only devices with `automatic`

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """Its part of StratoVirt's command line, at a PCI address."""
        raise NotImplementedError  # abstract; not an ABC because slots and ABCMeta break super()

    def to_xml(self) -> XmlElement:
        """Its element of a domain file."""
        raise NotImplementedError  # abstract, as `arguments` is

    def plug(self, place: Place) -> tuple[Command, ...]:
        """The commands that add it to a running VM, behind a free root port."""
        raise NotImplementedError  # only with HOTPLUG

    def unplug(self) -> tuple[Command, ...]:
        """The commands that remove it from a running VM; the guest has to cooperate."""
        raise NotImplementedError  # only with HOTPLUG

    def adjust(self, wanted: Self) -> tuple[Command, ...]:
        """The commands that turn it into `wanted`; only fields of the impact LIVE differ."""
        raise NotImplementedError  # only devices with such fields

    def sort_key(self) -> tuple[int, str]:
        """Order by kind, then by key."""
        return (self.RANK, self.key)


@dataclass(frozen=True, slots=True)
class Topology:
    """The processor topology that the guest sees; the product is the number of processors."""

    sockets: int = 1
    dies: int = 1
    clusters: int = 1
    cores: int = 1
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Backing:
    """The host memory behind the guest's: allocated at the start, shared with other processes.

    `hugepages`: the size of a page in bytes, 0 for the host's default; None without huge pages.
    """

    prealloc: bool = False
    shared: bool = False
    hugepages: int | None = None


@dataclass(frozen=True, slots=True)
class Boot:
    """The guest's boot files; paths are absolute."""

    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    loader: str | None = None
    loader_readonly: bool = True
    nvram: str | None = None
    nvram_template: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning: where, what was found, what is accepted."""

    file: str
    line: int
    path: str  # the element path, such as domain/devices/disk[2]/driver
    message: str
    warning: bool = False
    reason: str = "InvalidDefinition"

    def __str__(self) -> str:
        severity = "warning" if self.warning else "error"
        where = f" {self.path}:" if self.path else ""
        return f"{self.file}:{self.line}: {severity}:{where} {self.message}"


@dataclass(frozen=True, slots=True)
class Domain:
    """The definition of one VM, with every default filled in."""

    name: str
    uuid: str
    machine: MachineType
    memory: int  # bytes, a multiple of one MiB
    vcpus: int  # the maximum
    current_memory: int | None = None  # bytes that the balloon leaves the guest; None: all
    current_vcpus: int | None = None  # processors at the start; None: all
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
    origins: Origins = field(default=(), compare=False)  # see Device

    def required_files(self) -> tuple[RequiredFile, ...]:
        """Every file that must exist before the start."""
        boot, lines = self.boot, dict(self.lines)
        plain = ((boot.kernel, "kernel"), (boot.initrd, "initrd"), (boot.loader, "loader"))
        found = [RequiredFile(path, line=lines.get(name, 0)) for path, name in plain if path]
        if boot.nvram:
            found.append(RequiredFile(boot.nvram, writable=True, template=boot.nvram_template,
                                      line=lines.get("nvram", 0)))
        return (*found, *(need for device in self.devices for need in device.required_files()))

    def made_files(self) -> tuple[RequiredFile, ...]:
        """Every socket and log file that StratoVirt makes, and replaces what is there."""
        return tuple(made for device in self.devices for made in device.made_files())

    def features(self) -> tuple[str, ...]:
        """The drivers that StratoVirt must be built with."""
        return tuple(sorted({name for device in self.devices if (name := device.feature)}))

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """Everything that no other domain on the host may have."""
        lines = dict(self.lines)
        own = [ExclusiveResource("name", self.name, lines.get("name", 0)),
               ExclusiveResource("uuid", self.uuid, lines.get("uuid", 0))]
        if self.boot.nvram:
            own.append(ExclusiveResource("nvram file", self.boot.nvram, lines.get("nvram", 0)))
        if self.boot.loader and not self.boot.loader_readonly:
            own.append(ExclusiveResource("writable loader", self.boot.loader,
                                         lines.get("loader", 0)))
        read = {"kernel": self.boot.kernel, "initrd": self.boot.initrd,
                "loader": self.boot.loader if self.boot.loader_readonly else None,
                "nvram": self.boot.nvram_template}
        own += (ExclusiveResource("boot file", path, lines.get(name, 0))
                for name, path in read.items() if path)
        return (*own, *(claim for device in self.devices for claim in device.exclusive_resources()))


@dataclass(frozen=True, slots=True)
class ReadingHost:
    """The host that a file is read for: its architecture and the configuration's defaults.

    A uuid or MAC address that a file does not give is derived from `machine`, or from `repository`
    where the file says on which host the domain runs, so that two hosts do not have the same ones.
    """

    arch: str  # x86_64 or aarch64
    images: Path  # base of relative paths
    nvram: Path  # directory of UEFI variable files that the file does not name
    defaults: Policy = Policy()
    emulators: tuple[str, ...] = ()  # programs that <emulator> may name
    machine: str = ""
    repository: str = ""
    lenient: bool = False  # unknown names are warnings
    strict: bool = False  # warnings are errors

    def keep(self) -> dict[str, str]:
        """The values that a stored definition must be read with again to mean the same."""
        ids = {"machine": self.machine, "repository": self.repository}
        return {"arch": self.arch, "images": str(self.images), "nvram": str(self.nvram),
                **{name: value for name, value in ids.items() if value}}

    def as_of(self, kept: dict[str, str]) -> Self:
        """This host, with the values that were kept when a definition was applied.

        Definitions of earlier versions have no ids: what they derived, they derived without. Where
        nothing is known, since a record was lost, this host's ids are the best guess.
        """
        ids = kept or {"machine": self.machine, "repository": self.repository}
        return type(self)(kept.get("arch", self.arch), Path(kept.get("images", self.images)),
                          Path(kept.get("nvram", self.nvram)), self.defaults, self.emulators,
                          ids.get("machine", ""), ids.get("repository", ""), lenient=True)


class InvalidDomain(ReconcilerError):
    """The file is wrong: all of its errors at once."""

    reason = "InvalidDefinition"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems),
                         reason=problems[0].reason)
        self.problems = problems
