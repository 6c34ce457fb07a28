"""events: the journal, as people read it or as it is."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys

import pytest

from reconciler.cli import events
from tests.simulated.site import ROOT


@pytest.fixture
def follow():
    begun = []

    def following(site, *words):
        begun.append(subprocess.Popen(
            [sys.executable, "-m", "reconciler", "-c", str(site.config), "events", "-f", *words],
            cwd=ROOT, text=True, stdout=subprocess.PIPE))
        return begun[-1]

    yield following
    for one in begun:
        one.kill()
        one.wait()
        one.stdout.close()


def test_in_a_pipe_it_is_the_journal_as_it_is(shared):
    done = shared.verb("events")
    assert done.returncode == 0
    assert done.stdout == (shared.path / "state" / "events.jsonl").read_text()


def test_the_last_of_one_domain(shared):
    lines = shared.verb("events", "p", "-n", "2").stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["domain.starting", "domain.started"]
    assert shared.verb("events", "-n", "0").stdout == ""
    assert shared.verb("events", "missing").stdout == ""
    assert len(shared.verb("events", "-n", "3").stdout.splitlines()) == 3


def test_text_is_for_people(shared):
    line, = shared.verb("events", "p", "-n", "1", "-o", "text").stdout.splitlines()
    assert line[4] == "-"
    assert " domain.started " in line
    assert " p " in line
    assert "seq=" not in line


def test_half_a_line_and_garbage_are_skipped(idle):
    (idle.path / "state").mkdir()
    journal = idle.path / "state" / "events.jsonl"
    journal.write_bytes(b'{"event": "a", "domain": "x"}\n\xff\xfe\n[]\n1\n{"event": "b"}\n{"ev')
    for words in ((), ("x",), ("-o", "text"), ("x", "-o", "text")):
        done = idle.verb("events", *words)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_without_any_run_it_exits_2(idle):
    done = idle.verb("events")
    assert (done.returncode, "has never run here" in done.stderr) == (2, True)


def test_following_goes_on_across_a_rotation_and_a_line_in_halves(idle, follow):
    (idle.path / "state").mkdir()
    journal = idle.path / "state" / "events.jsonl"
    lines = [json.dumps({"event": str(n), "domain": "ab"[n % 2]}) + "\n" for n in range(20)]
    journal.write_text("".join(lines[:16]))
    following = follow(idle, "a")
    assert [following.stdout.readline() for _ in range(8)] == lines[0:16:2]  # the last 10 of it
    with journal.open("a") as file:
        file.write(lines[16][:9])
        file.flush()
        file.write(lines[16][9:])
    assert following.stdout.readline() == lines[16]
    journal.rename(journal.with_suffix(".jsonl.1"))
    journal.write_text(lines[17] + lines[18])
    assert following.stdout.readline() == lines[18]
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130


def test_what_is_written_just_before_a_rotation_is_followed(tmp_path):
    """The reconciler appends a line and rotates, after the follower has read all and before it
    looks whether the journal is still the same file."""
    journal = tmp_path / "events.jsonl"
    journal.write_bytes(b"1\n")

    class Reader(io.FileIO):
        """A file that is written to and rotated right after its end was read."""

        def readline(self, size=-1):
            line = super().readline(size)
            if not line and not journal.with_suffix(".jsonl.1").exists():
                with journal.open("ab") as writer:
                    writer.write(b"2\n")
                journal.rename(journal.with_suffix(".jsonl.1"))
                journal.write_bytes(b"3\n")
            return line

    lines = events.follow(journal, Reader(journal))
    assert [next(lines).strip() for _ in range(3)] == ["1", "2", "3"]
    lines.close()


def test_following_prints_new_events(shared, follow):
    following = follow(shared, "-n", "1")
    following.stdout.readline()
    shared.verb("hold", "s", "--reason", "why")
    assert json.loads(following.stdout.readline())["event"] == "domain.held"
    shared.verb("release", "s")
