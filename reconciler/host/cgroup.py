"""How often the kernel killed for want of memory, by control group: from the files of cgroup v2.

A VM that was killed so ends by SIGKILL as any other; only its group's count tells. Where there is
no cgroup v2, no memory controller, or no group any more, nothing is told.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_EVENTS = "memory.events"  # of the group and those below it, as the file says for all of its counts


def group_of(pid: int) -> str:
    """The group of a process, from the top; empty where it is in none, or gone."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


class OomKills:
    """The counts below `root`. One of it for all VMs: several may share a group."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._explained: dict[str, int] = {}  # how much of a group's count has its VM already

    def count(self, group: str) -> int | None:
        """So many processes of this group were killed for want of memory; None if nobody counts."""
        try:
            text = (self._root / group.lstrip("/") / _EVENTS).read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        words = dict(line.partition(" ")[::2] for line in text.splitlines())
        found = words.get("oom_kill", "")
        return int(found) if found.isdecimal() else None

    def explains_exit(self, group: str, since: int | None) -> bool:
        """Whether a kill since that count explains the end of one VM; it explains no second one."""
        now = self.count(group) if group and since is not None else None
        if now is None or since is None:
            return False
        explained = max(since, self._explained.get(group, 0))
        if now > explained:
            self._explained[group] = explained + 1
        return now > explained
