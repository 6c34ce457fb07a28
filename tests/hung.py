"""A file system that answers as long as the test likes, as an NFS server that goes away: FUSE.

It shows one directory of another file system. The kernel is told nothing of changes there, as by
NFS of the changes of another host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_DEVICE = "/dev/fuse"
_MNT_FORCE, _MNT_DETACH = 1, 2
_BUFFER = 1 << 18
_HEADER = struct.Struct("IIQQIIII")  # of a request: size, opcode, number, node, uid, gid, pid, –
_LOOKUP, _GETATTR, _OPEN, _READ, _RELEASE, _INIT, _OPENDIR, _READDIR, _RELEASEDIR = (
    1, 3, 14, 15, 18, 26, 27, 28, 29)
_UNANSWERED = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
_libc = ctypes.CDLL(None, use_errno=True)


class Remote:
    """Mounted over `place`; shows `shown`, and while that is None whoever looks sleeps."""

    def __init__(self, place: Path, shown: Path | None = None) -> None:
        self._place = os.fsencode(place)
        self._shown = shown
        self._names = [b"", b""]  # by node; the first one is the directory
        self._device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"remote", self._place, b"fuse.remote", 6, options.encode()):
            os.close(self._device)
            raise OSError(ctypes.get_errno(), "mount")
        threading.Thread(target=self._serve, daemon=True).start()

    def hang(self) -> None:
        """From now on, nothing is answered."""
        self._shown = None

    def release(self) -> None:
        """All that waits gets an error; what is below the mount point can be seen again."""
        _libc.umount2(self._place, _MNT_FORCE | _MNT_DETACH)

    def _serve(self) -> None:
        """Accept every request, so that not even SIGKILL ends a wait for its answer."""
        with suppress(OSError), open(self._device, "wb", buffering=0):
            while True:  # until it is unmounted
                request = os.read(self._device, _BUFFER)
                _, opcode, number, node, *_ = _HEADER.unpack_from(request)
                if opcode in _UNANSWERED or (self._shown is None and opcode != _INIT):
                    continue
                try:
                    problem, answer = 0, self._answer(opcode, node, request[_HEADER.size:])
                except OSError as error:
                    problem, answer = error.errno or errno.EIO, b""
                os.write(self._device, struct.pack("IiQ", 16 + len(answer), -problem, number)
                         + answer)

    def _answer(self, opcode: int, node: int, rest: bytes) -> bytes:
        if opcode == _INIT:
            return struct.pack("IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0, *[0] * 7)
        assert self._shown is not None
        path = os.path.join(os.fsencode(self._shown), self._names[node])
        if opcode == _LOOKUP:
            name = rest.rstrip(b"\0")
            found = os.stat(os.path.join(path, name))
            if name not in self._names:
                self._names.append(name)
            return struct.pack("QQQQII", self._names.index(name), 0, 0, 0, 0, 0) + _status(found)
        if opcode == _GETATTR:
            return struct.pack("QII", 0, 0, 0) + _status(os.stat(path))
        if opcode in (_OPEN, _OPENDIR):
            return struct.pack("QII", 0, 1 if opcode == _OPEN else 0, 0)  # FOPEN_DIRECT_IO
        if opcode in (_READ, _READDIR):
            _, offset, size = struct.unpack_from("QQI", rest)
            whole = Path(os.fsdecode(path)).read_bytes() if opcode == _READ else _entries(path)
            return whole[offset:offset + size]
        if opcode in (_RELEASE, _RELEASEDIR):
            return b""
        raise OSError(errno.ENOSYS, "")


def _status(found: os.stat_result) -> bytes:
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return struct.pack(
        "6Q10I", found.st_ino, found.st_size, found.st_blocks, *(t // 10**9 for t in times),
        *(t % 10**9 for t in times), found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0,
        4096, 0)


def _entries(path: bytes) -> bytes:
    found = b""
    for name in sorted(os.listdir(path)):
        size = (24 + len(name) + 7) // 8 * 8
        found += struct.pack("QQII", 1, len(found) + size, len(name), stat.S_IFREG >> 12)
        found += name.ljust(size - 24, b"\0")
    return found


@contextmanager
def remote(place: Path, shown: Path | None):
    """`shown` over the directory `place`; skips the test where that cannot be done."""
    try:
        found = Remote(place, shown)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    try:
        yield found
    finally:
        found.release()


def hung(place: Path):
    """A file system over this directory that does not answer."""
    return remote(place, None)
