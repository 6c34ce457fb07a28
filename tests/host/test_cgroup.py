"""OOM kills by control group, counted in a copy of the kernel's tree of files."""

import os
from pathlib import Path

import pytest

from reconciler.host.cgroup import OomKills, group_of

EVENTS = "low 0\nhigh 3\nmax 7\noom 2\noom_kill {}\noom_group_kill 0\n"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "machine.slice" / "a.scope").mkdir(parents=True)

    def count(number):
        (tmp_path / "machine.slice" / "a.scope" / "memory.events").write_text(
            EVENTS.format(number))

    count(0)
    return tmp_path, count


GROUP = "/machine.slice/a.scope"


def test_it_counts_kills_and_nothing_else(tree):
    root, count = tree
    assert OomKills(root).count(GROUP) == 0
    count(2)
    assert OomKills(root).count(GROUP) == 2


@pytest.mark.parametrize("contents", [None, b"", b"oom_kill\n", b"oom_kill many\n", b"\xff\n"])
def test_without_a_count_no_exit_is_explained(tree, contents):
    root, _ = tree
    file = root / "machine.slice" / "a.scope" / "memory.events"
    file.unlink()
    if contents is not None:
        file.write_bytes(contents)
    kills = OomKills(root)
    assert kills.count(GROUP) is None
    assert not kills.explains_exit(GROUP, 0)
    assert OomKills(root / "nowhere").count(GROUP) is None


def test_only_a_rise_since_then_explains_an_end(tree):
    root, count = tree
    count(2)
    kills = OomKills(root)
    assert not kills.explains_exit(GROUP, 2)
    assert not kills.explains_exit(GROUP, None)
    assert not kills.explains_exit("", 0)
    count(3)
    assert kills.explains_exit(GROUP, 2)


def test_a_kill_explains_one_end_of_those_that_share_a_group(tree):
    root, count = tree
    kills = OomKills(root)
    count(2)
    assert [kills.explains_exit(GROUP, 0) for _ in range(3)] == [True, True, False]
    count(3)
    assert kills.explains_exit(GROUP, 0)


def test_the_group_of_a_process_comes_from_the_kernel():
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    mine, = [line.removeprefix("0::") for line in lines if line.startswith("0::")] or [""]
    assert group_of(os.getpid()) == mine
    assert group_of(2**22 + 1) == ""  # above the highest pid
