"""A directory with a real reconciler on it, and real VM processes: the simulator's, or real ones.

STRATOVIRT_REAL names a real program (STRATOVIRT_REAL_ARGS its arguments); then the same tests run
on that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from reconciler import samples
from reconciler.cli.client import Unreachable, ask
from reconciler.report.requests import Request
from reconciler.settings import load
from reconciler.stratovirt import process
from tests.values import xml

ROOT = Path(__file__).parents[2]
REAL = os.environ.get("STRATOVIRT_REAL")
LIMIT = 60.0
CONFIG = """
paths: {{runtime: run, state: state, images: images}}
prune: {{settle: 200ms}}
hypervisor: {{path: {path}, arguments: [{arguments}]}}
reconcile: {{backoff: {{initial: 200ms, maximum: 2s}}, qmp_timeout: 5s{reconcile}}}
{more}
"""


class Site:
    def __init__(self, path: Path, *, reconcile: str = "", more: str = "",
                 env: dict[str, str] | None = None) -> None:
        self.path = path
        self.env = {**os.environ, **(env or {})}
        (path / "domains").mkdir()
        samples.make(path / "images")
        self.config = path / "config.yaml"
        self.config.write_text(CONFIG.format(
            path=REAL or "simulator", reconcile=reconcile, more=more,
            arguments=", ".join(
                os.environ.get("STRATOVIRT_REAL_ARGS", "").split() if REAL else [])))
        self.settings = load(self.config, {})
        self.reconciler: subprocess.Popen | None = None

    # The reconciler

    def start(self) -> None:
        with (self.path / "log").open("ab") as log:
            self.reconciler = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "-c", str(self.config), "run"], cwd=ROOT,
                stderr=log, stdout=log, env=self.env)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.reconciler is not None
        self.reconciler.send_signal(number)
        return self.reconciler.wait(LIMIT)

    def verb(self, *words: str, **more) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "reconciler", "-c", str(self.config), *words],
                              cwd=ROOT, env=self.env, timeout=LIMIT, capture_output=True,
                              text=True, check=False, **more)

    # Files

    def disk(self, name: str) -> Path:
        disk = self.path / "images" / f"{name}.img"
        if not disk.exists():
            with disk.open("wb") as handle:
                handle.truncate(1 << 20)
        return disk

    def file(self, name: str = "a") -> Path:
        return self.path / "domains" / f"{name}.xml"

    def drop(self, name: str = "a", state: str = "running", file: str | None = None,
             **values) -> None:
        """As a tool does it: written beside, renamed into place."""
        self.disk(name)
        data = xml(name, state, **values).replace(b"fw.fd", b"sample-firmware.fd").replace(
            b"<disk type='file'>", b"<disk type='file'><driver name='qemu' cache='writeback'/>")
        self.put(file or f"{name}.xml", data)

    def put(self, file: str, data: bytes) -> None:
        fresh = self.path / "fresh"
        fresh.write_bytes(data)
        fresh.replace(self.path / "domains" / file)

    # Looking

    def until(self, true, what: str = "") -> dict:
        """Wait, woken by each new status, until it is so."""
        deadline = time.monotonic() + LIMIT
        value: dict = {}
        sequence = "0"
        while time.monotonic() < deadline:
            try:
                value = ask(self.settings, Request.STATUS, limit=LIMIT,
                            query={"wait": sequence})
            except Unreachable:
                assert self.reconciler is not None
                assert self.reconciler.poll() is None, self.log()
                os.sched_yield()
                continue
            if true(value):
                return value
            sequence = str(value["sequence"])
        raise AssertionError(f"{what} not in time: {json.dumps(value, indent=1)}\n{self.log()}")

    def domain(self, true, name: str = "a") -> dict:
        found: dict = {}

        def so(value: dict) -> bool:
            for part in value["domains"]:
                if part["name"] == name and true(part):
                    found.update(part)
                    return True
            return False

        self.until(so, f"domain {name}")
        return found

    def settled(self, state: str, name: str = "a") -> dict:
        """Observed so, and Ready."""
        return self.domain(lambda d: d["observed"]["state"] == state and ready(d)
                           and d["observedGeneration"] == d["generation"], name)

    def gone(self, name: str = "a") -> None:
        self.until(lambda value: all(d["name"] != name for d in value["domains"]), f"{name} gone")

    def events(self, *names: str) -> list[dict]:
        text = (self.path / "state" / "events.jsonl").read_text()
        found = [json.loads(line) for line in text.splitlines()]
        return [event for event in found if not names or event["event"] in names]

    def log(self) -> str:
        return (self.path / "log").read_text()[-6000:]

    def processes(self, name: str = "a") -> list[int]:
        """By the kernel: every process with this VM's socket on its command line."""
        wanted = f"unix:{self.settings.runtime / 'vms' / name / 'qmp.sock'},server,nowait"
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()
                and wanted in process.command_line(int(entry))
                and process.start_time(int(entry)) is not None]

    def close(self) -> None:
        if self.reconciler is not None and self.reconciler.poll() is None:
            self.reconciler.kill()
            self.reconciler.wait()
        homes = self.settings.runtime / "vms"
        for home in homes.iterdir() if homes.exists() else ():
            for pid in self.processes(home.name):
                os.kill(pid, signal.SIGKILL)


def ready(domain: dict) -> bool:
    return domain["conditions"][0]["status"] == "True"


def reason(domain: dict) -> str:
    return domain["conditions"][0]["reason"]


def condition(domain: dict, kind: str) -> dict | None:
    return next((c for c in domain["conditions"] if c["type"] == kind), None)
