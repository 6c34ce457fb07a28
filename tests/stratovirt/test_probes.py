"""A console's text: a guest may write what and as much as it wants."""

import fcntl
import os
import pty
import tty

import pytest

from reconciler.stratovirt.probes import Console


@pytest.fixture
def console():
    """Both ends, as a VM has them."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def test_rule_8_a_guest_that_never_stops_writing_is_read_in_pieces():
    probe = Console("login: $")
    for _ in range(3):
        assert "has not come" in probe.look("/dev/zero")  # gives as much as one reads
    probe.close()


def test_what_comes_in_pieces_is_put_together(console):
    ours, path = console
    probe = Console("login: $")
    for piece in (b"log", b"in", b": "):
        assert not probe.found
        os.write(ours, piece)
        probe.look(path)
    assert probe.found


def test_what_a_person_reads_is_theirs(console):
    ours, path = console
    probe = Console("login: $")
    probe.look(path)
    with open(path, "rb", buffering=0) as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        os.write(ours, b"login: ")
        assert (probe.look(path), probe.taken) == ("somebody is on its console", True)
    assert (probe.look(path), probe.taken, probe.found) == ("", False, True)
