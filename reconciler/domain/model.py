"""The values that a domain file becomes; everything after the reader works on these alone.

Two Domains are equal exactly when they mean the same: line numbers and warnings do not take part
in comparison, and devices are kept sorted by kind and key, so that the order of a file is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Wanted(StrEnum):
    """What a file may ask for."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class RestartPolicy(StrEnum):
    """What an exit that nobody asked for leads to."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


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


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A PCI place: bus 0 is pcie.0, bus N the root port of index N."""

    bus: int
    slot: int
    function: int = 0


@dataclass(frozen=True, slots=True)
class RootPort:
    """A pcie-root-port; devices plug into bus `index`."""

    index: int
    place: Place | None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtio disk. `direct` and `aio` None leave StratoVirt's own default (direct, native)."""

    target: str
    path: str
    format: str = "raw"
    direct: bool | None = None
    aio: str | None = None
    discard: str | None = None
    detect_zeroes: str | None = None
    readonly: bool = False
    serial: str | None = None
    boot: int | None = None
    iothread: int | None = None
    queues: int | None = None
    iops: int | None = None
    alias: str = ""
    place: Place | None = None
    line: int = field(default=0, compare=False)

    @property
    def key(self) -> str:
        """By what its place is remembered."""
        return f"disk:{self.target}"


@dataclass(frozen=True, slots=True)
class Interface:
    """A virtio network card on a tap of the host."""

    tap: str
    mac: str
    bridge: str | None = None
    queues: int | None = None
    vhost: bool = False
    alias: str = ""
    place: Place | None = None
    line: int = field(default=0, compare=False)

    @property
    def key(self) -> str:
        """By what its place is remembered."""
        return f"interface:{self.mac}"


@dataclass(frozen=True, slots=True)
class Port:
    """A serial line, a virtio console or a channel: kind serial, console, channel."""

    kind: str
    backend: str  # pty, file, unix
    path: str | None = None
    nr: int = 0
    alias: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class VirtioSerial:
    """The controller that virtio consoles and channels plug into."""

    max_ports: int | None = None
    alias: str = "virtio-serial0"
    place: Place | None = None
    key: str = "virtio-serial"
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Balloon:
    """The memory balloon."""

    deflate_on_oom: bool = False
    free_page_reporting: bool = False
    alias: str = "balloon0"
    place: Place | None = None
    key: str = "memballoon"
    line: int = field(default=0, compare=False)


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


@dataclass(frozen=True, slots=True)
class Policy:
    """The `reconcile` metadata: how the domain is looked after. Durations in seconds."""

    state: Wanted = Wanted.RUNNING
    hold: bool = False
    hold_reason: str | None = None
    hold_until: str | None = None
    update: UpdatePolicy = UpdatePolicy.AUTO
    rollback: bool = True
    prune: PrunePolicy = PrunePolicy.DESTROY
    prune_after: float = 0.0
    stop: StopMode = StopMode.GRACEFUL
    stop_timeout: float = 30.0
    restart: RestartPolicy = RestartPolicy.ALWAYS
    restart_limit: int = 5
    restart_window: float = 600.0
    restart_delay: float = 1.0
    restart_max_delay: float = 300.0
    start_wave: int = 0
    start_delay: float = 0.0
    ignore: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """All that needs a new process when it changes."""

    name: str
    uuid: str
    type: str  # q35, virt, microvm
    memory: int  # bytes, a multiple of one MiB
    vcpus: int
    boot: Boot = Boot()
    gic: bool = False
    emulator: str | None = None
    iothreads: tuple[int, ...] = ()
    root_ports: tuple[RootPort, ...] = ()
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    virtio_serial: VirtioSerial | None = None
    ports: tuple[Port, ...] = ()
    balloon: Balloon | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning: where it stands, what was found, what is accepted."""

    file: str
    line: int
    path: str
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

    machine: Machine
    policy: Policy = Policy()
    file: str = field(default="", compare=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The libvirt name, unique on a host."""
        return self.machine.name

    @property
    def uuid(self) -> str:
        """The identity."""
        return self.machine.uuid


class InvalidDomain(Exception):
    """The file's fault: all of its errors at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
