"""Holds the lock of a VM that has not inherited it, for exactly as long as that VM lives.

A process of its own, for a VM that was adopted by hand: it has the lock's descriptor from whoever
started it, waits for the end of one process, and ends. Started as a file, on the standard library
alone:

    python -I -S lock_holder.py PID STARTED
"""

import os
import select
import sys


def main() -> int:
    """Say "held" on standard output, or end at once where the process is not that one."""
    pid, started = int(sys.argv[1]), sys.argv[2].encode()
    try:
        handle = os.pidfd_open(pid)
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 1
    if fields[19] != started:
        return 1
    os.write(1, b"held")
    os.close(1)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.poll()  # the kernel wakes us at its end, whoever its parent is
    return 0


if __name__ == "__main__":
    sys.exit(main())
