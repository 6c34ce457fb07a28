"""When a process was started: with its pid, that identifies it, since pids are given out again.

A module of its own because `status` needs nothing else of the processes, and must answer at once.
"""

from __future__ import annotations


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None if there is no such process, or it is a zombie.

    Raises OSError if that cannot be determined, for example without a free file descriptor.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
