"""Log lines in StratoVirt's format, on stderr or in the file of `-D`."""

import os
import sys
import time

LEVELS = ("off", "error", "warn", "info", "debug", "trace")


class Log:
    """The destination and the level."""

    def __init__(self) -> None:
        self.handle = 2
        wanted = os.environ.get("STRATOVIRT_LOG_LEVEL", "info").lower()
        self.level = LEVELS.index(wanted) if wanted in LEVELS else 3

    def to_file(self, path: str) -> None:
        """Write to a file from now on."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.handle = os.open(path, flags, 0o640)

    def _write(self, level: str, source: str, message: str) -> None:
        if LEVELS.index(level) > self.level:
            return
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        pid = os.getpid()
        line = f"{stamp}.{now % 10**9:09}: [{pid}][{pid}][{source}]:{level.upper()}: {message}\n"
        emit(line, self.handle)

    def write_error(self, message: str) -> None:
        """An error."""
        self._write("error", "src/main.rs:112", message)

    def write_warning(self, message: str) -> None:
        """A warning."""
        self._write("warn", "machine/src/lib.rs:1650", message)

    def write_info(self, message: str) -> None:
        """An information."""
        self._write("info", "src/main.rs:89", message)


def emit(text: str, handle: int = 2) -> None:
    """Write to a descriptor; errors are ignored."""
    try:
        os.write(handle, text.encode("utf-8", "surrogateescape"))
    except OSError:
        sys.stderr = None
