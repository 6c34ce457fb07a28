"""How a domain is managed: the `reconcile` metadata of its file and libvirt's on_ elements.

A part of model.Domain; the definition of the VM itself is in model.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DesiredState(StrEnum):
    """The state of the VM that a file asks for."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class UpdatePolicy(StrEnum):
    """How a changed definition may be applied to a running VM."""

    AUTO = "auto"
    LIVE = "live"
    RECREATE = "recreate"
    MANUAL = "manual"


class PrunePolicy(StrEnum):
    """What happens to the VM when its file is removed."""

    DESTROY = "destroy"
    KEEP = "keep"
    CONFIRM = "confirm"


class StopMode(StrEnum):
    """Whether the guest is asked to shut down before its process is ended."""

    GRACEFUL = "graceful"
    FORCE = "force"


class DependencyCondition(StrEnum):
    """When a dependency is satisfied."""

    STARTED = "started"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, order=True)
class Dependency:
    """Another domain: this one starts after it and stops before it."""

    domain: str  # its name
    condition: DependencyCondition = DependencyCondition.STARTED


class Probe(StrEnum):
    """How the health of a guest is checked."""

    TCP = "tcp"  # a TCP address accepts connections
    CONSOLE = "console"  # a text has appeared on the console since the start
    AGENT = "agent"  # the guest agent answers


@dataclass(frozen=True, slots=True)
class Health:
    """The health check of a guest; durations in seconds. `target`: an address, or a pattern."""

    probe: Probe
    target: str = ""
    interval: float = 10.0
    timeout: float = 3.0
    failures: int = 3
    start_period: float = 60.0
    restart: bool = False  # an unhealthy guest is restarted


@dataclass(frozen=True, slots=True)
class Policy:
    """How the domain is managed: the `reconcile` metadata and libvirt's on_ elements.

    Durations in seconds. `hold_until`: RFC 3339, or a duration.
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
    host: str | None = None  # placement: the only host that runs this domain
    depends_on: tuple[Dependency, ...] = ()  # sorted
    health: Health | None = None
