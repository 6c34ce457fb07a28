"""The helper: a process that looks at paths of remote file systems for the reconciler.

A thread that hangs there keeps its process from ending, even after SIGKILL, with all locks and
descriptors that the process has. The helper has none. It is started when it is needed, makes each
call in a thread of its own, and ends by itself when the reconciler is gone, or does not need it.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

_CHILD = Path(__file__).with_name("helper_child.py")
_MOST = 2000  # calls that hang at the same time
_IDLE = 60.0  # seconds without a call after which it ends
_HEADER = struct.Struct("!I")


class Helper:
    """Calls functions of modules in the helper process.

    Arguments and results are pickled: both ends are this program.
    """

    def __init__(self) -> None:
        self._reading: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._starting = asyncio.Lock()

    async def run(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """The result; raises its exception, or HostError if the helper ended or is full."""
        if len(self._waiting) >= _MOST:  # of domains that were removed and added again and again
            raise HostError(f"{_MOST} paths do not answer already", reason="StorageTimeout",
                            hint="unmount the file system, or restart the reconciler")
        async with self._starting:
            if self._writer is None:
                await self._start()
        assert self._writer is not None
        number, loop = next(self._numbers), asyncio.get_running_loop()
        answer = self._waiting[number] = loop.create_future()
        if self._idle is not None:
            self._idle.cancel()
        try:
            data = pickle.dumps((number, call, arguments))
            self._writer.write(_HEADER.pack(len(data)) + data)
            return await answer
        finally:
            self._waiting.pop(number, None)
            if not self._waiting:
                self._idle = loop.call_later(_IDLE, self.close)

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = subprocess.Popen(  # noqa: S603, ASYNC220  # a list, never a shell; takes 1 ms
                    [sys.executable, "-I", "-S", str(_CHILD), str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                    start_new_session=True)
            except OSError as error:
                ours.close()
                raise HostError(f"the helper process: {error.strerror}") from error
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader, self._writer, child),
                                            name="answers of the helper")

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                    child: subprocess.Popen[bytes]) -> None:
        try:
            while True:
                size, = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                number, is_result, value = pickle.loads(await reader.readexactly(size))  # noqa: S301  # from this program
                answer = self._waiting.get(number)
                if answer is not None and not answer.done():
                    if is_result:
                        answer.set_result(value)
                    else:
                        answer.set_exception(value)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
                self._give_up()
            # It may take its time: a thread that hangs keeps it.
            threading.Thread(target=child.wait, daemon=True, name="end of the helper").start()

    def _give_up(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(HostError("the helper process ended",
                                               hint="it is started again"))

    def close(self) -> None:
        """End it; calls that hang stay behind with it."""
        if self._idle is not None:
            self._idle.cancel()
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._writer = None
            self._give_up()
