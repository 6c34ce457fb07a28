"""A file system that never answers, as an NFS server that is gone: FUSE, with no one behind it."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from contextlib import contextmanager, suppress

import pytest

_DEVICE = "/dev/fuse"
_INIT = 26  # the opcode of the first request, which has to be answered
_MNT_FORCE, _MNT_DETACH = 1, 2
_BUFFER = 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


class Hung:
    """Mounted over a directory: whoever looks at it sleeps in the kernel until `release`."""

    def __init__(self, place) -> None:
        self._place = os.fsencode(place)
        self._device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"hung", self._place, b"fuse.hung", 6, options.encode()):
            os.close(self._device)
            raise OSError(ctypes.get_errno(), "mount")
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        """Accept every request, so that not even SIGKILL ends a wait for its answer."""
        with suppress(OSError), open(self._device, "wb", buffering=0):
            while True:  # until it is unmounted
                request = os.read(self._device, _BUFFER)
                _, opcode, unique = struct.unpack_from("IIQ", request)
                if opcode == _INIT:
                    answer = struct.pack("IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0,
                                         *[0] * 7)
                    os.write(self._device, struct.pack("IiQ", 16 + len(answer), 0, unique) + answer)

    def release(self) -> None:
        """All that waits gets an error; what is below the mount point can be seen again."""
        _libc.umount2(self._place, _MNT_FORCE | _MNT_DETACH)


@contextmanager
def hung(place):
    """Over this directory; skips the test where that cannot be done."""
    try:
        found = Hung(place)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    try:
        yield found
    finally:
        found.release()
