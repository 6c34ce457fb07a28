"""console: a person at a VM's pty, or a pipe."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

from tests.simulated.site import LIMIT, REAL, ROOT
from tests.simulator.support import until

pytestmark = pytest.mark.skipif(bool(REAL), reason="the simulator's guest echoes; a firmware "
                                                   "that halts does not")


class Person:
    """At a terminal of their own, on which the verb runs."""

    def __init__(self, site, *words):
        self.screen, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.seen = b""
        self.verb = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "-c", str(site.config), "console", *words],
            cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)

    def sees(self, text):
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            assert select.select([self.screen], [], [], end - time.monotonic())[0], self.seen
            self.seen += os.read(self.screen, 4096)

    def connected(self):
        """And their terminal is the guest's from now on."""
        self.sees(b"Connected to a (/dev/pts/")
        until(lambda: not termios.tcgetattr(self.theirs)[3] & termios.ICANON)

    def types(self, text):
        os.write(self.screen, text)

    def close(self):
        self.verb.kill()
        self.verb.wait()
        os.close(self.screen)
        os.close(self.theirs)


@pytest.fixture
def person(shared):
    there = []

    def come(*words):
        there.append(Person(shared, *words))
        return there[-1]

    yield come
    for one in there:
        one.close()


def test_a_person_types_sees_the_echo_and_ends_with_ctrl_bracket(person):
    it = person("a")
    it.connected()
    assert b"Ctrl-] leaves." in it.seen
    it.types(b"uptime\x03\x04")  # nothing of it is taken by the terminal: it is the guest's
    it.sees(b"uptime\x03\x04")
    assert it.verb.poll() is None
    it.types(b"more\x1d")
    assert it.verb.wait(LIMIT) == 0
    assert termios.tcgetattr(it.theirs) == it.before  # the terminal is as it was


def test_one_at_a_time_unless_forced(person, shared):
    first = person("a")
    first.connected()
    second = shared.verb("console", "a", input="")
    assert second.returncode == 1
    assert "the console of 'a' is in use" in second.stderr
    assert "--force" in second.stderr
    third = person("a", "--force")
    third.connected()
    assert b"only part of the output" in third.seen
    third.types(b"\x1d")
    assert third.verb.wait(LIMIT) == 0


def test_two_sessions_share_the_output_and_neither_is_ended(person):
    first = person("a")
    first.connected()
    second = person("a", "--force")
    second.connected()
    screens = (first, second)
    for number in range(60):  # each echo wakes both, and one of them reads it
        mark = f"<{number}>".encode()
        second.types(mark)
        assert shows(screens, mark)
    assert [one.verb.poll() for one in screens] == [None, None]
    for one in screens:
        one.types(b"\x1d")
        assert one.verb.wait(LIMIT) == 0


def shows(screens, mark):
    """Read both screens until the bytes of the mark have come, on either of them."""
    wanted = len(mark)
    end = time.monotonic() + LIMIT
    while wanted > 0:
        ready = select.select([one.screen for one in screens], [], [],
                              end - time.monotonic())[0]
        if not ready:
            return False
        wanted -= sum(len(os.read(screen, 4096)) for screen in ready)
    return True


def test_in_a_pipe_it_copies_and_ends_with_its_input(shared):
    done = shared.verb("console", "a", input="echo this\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "echo this" in done.stdout


def test_the_serial_port_and_a_named_console(shared):
    assert shared.verb("console", "a", "--serial", input="").returncode == 0
    assert shared.verb("console", "a", "--device", "console0", input="").returncode == 0
    done = shared.verb("console", "a", "--device", "console9", input="")
    assert done.returncode == 1
    assert "available: --device console0, --serial" in done.stderr


def test_without_a_console_or_a_vm_it_says_so(shared):
    for name, said in (("p", "'p' has no such pty console (available: none)"),
                       ("b", "no domain 'b'")):
        done = shared.verb("console", name, input="")
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    done = shared.verb("console", "s", input="")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


def test_without_a_reconciler_it_exits_2(idle):
    done = idle.verb("console", "a", input="")
    assert (done.returncode, "no reconciler is running" in done.stderr) == (2, True)


def test_the_end_of_the_vm_ends_it(site):
    site.drop("a", devices="<console type='pty'><target type='virtio'/></console>")
    site.settled("running")
    it = Person(site, "a")
    try:
        it.connected()
        site.drop("a", "stopped")
        assert it.verb.wait(LIMIT) == 0
        assert termios.tcgetattr(it.theirs) == it.before
    finally:
        it.close()


def test_of_several_consoles_it_is_the_one_in_the_status(site):
    """The lowest-numbered one, which is not the first by name."""
    site.drop("a", devices="".join(
        f"<console type='pty'><target type='virtio'/><alias name='ua-{name}'/></console>"
        for name in ("10", "2")))
    shown = site.domain(lambda d: d["observed"].get("console"))["observed"]["console"]
    it = Person(site, "a")
    try:
        it.connected()
        assert f"Connected to a ({shown})".encode() in it.seen
        it.types(b"\x1d")
        assert it.verb.wait(LIMIT) == 0
    finally:
        it.close()
