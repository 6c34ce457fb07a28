"""Probes of a guest: each says why it failed, and none raises or waits too long."""

import asyncio
import fcntl
import os
import pty
import socket
import tty

import pytest

from reconciler.host.names import Names
from reconciler.stratovirt import probes


@pytest.fixture
def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield found


async def test_tcp_succeeds_only_where_a_server_listens(port):
    address = f"127.0.0.1:{port.getsockname()[1]}"
    assert await probes.tcp(address, 5.0, Names()) == f"{address}: connection refused"
    port.listen()
    assert await probes.tcp(address, 5.0, Names()) == ""


async def test_tcp_waits_no_longer_than_its_limit(port):
    port.listen(0)
    address = port.getsockname()
    waiting = [socket.socket() for _ in range(8)]
    try:
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        found = await asyncio.wait_for(probes.tcp(f"127.0.0.1:{address[1]}", 0.1, Names()), 10)
        assert "within 0.1 s" in found
    finally:
        for one in waiting:
            one.close()


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "a..b:80", "nowhere.invalid:80",
                                     "[::1]:1", "-:1"])
async def test_tcp_with_an_invalid_address_fails_the_probe_without_an_exception(address):
    assert await probes.tcp(address, 5.0, Names())


async def test_a_missing_agent_socket_fails_the_probe(tmp_path):
    assert "does not answer" in await probes.agent(tmp_path / "none", 1.0)


@pytest.fixture
def console():
    """A pty as StratoVirt has it: our end, and its path."""
    guest, ours = pty.openpty()
    tty.setraw(ours)
    yield guest, os.ttyname(ours)
    os.close(guest)
    os.close(ours)


def test_a_text_on_the_console_has_to_come_once(console):
    guest, path = console
    probe = probes.Console("... lo*gin:")
    assert "has not appeared" in probe.check(path)
    os.write(guest, b"... lo")
    assert "has not appeared" in probe.check(path)
    os.write(guest, b"gin: ")
    assert probe.check(path) == ""
    assert probe.check(path) == ""  # and is not read any more
    os.write(guest, b"secret")
    other = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    assert os.read(other, 100) == b"secret"
    os.close(other)


def test_a_person_on_the_console_goes_first(console):
    guest, path = console
    probe = probes.Console("login")
    probe.check(path)
    person = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    fcntl.flock(person, fcntl.LOCK_EX)
    os.write(guest, b"login")
    assert "console is in use" in probe.check(path)
    assert os.read(person, 100) == b"login"
    os.close(person)
    os.write(guest, b"login")
    assert probe.check(path) == ""


def test_only_so_much_of_a_console_is_kept(console):
    guest, path = console
    probe = probes.Console("begin*end")
    os.write(guest, b"begin")
    for _ in range(20):
        os.write(guest, b"x" * 3000)
        probe.check(path)
    os.write(guest, b"end")
    assert probe.check(path) != ""  # the beginning is not kept any more
    os.write(guest, b"begin end")
    assert probe.check(path) == ""
    probe.close()


def test_a_removed_console_fails_the_probe_without_an_exception(tmp_path):
    probe = probes.Console("x")
    assert "no pty console" in probe.check(None)
    assert "No such file" in probe.check(str(tmp_path / "none"))


def test_rule_8_a_guest_that_never_stops_writing_is_read_in_pieces():
    probe = probes.Console("login:")
    for _ in range(3):
        assert "has not appeared" in probe.check("/dev/zero")  # gives as much as one reads
    probe.close()


def test_output_that_a_user_reads_is_not_taken_by_the_probe(console):
    guest, path = console
    probe = probes.Console("login:")
    probe.check(path)
    with open(path, "rb", buffering=0) as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        os.write(guest, b"login: ")
        assert (probe.check(path), probe.in_use) == ("the console is in use", True)
    assert (probe.check(path), probe.in_use, probe.found) == ("", False, True)


@pytest.mark.parametrize(("text", "pattern", "found"), [
    ("web1 login: ", "login:", True), ("web1 login: ", "web* login:", True), ("ab", "b*a", False),
    ("aXbXc", "a*b*c", True), ("abc", "*b*", True), ("a(b)+", "(b)+", True), ("", "a", False),
    ("aa", "a*a*a", False)])
def test_pieces_of_a_pattern_come_in_their_order(text, pattern, found):
    assert probes.contains(text, pattern) is found


def test_rule_8_no_pattern_uses_much_cpu_time():
    assert not probes.contains("a" * 16384, "a*" * 5000 + "b")
