"""Many simulated VMs to which everything happens that a host, its users and its programs can do.

Each action is drawn from one seed. What is wanted of the files is noted; `calm` takes every fault
back, and then the reconciler must come to exactly that.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.failpoints import VARIABLE, Point
from reconciler.stratovirt import process, recognition
from reconciler.stratovirt.record import load
from tests.host.test_taps import ip
from tests.simulated.left_over import left_over
from tests.simulated.network import CARD, InThisNetwork, with_taps
from tests.simulated.site import Site, ready, reason
from tests.simulated.test_failpoints import KILL_ONLY
from tests.simulated.test_limits import LIMITED
from tests.sources.gits import git
from tests.values import xml

if TYPE_CHECKING:
    from pathlib import Path

SECOND = ("<disk type='file'><source file='{name}-second.img'/>"
          "<target dev='vdb' bus='virtio'/></disk>")
# Whatever happens to it, a VM is started again soon.
INNER = "<r:restart limit='1000' delay='100ms' max-delay='1s'/>"
RAISING = sorted(set(Point) - KILL_ONLY)
ERRORS = ("EIO", "ENOSPC", "EMFILE", "ETIMEDOUT")
CONVERGES = 60.0  # seconds


@dataclass(frozen=True)
class Spec:
    """What a file says."""

    name: str
    number: int  # of its uuid
    state: str = "running"
    memory: int = 128
    more: str = ""  # devices

    def text(self) -> bytes:
        devices = self.more.format(name=self.name, number=self.number)
        head = f"<uuid>cccccccc-0000-4000-8000-{self.number:012d}</uuid>"
        return xml(self.name, self.state, self.memory, INNER, devices, head).replace(
            b"fw.fd", b"sample-firmware.fd").replace(
            b"<disk type='file'>", b"<disk type='file'><driver name='qemu' cache='writeback'/>")


class Chaos(Site):
    """`act` does one thing; `wanted` are the specs of the files."""

    def __init__(self, path: Path, seed: str, count: int, more: str = "", **values) -> None:
        self.dice = random.Random(seed)
        self.points = path / "points"
        self.points.mkdir()
        super().__init__(path, prune="settle: 200ms, hold_minimum: 100000", more=more,
                         env={VARIABLE: str(self.points)}, qmp_timeout="2s", **values)
        self.directory = path / "domains"
        self.wanted: dict[str, Spec] = {}
        self.broken: set[str] = set()
        self.asleep: list[int] = []
        self.numbers = 0
        self.done: list[str] = []
        for _ in range(count):
            self.add()

    # What users do

    def write(self, file: str, spec: Spec) -> None:
        for name in (spec.name, f"{spec.name}-second"):
            self.disk(name)
        fresh = self.path / "fresh"
        fresh.write_bytes(spec.text())
        fresh.replace(self.directory / file)
        self.wanted[file] = spec
        self.broken.discard(file)

    def publish(self) -> None:
        """The files are as they shall be: a commit, where there are commits."""

    def add(self) -> None:
        self.numbers += 1
        name = f"vm{self.numbers}"
        self.write(f"{name}.xml", Spec(name, self.numbers))

    def remove(self) -> None:
        if len(self.wanted) > 2:
            file = self.any_file()
            (self.directory / file).unlink()
            del self.wanted[file]
            self.broken.discard(file)

    def remove_all(self) -> None:
        for file in self.wanted:
            (self.directory / file).unlink()
        self.wanted.clear()
        self.publish()

    def edit(self) -> None:
        file = self.any_file()
        self.write(file, replace(
            self.wanted[file], state=self.dice.choice(("running", "running", "paused", "stopped")),
            memory=self.dice.choice((128, 128, 256)), more=self.dice.choice(self.devices())))

    def devices(self) -> tuple[str, ...]:
        return ("", SECOND)

    def move(self) -> None:
        """The file gets another name."""
        file = self.any_file()
        if file not in self.broken:
            fresh = f"m{self.dice.randint(0, 10**6)}.xml"
            (self.directory / file).rename(self.directory / fresh)
            self.wanted[fresh] = self.wanted.pop(file)

    def rename(self) -> None:
        """The domain gets another name."""
        self.numbers += 1
        file = self.any_file()
        self.write(file, replace(self.wanted[file], name=f"vm{self.numbers}"))

    def exchange(self) -> None:
        """Two domains exchange their names, in one look."""
        files = sorted(self.wanted.keys() - self.broken)
        if len(files) > 1:
            one, two = self.dice.sample(files, 2)
            first, second = self.wanted[one], self.wanted[two]
            with self.frozen():
                self.write(one, replace(first, name=second.name))
                self.write(two, replace(second, name=first.name))

    def break_a_file(self) -> None:
        file = self.any_file()
        whole = (self.directory / file).read_bytes()
        (self.directory / file).write_bytes(whole[:self.dice.randint(0, len(whole) - 1)])
        self.broken.add(file)

    def touch(self) -> None:
        file = self.any_file()
        if file not in self.broken:
            (self.directory / file).write_bytes(self.wanted[file].text() + b"<!-- again -->")

    def hold(self) -> None:
        word = self.dice.choice(("hold", "release"))
        name = self.wanted[self.any_file()].name
        self.verb(word, self.dice.choice((name, name, name, "--all")))

    # What happens to the host

    def kill_a_vm(self) -> None:
        pid = self.any_vm()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, self.dice.choice((signal.SIGKILL, signal.SIGTERM)))

    def stop_a_vm_with_a_signal(self) -> None:
        pid = self.any_vm()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.asleep.append(pid)

    def wake_the_stopped(self) -> None:
        for pid in self.asleep:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.asleep.clear()

    def a_step_fails(self) -> None:
        point, error = self.dice.choice(RAISING), self.dice.choice(ERRORS)
        fresh = self.points / ".fresh"
        fresh.write_text(f"{error} {self.dice.randint(1, 3)}")
        fresh.replace(self.points / point)

    def the_disk_is_full(self) -> None:
        """Where the state is: a file system of its own, if it could be mounted."""
        if self.settings.state.is_mount():
            with suppress(OSError), (self.settings.state / "ballast").open("wb", 0) as file:
                while file.write(b"x" * 4096):
                    pass
            time.sleep(self.dice.uniform(0.1, 0.5))
            (self.settings.state / "ballast").unlink()

    def the_source_goes_away(self) -> None:
        away = self.directory.with_name("away")
        self.directory.rename(away)
        time.sleep(self.dice.uniform(0.0, 0.6))
        away.rename(self.directory)

    def the_reconciler_is_killed(self) -> None:
        how = self.dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        status = self.kill(how)
        # One that was just started may not have its handler yet.
        assert status == -how or (how is signal.SIGTERM and not status), f"{status}{self.log()}"
        time.sleep(self.dice.uniform(0.0, 0.2))
        self.start()

    def the_reconciler_sleeps(self) -> None:
        with self.frozen():
            time.sleep(self.dice.uniform(0.0, 0.5))

    ACTIONS = (
        (add, 3), (remove, 3), (edit, 20), (move, 5), (rename, 4), (exchange, 2),
        (break_a_file, 4), (touch, 4), (hold, 4), (kill_a_vm, 10), (stop_a_vm_with_a_signal, 2),
        (wake_the_stopped, 1), (a_step_fails, 10), (the_disk_is_full, 2),
        (the_source_goes_away, 1), (the_reconciler_is_killed, 3), (the_reconciler_sleeps, 2))

    def actions(self):
        return self.ACTIONS

    def act(self) -> None:
        actions, weights = zip(*self.actions(), strict=True)
        action, = self.dice.choices(actions, weights)
        self.done.append(action.__name__)
        action(self)
        self.publish()
        self.lives()
        for home, pids in self.vms().items():
            assert len(pids) < 2, f"{home} has two processes: {pids}"
        time.sleep(self.dice.choice((0.0, 0.01, 0.05, 0.2)))

    def any_file(self) -> str:
        return self.dice.choice(sorted(self.wanted))

    def any_vm(self) -> int | None:
        found = sorted(pid for pids in self.vms().values() for pid in pids)
        return self.dice.choice(found) if found else None

    def vms(self) -> dict[str, list[int]]:
        """The living processes of each directory of a VM."""
        vms, found = self.settings.runtime / "vms", {}
        for entry in os.listdir("/proc"):
            home = recognition.home_of(process.command_line(int(entry)), vms) if (
                entry.isdigit()) else None
            if home is not None and process.start_time(int(entry)) is not None:
                found.setdefault(home.name, []).append(int(entry))
        return found

    # The end

    def start_again(self) -> None:
        """As the last reconciler was started."""
        self.start()

    def calm(self) -> None:
        """Every fault is over, every file as it is wanted, nothing is held."""
        for path in self.points.iterdir():
            path.unlink()
        self.wake_the_stopped()
        for file in sorted(self.broken):
            self.write(file, self.wanted[file])
        self.publish()
        domains = self.until(bool)["domains"]
        self.verb("release", "--all")
        for name in {*(spec.name for spec in self.wanted.values()), *(d["name"] for d in domains)}:
            self.verb("release", name)

    def converges(self, *, tidy: bool = True) -> dict:
        """The status, once files and processes agree, and nothing is left over (`tidy`)."""
        deadline = time.monotonic() + CONVERGES
        restarted: set[str] = set()
        while True:
            value = self.until(bool)
            wrong = self.differences(value) or (tidy and self.untidy(value))
            if not wrong:
                return value
            for domain in value["domains"]:
                # A definition that a fault kept from coming up is tried again by a user.
                if reason(domain) == "RolledBack" and domain["name"] not in restarted:
                    restarted.add(domain["name"])
                    self.verb("restart", domain["name"])
            assert time.monotonic() < deadline, "\n".join(wrong[:20]) + self.log()
            time.sleep(0.1)

    def differences(self, value: dict) -> list[str]:
        wanted = {spec.name: spec for spec in self.wanted.values()}
        domains = {domain["name"]: domain for domain in value["domains"]}
        found = [f"{name}: only in the files: {wanted[name]}"
                 for name in wanted.keys() - domains.keys()]
        found += [f"{name}: only in the status: {json.dumps(domains[name])}"
                  for name in domains.keys() - wanted.keys()]
        found += [f"{name}: wanted {wanted[name]}, is {json.dumps(domains[name])}"
                  for name in wanted.keys() & domains.keys()
                  if not is_as_wanted(domains[name], wanted[name])]
        vms = self.vms()
        found += [f"{name} has processes {vms.get(name)}" for name, spec in wanted.items()
                  if len(vms.get(name, ())) != (spec.state != "stopped")]
        return found

    def untidy(self, value: dict) -> list[str]:
        """What is left over. A stopped domain that was renamed keeps its old directory."""
        stopped = {d["uuid"] for d in value["domains"] if d["observed"]["state"] == "absent"}
        old = {home.name for home in (self.settings.runtime / "vms").iterdir()
               if (kept := load(home)) is not None and kept.uuid in stopped}
        return left_over(self, old | {spec.name for spec in self.wanted.values()})

    def descriptors(self) -> Counter[str]:
        """What the reconciler has open, and how often; sockets and pipes without their numbers."""
        found: Counter[str] = Counter()
        place = f"/proc/{self.reconciler.pid}/fd"
        for number in os.listdir(place):
            with suppress(OSError):
                found[os.readlink(f"{place}/{number}").partition("[")[0]] += 1
        return found

    def memory(self) -> int:
        """Resident bytes of the reconciler."""
        with open(f"/proc/{self.reconciler.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_as_wanted(domain: dict, spec: Spec) -> bool:
    observed = domain["observed"]
    states = {"running": "running", "paused": "paused", "stopped": "absent"}
    return (observed["state"] == states[spec.state] and ready(domain)
            and domain["observedGeneration"] == domain["generation"]
            and domain["desired"]["memoryBytes"] == spec.memory << 20
            and (spec.state == "stopped" or observed["memoryBytes"] == spec.memory << 20)
            and all(p["blockedBy"].startswith("guest") for p in domain["pending"]))


class Limited(Chaos):
    """Some of its reconcilers find the inotify watches or instances of their user used up."""

    kind: tuple[str, int] | None = None

    def start(self) -> None:
        self.kind = self.dice.choice((None, None, ("watches", 3), ("watches", 0), ("instances", 1)))
        self.start_again()

    def start_again(self) -> None:
        if self.kind is None:
            super().start()
            return
        with (self.path / "log").open("ab") as log:
            self.reconciler = subprocess.Popen(
                ["unshare", "-Ur", sys.executable, "-c", LIMITED.format(*self.kind),
                 *self.words("run")], env={**os.environ, **self.env}, stdout=log, stderr=log)


class Commits(Chaos):
    """Its files are those of a git repository; users commit."""

    def __init__(self, path: Path, seed: str, count: int) -> None:
        git(path, "init", "-q", "-b", "main", "repository")
        super().__init__(path, seed, count, more="source: {kind: git, path: domains, interval: "
                         f"200ms, url: 'file://{path}/repository'}}")
        self.repository = path / "repository"
        self.directory.rename(self.repository / "domains")
        self.directory = self.repository / "domains"
        self.publish()

    def publish(self) -> None:
        if self.directory.exists():
            git(self.repository, "add", "-A")
            git(self.repository, "commit", "-qm", "change", "--allow-empty")

    def the_source_goes_away(self) -> None:
        away = self.repository.with_name("away")
        self.repository.rename(away)
        time.sleep(self.dice.uniform(0.0, 0.6))
        away.rename(self.repository)


class Networked(InThisNetwork, Chaos):
    """Its VMs have taps on a bridge of the network namespace, which goes and comes back."""

    def __init__(self, path: Path, seed: str, count: int) -> None:
        super().__init__(path, seed, count, program=with_taps(path))

    def devices(self) -> tuple[str, ...]:
        return ("", SECOND, CARD, CARD)

    def the_bridge_is_made_again(self) -> None:
        ip("link", "del", "br0")
        time.sleep(self.dice.uniform(0.0, 0.5))
        ip("link", "add", "br0", "type", "bridge")

    def a_tap_is_taken_away(self) -> None:
        taps = [name for name in sorted(os.listdir("/sys/class/net")) if name.startswith("tap-")]
        if taps:
            with suppress(subprocess.CalledProcessError):
                ip("link", "set", self.dice.choice(taps),
                   self.dice.choice(("nomaster", "down")))

    def actions(self):
        return (*self.ACTIONS, (Networked.the_bridge_is_made_again, 2),
                (Networked.a_tap_is_taken_away, 4))
