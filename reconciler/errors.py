"""Whose fault it was: the tree of exceptions that every layer raises and the engine sorts by.

Their fault (the operator's words or configuration), the source's, the file's, the host's, the
hypervisor's. What is in none of these is a fault of ours and is reported as such.
"""

from __future__ import annotations


class ReconcilerError(Exception):
    """Anything that we raise on purpose; `reason` is a word of the vocabulary."""

    reason = "InternalError"

    def __init__(self, message: str, *, reason: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint  # what to do next, one sentence, for a person
        if reason is not None:
            self.reason = reason

    @property
    def advice(self) -> str:
        """What was found and what to do next, in one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class UsageError(ReconcilerError):
    """The operator's words: an unknown domain, a state that does not allow the verb."""

    reason = "Usage"


class ConfigError(ReconcilerError):
    """The operator's configuration."""

    reason = "BadConfig"


class AlreadyRunning(ReconcilerError):
    """Another reconciler has these directories."""

    reason = "AlreadyRunning"


class SourceError(ReconcilerError):
    """The source could not be read completely: no evidence of anything (rule 3)."""

    reason = "Incomplete"


class HostError(ReconcilerError):
    """Something that a VM needs from the host is not there, or could not be made."""

    reason = "MissingFile"


class NameTaken(HostError):
    """A domain was renamed to what another VM still runs as; it passes when that one has gone."""

    reason = "Conflict"


class HypervisorError(ReconcilerError):
    """StratoVirt did not do what it was asked."""

    reason = "StartFailed"


class StartFailed(HypervisorError):
    """The process ended before it was up, or was never up in time; the message is its own."""

    reason = "StartFailed"


class LockTaken(StartFailed):
    """Another process holds the lock of the VM. Its definition is not at fault."""

    reason = "Conflict"


class StopFailed(HypervisorError):
    """The process does not end."""

    reason = "StopFailed"


class QmpError(HypervisorError):
    """The QMP socket: the connection, the protocol, or a refusal."""

    reason = "QmpTimeout"


class QmpRefused(QmpError):
    """StratoVirt answered with an error."""

    reason = "QmpRefused"


class QmpThrottled(QmpRefused):
    """More than 100 commands in a second; the command was not run and may be repeated."""

    reason = "QmpThrottled"


class QmpInactive(QmpRefused):
    """The guest has no driver for it yet; nothing was changed."""

    reason = "GuestUnwilling"


class GuestUnwilling(HypervisorError):
    """The guest did not let a device go in time; it may yet."""

    reason = "GuestUnwilling"


class QmpClosed(QmpError):
    """The connection ended; whether the last command was run is unknown."""

    reason = "QmpClosed"


class QmpTimedOut(QmpError):
    """No answer in time; whether the command was run is unknown."""

    reason = "QmpTimeout"
