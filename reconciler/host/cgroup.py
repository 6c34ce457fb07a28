"""Counts OOM kills by control group, from the files of cgroup v2.

A VM that the kernel killed for lack of memory ends by SIGKILL, like any other killed process; only
the count of its group tells the difference. Without cgroup v2, the memory controller or the group,
there is no count.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_EVENTS = "memory.events"  # counts for the group and its descendants


def group_of(pid: int) -> str:
    """The path of a process's group from the root; empty if it is in none, or has ended."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


class OomKills:
    """The counts below `root`. One instance serves all VMs, since several may share a group."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._explained: dict[str, int] = {}  # counts attributed to VMs, by group

    def count(self, group: str) -> int | None:
        """OOM kills in a group since its creation; None if there is no count."""
        try:
            text = (self._root / group.lstrip("/") / _EVENTS).read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        counts = dict(line.partition(" ")[::2] for line in text.splitlines())
        found = counts.get("oom_kill", "")
        return int(found) if found.isdecimal() else None

    def explains_exit(self, group: str, since: int | None) -> bool:
        """Whether a kill after the count `since` explains this end. Each kill explains one end."""
        now = self.count(group) if group and since is not None else None
        if now is None or since is None:
            return False
        explained = max(since, self._explained.get(group, 0))
        if now > explained:
            self._explained[group] = explained + 1
        return now > explained
