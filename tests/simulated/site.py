"""A directory with a real reconciler on it, and real VM processes: the simulator's, or real ones.

STRATOVIRT_REAL names a real program (STRATOVIRT_REAL_ARGS its arguments); then the same tests run
on that.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler import samples
from reconciler.cli.client import Unreachable, ask
from reconciler.report.requests import Request
from reconciler.settings import load
from reconciler.stratovirt import process
from tests import processes
from tests.values import xml

ROOT = processes.ROOT
REAL = os.environ.get("STRATOVIRT_REAL")
LIMIT = float(os.environ.get("RECONCILER_LIMIT", "60"))
TICK = 0.01  # seconds between two looks at what sends no event
CONFIG = """
paths: {{runtime: run, state: state, images: images}}
prune: {{{prune}}}
hypervisor: {{path: {path}, arguments: [{arguments}]}}
reconcile: {{backoff: {{initial: 200ms, maximum: 2s}}, qmp_timeout: {qmp_timeout}{reconcile}}}
{more}
"""


class Site:
    def __init__(self, path: Path, *, reconcile: str = "", more: str = "",
                 prune: str = "settle: 200ms", qmp_timeout: str = "5s",
                 program: str = REAL or "simulator",
                 env: dict[str, str] | None = None) -> None:
        self.path = path
        self.env = {**os.environ, **(env or {})}
        (path / "domains").mkdir()
        samples.make(path / "images")
        self.config = path / "config.yaml"
        self.config.write_text(CONFIG.format(
            path=program, reconcile=reconcile, more=more,
            prune=prune, qmp_timeout=qmp_timeout,
            arguments=", ".join(
                os.environ.get("STRATOVIRT_REAL_ARGS", "").split() if REAL else [])))
        self.settings = load(self.config, {})
        self.reconciler: processes.Forked | subprocess.Popen | None = None

    # The reconciler

    def start(self) -> None:
        self.reconciler = processes.start(self.words("run"), self.env, self.path / "log")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.reconciler is not None
        self.reconciler.send_signal(number)
        return self.reconciler.wait(LIMIT)

    def verb(self, *words: str, input: str = "") -> subprocess.CompletedProcess:  # noqa: A002
        return processes.run(self.words(*words), self.env, LIMIT, input)

    def words(self, *words: str) -> list[str]:
        """The command line of a verb."""
        return ["-c", str(self.config), *words]

    @contextmanager
    def frozen(self):
        """The reconciler sleeps: what happens meanwhile is all there when it looks again."""
        os.kill(self.reconciler.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.reconciler.pid, signal.SIGCONT)

    def approve(self) -> int:
        """Approve the one thing that waits; the exit status."""
        approval, = self.until(lambda v: v["approvals"])["approvals"]
        return self.verb("approve", approval["token"]).returncode

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
        """Wait for a status for which `true` holds, woken by each new one."""
        __tracebackhide__ = True
        deadline = time.monotonic() + LIMIT
        value: dict = {}
        sequence = "0"
        while time.monotonic() < deadline:
            try:
                value = ask(self.settings, Request.STATUS, limit=LIMIT,
                            query={"wait": sequence})
            except Unreachable:
                self.lives()
                time.sleep(TICK)
                continue
            if true(value):
                return value
            sequence = str(value["sequence"])
        raise AssertionError(f"{self._missed(true, what)}\nThe last status:\n{_brief(value)}")

    def waits(self, true, what: str = "") -> None:
        """Wait until `true` holds of something that sends no event: a file, a process."""
        __tracebackhide__ = True
        deadline = time.monotonic() + LIMIT
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(self._missed(true, what))
            time.sleep(TICK)

    def rest(self, seconds: float) -> None:
        """Let real time pass where this is the point; the reconciler must live through it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(TICK)
            self.lives()

    def lives(self) -> None:
        """Fail, with its log, if the reconciler has ended."""
        __tracebackhide__ = True
        assert self.reconciler is not None, "the reconciler was not started"
        status = self.reconciler.poll()
        if status is not None:
            raise AssertionError(f"the reconciler ended with {status}; its log:\n{self.log()}")

    @contextmanager
    def quickly(self, limit: float = 3.0):
        """Fail if the block takes longer, not counting the time that it waited for a processor.

        On a busy machine any process may have to wait; what must not be waited for is another VM.
        """
        __tracebackhide__ = True
        begun, queued = time.monotonic(), self._queued()
        yield
        took = time.monotonic() - begun
        took -= self._queued() - queued
        if took > limit:
            raise AssertionError(f"it took {took:.1f} s, and may take {limit:g} s\n"
                                 f"The reconciler's log:\n{self.log()}")

    def _queued(self) -> float:
        """Seconds that this process, the reconciler and its VMs were ready to run, and did not."""
        pids = {os.getpid(), self.reconciler.pid}
        for home in (self.settings.runtime / "vms").glob("*"):
            pids.update(self.processes(home.name))
        total = 0
        for pid in pids:
            for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    total += int(schedule.read_text().split()[1])
        return total / 1e9

    def domain(self, true, name: str = "a") -> dict:
        """Wait until the status of this domain is such that `true` holds; that status."""
        __tracebackhide__ = True
        found: dict = {}

        def so(value: dict) -> bool:
            for part in value["domains"]:
                if part["name"] == name and true(part):
                    found.update(part)
                    return True
            return False

        self.until(so, f"domain {name}: {_source(true)}")
        return found

    def _missed(self, true, what: str) -> str:
        return (f"not within {LIMIT:g} s: {what or _source(true)}\n"
                f"The reconciler's log:\n{self.log()}")

    def settled(self, state: str, name: str = "a") -> dict:
        """Observed so, and Ready."""
        __tracebackhide__ = True
        return self.domain(lambda d: d["observed"]["state"] == state and ready(d)
                           and d["observedGeneration"] == d["generation"], name)

    def gone(self, name: str = "a") -> None:
        __tracebackhide__ = True
        self.until(lambda value: all(d["name"] != name for d in value["domains"]), f"{name} gone")

    def events(self, *names: str) -> list[dict]:
        text = (self.path / "state" / "events.jsonl").read_text()
        found = [json.loads(line) for line in text.splitlines()]
        return [event for event in found if not names or event["event"] in names]

    def log(self) -> str:
        """The tail of what the reconciler printed."""
        path = self.path / "log"
        return path.read_text()[-6000:] if path.exists() else "(none)"

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


def _source(true) -> str:
    """The text of what a test waits for, such as its lambda."""
    try:
        return " ".join(inspect.getsource(true).split())
    except OSError:
        return repr(true)


def _brief(status: dict) -> str:
    """What a failure shows of a status: a line for the source, and one for each domain."""
    if not status:
        return "(none)"
    lines = [{key: status["source"].get(key) for key in (
        "revision", "settling", "invalid", "conditions")} | {"approvals": status["approvals"]}]
    lines += [{key: domain.get(key) for key in (
        "name", "uuid", "generation", "observedGeneration", "desired", "observed", "conditions",
        "pending", "attempt", "restarts", "lastAction")} for domain in status["domains"]]
    return "\n".join(map(json.dumps, lines))


def ready(domain: dict) -> bool:
    return domain["conditions"][0]["status"] == "True"


def reason(domain: dict) -> str:
    return domain["conditions"][0]["reason"]


def condition(domain: dict, kind: str) -> dict | None:
    return next((c for c in domain["conditions"] if c["type"] == kind), None)
