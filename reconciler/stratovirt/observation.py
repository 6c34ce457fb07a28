"""The values that observing a VM yields, and the classification of its end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.errors import QmpError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERIAL = "serial_chardev"  # StratoVirt's label of the serial port, in query-chardev


class VmState(StrEnum):
    """The observed state of a VM. Unknown is a state of its own (rule 9)."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Vm:
    """One observation, from the kernel and QMP. `problem`: why the state is unknown.

    `least_vcpus`: the count at start; those cannot be unplugged. `uncertain`: a live change was
    interrupted, and its outcome is unknown. `foreign`: the process was adopted, so that its root
    ports may have any names. `generation`: of the definition that the process was started with.
    `off_network`: how the taps of its network cards differ from what it was given.
    """

    state: VmState = VmState.UNKNOWN
    pid: int | None = None
    problem: str = ""
    least_vcpus: int = 1
    uncertain: bool = False
    foreign: bool = False
    generation: int = 0
    off_network: tuple[str, ...] = ()
    reason: str = "QmpTimeout"  # the condition's reason while the state is unknown


class EndedBy(StrEnum):
    """What ended a VM that the reconciler stopped. Only a guest shuts down cleanly."""

    GUEST = "guest"
    QUIT = "quit"  # over QMP
    TERM = "SIGTERM"
    KILL = "SIGKILL"
    NOTHING = ""  # there was no process


class ExitKind(StrEnum):
    """How a VM ended that the reconciler did not stop."""

    POWEROFF = "guest-poweroff"
    RESET = "guest-reset"
    PANIC = "guest-panic"
    QUIT = "quit-from-outside"
    TERMINATED = "terminated"
    KILLED = "killed"
    OUT_OF_MEMORY = "oom-killed"
    CRASHED = "crashed"
    UNHEALTHY = "unhealthy"  # restarted by the reconciler because its health probe failed
    REBOOT = "host-reboot"


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of a VM; `at` is seconds on the boot-time clock, `wall` seconds since the epoch."""

    kind: ExitKind
    at: float
    code: int | None = None
    signal: int | None = None
    message: str = ""
    wall: float = 0.0  # 0 if the time is unknown


@dataclass(frozen=True, slots=True)
class ExitEvidence:
    """All that is known about the end of a process. Code and signal only if it was our child."""

    code: int | None = None
    signal: int | None = None
    shutdown: str | None = None  # `reason` of the SHUTDOWN event, if it arrived in time
    socket_left: bool = False  # StratoVirt removes its QMP socket unless it is killed
    error: str = ""  # the last error on stderr
    out_of_memory: bool = False  # the kernel killed a process of its control group
    panicked: bool = False  # GUEST_PANICKED arrived; not every StratoVirt sends it
    logged_signal: int | None = None  # the signal at which StratoVirt logged a clean end


def ptys(found: object) -> dict[str, str]:
    """Pty paths by label, from the answer to query-chardev; raises QmpError if it is not a list."""
    if not isinstance(found, list):
        message = f"query-chardev returned {found!r:.80}"
        raise QmpError(message)
    return {str(entry.get("label")): str(entry["filename"]).removeprefix("pty:")
            for entry in found if isinstance(entry, dict)
            and str(entry.get("filename", "")).startswith("pty:")}


def main_console(consoles: Mapping[str, str]) -> str | None:
    """The default of these ptys by label: the lowest-numbered console, else the serial port."""
    labels = sorted(consoles, key=lambda label: (label == SERIAL, len(label), label))
    return consoles[labels[0]] if labels else None


def classify(evidence: ExitEvidence, at: float, wall: float) -> Exit:
    """How the VM ended. On x86_64, StratoVirt sends no event when the guest powers off."""
    kind, message = _kind(evidence)
    return Exit(kind, at, evidence.code, evidence.signal, message, wall)


def _kind(evidence: ExitEvidence) -> tuple[ExitKind, str]:
    if evidence.out_of_memory:
        return ExitKind.OUT_OF_MEMORY, "killed by the kernel (out of memory)"
    if evidence.signal is not None:
        return ExitKind.KILLED, f"the process was killed by signal {evidence.signal}"
    if evidence.code:
        return ExitKind.CRASHED, f"the process exited with status {evidence.code}: {evidence.error}"
    shutdown = evidence.shutdown or ""
    if "quit" in shutdown:
        return ExitKind.QUIT, "another QMP client sent quit"
    if "signal" in shutdown or evidence.logged_signal is not None:
        which = "a signal" if evidence.logged_signal is None else f"signal {evidence.logged_signal}"
        return ExitKind.TERMINATED, f"its process was sent {which} by another process"
    return _guest_end(evidence, shutdown)


def _guest_end(evidence: ExitEvidence, shutdown: str) -> tuple[ExitKind, str]:
    """The kind if there is no evidence that another process ended the VM."""
    cleanly = "guest" in shutdown or evidence.code == 0
    if evidence.socket_left and not cleanly:
        return ExitKind.KILLED, "was killed or crashed while the reconciler was not running"
    if evidence.panicked:
        return ExitKind.PANIC, "the guest panicked"
    return ExitKind.POWEROFF, ("the guest powered off" if cleanly else
                               "ended cleanly while the reconciler was not running")
