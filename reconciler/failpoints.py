"""Failpoints: a name for every step of every action, at which a test lets the reconciler fail.

Each step calls `reached` with its point just before it is taken, where an error of the step itself
would be raised. By default that is `nothing`. A test sets RECONCILER_FAILPOINTS to a directory;
`run` reads the variable once and hands the `Failpoints` in that directory down as a value. With a
file `launch` in it that says `kill`, the reconciler is killed before it makes a process; with
`record` and `ENOSPC 2`, the second save of a domain's record finds a full disk; with `any` and
`kill 9`, it is killed at the ninth point from now on.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "RECONCILER_FAILPOINTS"
KILL = "kill"
REACHED = "reached"  # the file with the name of each point that was reached
ANY = "any"  # the file of a failure at any point


class Point(StrEnum):
    """A step that is about to be taken."""

    # A start
    CHECK = "check"  # files, bridges and program
    MAKE_DIRECTORY = "make-directory"
    MOVE_NVRAM = "move-nvram"  # each step of it
    MAKE_NVRAM = "make-nvram"
    CREATE_TAP = "create-tap"
    ATTACH_TAP = "attach-tap"
    SET_UP_TAP = "set-up-tap"
    WRITE_DEFINITION = "write-definition"
    NOTE_START = "note-start"  # in the VM's record
    LOCK = "lock"
    LAUNCH = "launch"
    NOTE_PROCESS = "note-process"
    CONNECT = "connect"
    NOTE_UP = "note-up"
    # A running VM
    PAUSE = "pause"
    RESUME = "resume"
    NOTE_CHANGE = "note-change"
    CHANGE = "change"  # one QMP command of a live change
    WRITE_CHANGED = "write-changed"  # the definition after it
    NOTE_CHANGED = "note-changed"
    NOTE_TAPS = "note-taps"
    RECONNECT_TAPS = "reconnect-taps"
    # A stop
    NOTE_STOP = "note-stop"
    ASK_GUEST = "ask-guest"
    QUIT = "quit"
    SIGTERM = "sigterm"
    SIGKILL = "sigkill"
    REPORT_END = "report-end"
    RELEASE = "release"  # taps and host devices
    NOTE_END = "note-end"
    NOTE_UUID = "note-uuid"
    # A removal, a new name
    FORGET_VM = "forget-vm"
    FORGET_RECORD = "forget-record"
    ARCHIVE = "archive"
    LEAVE_DIRECTORY = "leave-directory"
    # What is kept of a domain
    RECORD = "record"
    RENAME_RECORD = "rename-record"
    SYNC = "sync"
    HISTORY = "history"
    MOVE_HISTORY = "move-history"
    HOLD_ALL = "hold-all"
    RELEASE_ALL = "release-all"
    # The source, reports
    ACCEPT = "accept"
    APPROVE = "approve"
    JOURNAL = "journal"
    STATUS = "status"


Reached: TypeAlias = "Callable[[Point], None]"


def nothing(_point: Point) -> None:
    """No failpoint can be set."""


def reached_in(directory: str) -> Reached:
    """The failpoints of a directory; without one, there are none."""
    return Failpoints(Path(directory)) if directory else nothing


class Failpoints:
    """The failpoints that a test sets in a directory, also while the reconciler runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._one = threading.Lock()  # some steps are taken by threads

    def __call__(self, point: Point) -> None:
        """The step is about to be taken; raises OSError, or does not return, if it shall fail."""
        with (self._directory / REACHED).open("a", encoding="ascii") as reached:
            reached.write(f"{point}\n")
        with self._one:
            for name in (point, ANY):
                self._fail(point, self._directory / name)

    def _fail(self, point: Point, file: Path) -> None:
        try:
            failure, _, passings = file.read_text(encoding="ascii").partition(" ")
        except FileNotFoundError:
            return
        if passings and int(passings) > 1:
            file.write_text(f"{failure} {int(passings) - 1}", encoding="ascii")
            return
        file.unlink()
        if failure == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, failure)
        raise OSError(number, f"{os.strerror(number)} (failpoint {point})")
