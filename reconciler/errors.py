"""The exceptions of all layers, by cause; the engine decides by their class.

The cause is the user (command or configuration), the source, the file, the host or the hypervisor.
Any other exception is a bug of the reconciler and is reported as one.
"""

from __future__ import annotations


class ReconcilerError(Exception):
    """The base of all expected errors; `reason` is a reason of status and events."""

    reason = "InternalError"

    def __init__(self, message: str, *, reason: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint  # what the user can do, one sentence
        if reason is not None:
            self.reason = reason

    @property
    def advice(self) -> str:
        """The message and the hint, in one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class UsageError(ReconcilerError):
    """The command is wrong: an unknown domain, or a state that does not allow the verb."""

    reason = "Usage"


class ConfigError(ReconcilerError):
    """The configuration is wrong."""

    reason = "BadConfig"


class AlreadyRunning(ReconcilerError):
    """Another reconciler uses these directories."""

    reason = "AlreadyRunning"


class SourceError(ReconcilerError):
    """The source could not be read completely, which must not change anything (rule 3)."""

    reason = "Incomplete"


class HostError(ReconcilerError):
    """Something that a VM needs from the host does not exist, or could not be created."""

    reason = "MissingFile"


class NameTaken(HostError):
    """A domain was renamed to the name of another running VM; retried until that one has ended."""

    reason = "Conflict"


class HypervisorError(ReconcilerError):
    """A request to StratoVirt failed."""

    reason = "StartFailed"


class StartFailed(HypervisorError):
    """The process ended during its start, or was not ready in time."""

    reason = "StartFailed"


class LockTaken(StartFailed):
    """Another process holds the VM's lock, or runs this VM; this says nothing about the definition.

    `pid`: that process, if it is known; the start is attempted again when it ends.
    """

    reason = "Conflict"

    def __init__(self, message: str, *, pid: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


class StopFailed(HypervisorError):
    """The process did not end in time."""

    reason = "StopFailed"


class QmpError(HypervisorError):
    """An error of the QMP connection, of the protocol, or of a command."""

    reason = "QmpTimeout"


class QmpRefused(QmpError):
    """StratoVirt returned an error for a command."""

    reason = "QmpRefused"


class QmpThrottled(QmpRefused):
    """More than 100 commands per second; the command was not executed and may be repeated."""

    reason = "QmpThrottled"


class QmpInactive(QmpRefused):
    """The guest has no driver for the device yet; nothing was changed."""

    reason = "GuestUnwilling"


class GuestUnwilling(HypervisorError):
    """The guest has not released a device in time; it may still do so."""

    reason = "GuestUnwilling"


class QmpClosed(QmpError):
    """The connection was closed; whether the last command was executed is unknown."""

    reason = "QmpClosed"


class QmpTimedOut(QmpError):
    """No reply in time; whether the command was executed is unknown."""

    reason = "QmpTimeout"
