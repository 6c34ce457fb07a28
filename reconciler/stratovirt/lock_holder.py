"""Holds the lock of an adopted VM, which did not inherit it, for as long as that VM lives.

A separate process: it inherits the locked file descriptor, waits until the VM process ends, and
exits. Run as a script, with the standard library alone:

    python -I -S lock_holder.py PID STARTED
"""

import os
import select
import sys


def main() -> int:
    """Print "held" and wait; exit at once if PID is not the process that started at STARTED."""
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
    poller.poll()  # a pidfd becomes readable when its process ends
    return 0


if __name__ == "__main__":
    sys.exit(main())
