"""The reconciler's QMP connection to one VM: made on demand, and again after it closed.

The socket appears some time after the process started, so connecting waits for it with inotify.
vm.py owns a session and sends all commands through it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.backoff import Backoff
from reconciler.errors import QmpClosed, QmpError
from reconciler.failpoints import nothing
from reconciler.stratovirt.command_line import QMP_SOCKET
from reconciler.stratovirt.monitors import ClientDetector
from reconciler.stratovirt.qmp import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.failpoints import Reached
    from reconciler.host.notify import Notifier

# Between attempts on a socket that exists: inotify reports its bind, but not its listen, which
# follows at once; after that, the socket refuses because StratoVirt has died or hangs.
REFUSED = Backoff(0.001, 0.2)


class QmpSession:
    """At most one open connection to the VM in the directory `home`; `ended` is set at its end."""

    def __init__(self, home: Path, notifier: Notifier, ended: asyncio.Event,
                 on_event: Callable[[str, dict[str, Any]], None],
                 on_close: Callable[[], None], reached: Reached = nothing) -> None:
        self._home = home
        self._notifier = notifier
        self._ended = ended
        self._on_event = on_event
        self._on_close = on_close
        self._reached = reached
        self._qmp: Qmp | None = None
        self._connecting = asyncio.Lock()  # StratoVirt queues a second client without a greeting
        self._second_monitor = ClientDetector(home)

    async def execute(self, command: str, limit: float, **arguments: object) -> Any:
        """Run one command, connecting if necessary; raises QmpError.

        `limit` seconds each for the connection and for the answer.
        """
        qmp = await self.connect(limit)
        return await qmp.execute(command, limit, **arguments)

    async def execute_if_connected(self, command: str, limit: float) -> bool:
        """Run one command if a connection is open; whether StratoVirt has executed it."""
        if self._qmp is None or self._qmp.closed:
            return False
        with suppress(QmpError):
            await self._qmp.execute(command, limit)
            return True
        return False

    async def connect(self, limit: float) -> Qmp:
        """The open connection; waits at most `limit` seconds for the socket. Raises QmpError."""
        try:
            async with asyncio.timeout(limit), self._connecting:
                if self._qmp is not None and not self._qmp.closed:
                    return self._qmp
                return await self._connect(limit)
        except TimeoutError:
            message = f"no QMP socket within {limit:g} s"
            raise QmpError(message) from None
        except OSError as error:
            message = f"{self._home}: {error.strerror}"
            raise QmpError(message) from error

    def foreign_client_seen(self) -> bool:
        """Whether a client of the second monitor has taken the events away since the last call."""
        return self._second_monitor.client_seen()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._qmp is not None:
            self._qmp.close()

    async def _connect(self, limit: float) -> Qmp:
        path, attempt = self._home / QMP_SOCKET, 0
        with self._notifier.appearing(path) as created:
            while not self._ended.is_set():
                with suppress(QmpClosed):
                    self._qmp = await Qmp.connect(path, self._on_event, self._closed, limit,
                                                   self._reached)
                    self._second_monitor.arm()
                    return self._qmp
                if created.is_set() or path.exists():
                    attempt += 1
                    await asyncio.sleep(REFUSED.delay(attempt))
                else:
                    await self._created_or_ended(created)
        message = "the process ended"
        raise QmpClosed(message)

    async def _created_or_ended(self, created: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(created.wait()), asyncio.ensure_future(self._ended.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _closed(self) -> None:
        self._qmp = None
        self._on_close()
