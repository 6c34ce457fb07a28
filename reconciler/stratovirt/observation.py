"""What is really there: the values that observing a VM gives; how an end is told apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.errors import QmpError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERIAL = "serial_chardev"  # StratoVirt's label for the serial port


class VmState(StrEnum):
    """What a VM is observed to be. Unknown is a state (rule 9)."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Vm:
    """An observation: what the kernel and QMP say, and why it is not known when it is not.

    `least_vcpus`: it was started with so many, and none of those can go. `uncertain`: we were
    interrupted in a live change, and nobody can say how far it came. `foreign`: it was adopted by
    hand, and its root ports have names of somebody's own.
    """

    state: VmState = VmState.UNKNOWN
    pid: int | None = None
    problem: str = ""
    least_vcpus: int = 1
    uncertain: bool = False
    foreign: bool = False
    generation: int = 0  # of the definition that it was started with


class ExitKind(StrEnum):
    """How a VM ended that nobody here asked to."""

    POWEROFF = "guest-poweroff"
    RESET = "guest-reset"
    PANIC = "guest-panic"
    QUIT = "quit-from-outside"
    TERMINATED = "terminated"
    KILLED = "killed"
    OUT_OF_MEMORY = "oom-killed"
    CRASHED = "crashed"
    UNHEALTHY = "unhealthy"  # its probe failed, and its file says to start it anew
    REBOOT = "host-reboot"


@dataclass(frozen=True, slots=True)
class Exit:
    """One such end; `at` on the boot-time clock, `wall` the time of day: when it was seen."""

    kind: ExitKind
    at: float
    code: int | None = None
    signal: int | None = None
    message: str = ""
    wall: float = 0.0  # 0 where nobody knows


@dataclass(frozen=True, slots=True)
class ExitEvidence:
    """What an ended process leaves: its status if we are its parent, SHUTDOWN's reason, files."""

    code: int | None = None
    signal: int | None = None
    shutdown: str | None = None  # `reason` of the SHUTDOWN event, if it came in time
    socket_left: bool = False  # StratoVirt removes its socket at every end but SIGKILL's
    error: str = ""
    out_of_memory: bool = False  # the kernel killed in its control group for want of memory
    panicked: bool = False  # GUEST_PANICKED came, from a StratoVirt that sends it
    logged_signal: int | None = None  # that StratoVirt wrote to stderr before a clean end


def ptys(found: object) -> dict[str, str]:
    """Label to pty path, from the answer to query-chardev; raises QmpError when it is none."""
    if not isinstance(found, list):
        message = f"query-chardev answered {found!r:.80}"
        raise QmpError(message)
    return {str(entry.get("label")): str(entry["filename"]).removeprefix("pty:")
            for entry in found if isinstance(entry, dict)
            and str(entry.get("filename", "")).startswith("pty:")}


def main_console(consoles: Mapping[str, str]) -> str | None:
    """The pty that people mean, of those by label: the first console, else the serial port."""
    return next((path for label, path in consoles.items() if label != SERIAL),
                consoles.get(SERIAL))


def classify(traces: ExitEvidence, at: float, wall: float) -> Exit:
    """Tell a guest's power-off from a crash: on x86_64 StratoVirt sends no event for the first."""
    kind, message = _kind(traces)
    return Exit(kind, at, traces.code, traces.signal, message, wall)


def _kind(traces: ExitEvidence) -> tuple[ExitKind, str]:
    if traces.out_of_memory:
        return ExitKind.OUT_OF_MEMORY, "the kernel killed it for want of memory"
    if traces.signal is not None:
        return ExitKind.KILLED, f"the process was ended by signal {traces.signal}"
    if traces.code:
        return ExitKind.CRASHED, f"the process ended with status {traces.code}: {traces.error}"
    shutdown = traces.shutdown or ""
    if "quit" in shutdown:
        return ExitKind.QUIT, "somebody sent it QMP quit"
    if "signal" in shutdown or traces.logged_signal is not None:
        which = f" {traces.logged_signal}" if traces.logged_signal is not None else ""
        return ExitKind.TERMINATED, f"somebody sent its process a signal{which}"
    return _by_its_guest(traces, shutdown)


def _by_its_guest(traces: ExitEvidence, shutdown: str) -> tuple[ExitKind, str]:
    """Nobody outside ended it, as far as one knows."""
    cleanly = "guest" in shutdown or traces.code == 0
    if traces.socket_left and not cleanly:
        return ExitKind.KILLED, "the process was killed or crashed while nobody watched it"
    if traces.panicked:
        return ExitKind.PANIC, "the guest panicked"
    return ExitKind.POWEROFF, ("the guest powered off" if cleanly else
                               "the process ended cleanly while nobody watched it")
