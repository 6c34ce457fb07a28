"""The exit of a VM is reported before its process is removed from the record.

A reconciler killed in between then treats it as an exit while no reconciler ran; otherwise a guest
that powered off would be started again.
"""

from __future__ import annotations

import asyncio
import sys

from reconciler.host.cgroup import OomKills
from reconciler.host.notify import Notifier
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import qmp_argument
from reconciler.stratovirt.record import Record, boot_id, load, save
from reconciler.stratovirt.vm import Shared, VirtualMachine

SLEEP = "import time; time.sleep(0.3)"


class Listener:
    """Keeps the record as it is on disk when the exit is reported."""

    def __init__(self, home):
        self.home = home
        self.reported = asyncio.get_running_loop().create_future()

    def on_event(self, name, data):
        pass

    def on_disconnect(self):
        pass

    def on_end(self, evidence, *, requested):
        self.reported.set_result((load(self.home), requested))


async def test_the_exit_is_reported_before_the_process_is_removed_from_the_record(tmp_path):
    listener, tasks = Listener(tmp_path), []

    def spawn(work, name):
        tasks.append(asyncio.create_task(work, name=name))
        return tasks[-1]

    started = process.launch([sys.executable, "-I", "-S", "-c", SLEEP, "-qmp",
                              qmp_argument(tmp_path)], tmp_path)
    save(tmp_path, Record("a", "u", boot_id=boot_id(), pid=started.pid, started=started.started))
    vm = VirtualMachine(tmp_path, "u", listener, Shared(Notifier(), OomKills(tmp_path), spawn))
    assert vm.adopt()
    async with asyncio.timeout(10):
        record, requested = await listener.reported
        await asyncio.gather(*tasks)
    assert (record.pid, requested) == (started.pid, False)
    assert load(tmp_path).pid is None
    vm.close()
