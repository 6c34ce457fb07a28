"""A site whose reconciler fails once, at a step that a test chooses (reconciler/failpoints.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.failpoints import KILL, VARIABLE
from reconciler.stratovirt import process
from tests.simulated.left_over import left_over
from tests.simulated.site import Site, condition, ready, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.failpoints import Point

RUNNING, PAUSED, STOPPED = ("running", 128), ("paused", 128), ("absent", 128)


class Failing(Site):
    """A reconciler with failpoints, and a domain `h` that is held while its file has changed."""

    def __init__(self, path, **values):
        self.points = path / "points"
        self.points.mkdir()
        self.table = path / "faults.json"
        self.table.write_text("{}")
        super().__init__(path, env={VARIABLE: str(self.points),
                                    "STRATOVIRT_SIMULATOR": f"@{self.table}"},
                         qmp_timeout="1s", **values)
        self.disk("a2")
        self.drop("h")
        self.start()
        self.held = self.settled("running", "h")["observed"]["pid"]
        assert self.verb("hold", "h", "--reason", "mine").returncode == 0
        self.drop("h", state="stopped")
        self.domain(lambda d: condition(d, "Held") and condition(d, "Drifted"), "h")

    def faults(self, table):
        self.table.write_text(json.dumps(table))

    def fails_once(self, action, point, failure):
        """In the middle of an action; afterwards all is as it should be."""
        action.begin(self)
        if action.before is not None:
            self.come_to(action.before)
        kept = self.history()
        self.set(point, failure)
        action.act(self)
        if failure == KILL:
            self.is_killed()
        else:
            self.waits(lambda: not (self.points / point).exists(), f"{point} is reached")
        if action.again:
            action.act(self)
        self.converges(action, rolled_back=failure != KILL)
        assert kept <= self.history()

    def set(self, point, failure):
        fresh = self.points / ".fresh"
        fresh.write_text(failure)
        fresh.replace(self.points / point)

    def is_killed(self):
        """Wait until the failpoint has killed the reconciler; another one is started."""
        self.waits(lambda: self.reconciler.poll() is not None, "the reconciler is killed")
        assert self.reconciler.returncode == -9
        for home in (self.settings.runtime / "vms").iterdir():
            assert len(self.processes(home.name)) <= 1, f"{home.name} has two processes"
        self.start()
        self.until(bool)

    def converges(self, action, *, rolled_back):
        """To what is wanted, or what was before it; nothing else is there, and h is held."""
        self.come_to(action.wanted, rolled_back=rolled_back)
        names = {*action.wanted, "h"}
        self.until(lambda value: {d["name"] for d in value["domains"] if condition(d, "Held")} == (
            names if action.held else {"h"}))
        assert self.processes("h") == [self.held]
        assert process.start_time(self.held) is not None
        assert not [e for e in self.events() if e.get("reason") == "InternalError"]
        found: list[str] = []

        def clean():
            found[:] = left_over(self, names)
            return not found

        self.waits(clean, found)

    def come_to(self, wanted, *, rolled_back=False):
        """Once these are all domains besides h, with this state and MiB."""
        def so(value):
            found = {d["name"]: d for d in value["domains"] if d["name"] != "h"}
            return found.keys() == wanted.keys() and all(
                as_wanted(found[name], *each) or (rolled_back and is_rolled_back(found[name]))
                for name, each in wanted.items())

        for domain in self.until(so, f"comes to {wanted}")["domains"]:
            # One that is rolled back may run under another name.
            if domain["name"] in wanted and not is_rolled_back(domain):
                running = domain["observed"]["pid"] is not None
                assert len(self.processes(domain["name"])) == int(running)

    def history(self):
        """The definitions of the held domain that a user can go back to."""
        uuid = next(d["uuid"] for d in self.until(bool)["domains"] if d["name"] == "h")
        return {path.name for path in (self.settings.state / "history" / uuid).iterdir()}


@dataclass(frozen=True)
class Action:
    """What is done to a site in the state that `begin` makes; `wanted` are the domains after it.

    `before`: those before it; None: they have not come to rest. `again`: it is a command, which the
    user gives once more after an error.
    """

    points: tuple[Point, ...]
    begin: Callable[[Failing], None]
    act: Callable[[Failing], None]
    wanted: dict[str, tuple[str, int]]
    before: dict[str, tuple[str, int]] | None = field(default_factory=lambda: {"a": RUNNING})
    again: bool = False
    held: bool = False  # all domains are, afterwards


def is_rolled_back(domain):
    return reason(domain) == "RolledBack" and domain["observed"]["state"] == "running"


def as_wanted(domain, state, memory):
    observed = domain["observed"]
    return (ready(domain) and observed["state"] == state
            and domain["observedGeneration"] == domain["generation"]
            and domain["desired"]["memoryBytes"] == memory << 20
            and (state == "absent" or observed["memoryBytes"] == memory << 20)
            and not domain["pending"])
