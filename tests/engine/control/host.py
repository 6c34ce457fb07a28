"""Domains that run on the simulator, and a tree of control groups in place of the kernel's."""

from __future__ import annotations

import json
import os
import signal
from contextlib import asynccontextmanager

from reconciler.engine.daemon import Daemon
from reconciler.host.cgroup import OomKills, group_of
from reconciler.samples import firmware
from reconciler.stratovirt import process
from reconciler.stratovirt.recognition import Programs, find
from tests.engine.making import Place, running, states, until


class Host(Place):
    def __init__(self, path):
        super().__init__(path)
        self.vms = path / "run" / "vms"
        self.counts = path / "tree" / group_of(os.getpid()).lstrip("/") / "memory.events"
        self.counts.parent.mkdir(parents=True)
        self.killed_for_memory(0)
        (path / "images" / "fw.fd").write_bytes(firmware())

    def make(self) -> Daemon:
        found = super().make()
        found.oom_kills = OomKills(self.path / "tree")
        return found

    def killed_for_memory(self, count):
        """The kernel has killed so many processes of the group: out of memory."""
        self.counts.write_text(f"oom_kill {count}\n")

    def drop(self, name, state="running", **values):
        super().drop(name, state, **values)
        (self.path / "images" / f"{name}.img").write_bytes(bytes(1 << 20))
        data = self.file(name).read_bytes().replace(b"<disk type='file'>", b"<disk type='file'>"
                                                    b"<driver name='qemu' cache='writeback'/>")
        (self.path / "fresh").write_bytes(data)
        (self.path / "fresh").replace(self.file(name))

    def close(self):
        for home in self.vms.iterdir() if self.vms.exists() else ():
            found = find(home, None, Programs())
            if found is not None:
                process.send_signal(found, signal.SIGKILL)


@asynccontextmanager
async def up(host):
    """A daemon, and its domain a, which runs."""
    async with running(host) as daemon:
        await until(daemon, lambda: is_up(daemon))
        yield daemon


def is_up(daemon, restarts=0):
    found = states(daemon).get("a")
    return found is not None and found.plan.made and (
        found.plan.ready.reason == "InSync" and found.vm.pid is not None
        and found.attempts.restarts >= restarts)


def shown(daemon):
    """The exits of the domain, as the status has them."""
    return json.loads(json.dumps(daemon.publisher.value()))["domains"][0]["restarts"]
