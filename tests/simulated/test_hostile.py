"""Hostile files and entries that are not files: each is reported and affects no other domain."""

import os
import socket

import pytest

from tests.simulated.site import Site, ready, reason

XML_BOMB = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">
""" + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)) + (
    b"]><domain type='kvm'><name>&j;</name></domain>")


@pytest.fixture
def kept(tmp_path):
    """A site with a VM that must not notice anything."""
    site = Site(tmp_path)
    site.start()
    site.drop("good")
    pid = site.settled("running", "good")["observed"]["pid"]
    yield site
    try:
        with site.quickly():
            site.drop("after")
            site.settled("running", "after")
        assert site.processes("good") == [pid]
        assert not site.events("source.failed")
        assert not [e for e in site.events() if e.get("reason") == "InternalError"]
    finally:
        site.close()


def place(site, kind, name="x"):
    path = site.file(name)
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to("x.xml")
        case "big":
            path.write_bytes(b"<domain>" + b" " * (2 << 20) + b"</domain>")
        case "binary":
            path.write_bytes(os.urandom(5000))
        case "zeros":
            path.write_bytes(bytes(1000))
        case "empty":
            path.write_bytes(b"")
        case "bomb":
            path.write_bytes(XML_BOMB)
        case "deep":
            path.write_bytes(b"<a>" * 100000)
        case "entity":
            path.write_bytes(b"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/hostname'>]>"
                             b"<domain type='kvm'><name>&x;</name></domain>")
        case "utf16":
            path.write_bytes("<domain><name>\ud7ff</name></domain>".encode("utf-16"))
        case "proc":
            path.symlink_to("/proc/self/mem")
        case "device":
            path.symlink_to("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))


ALL = ("directory", "fifo", "dangling", "loop", "big", "binary", "zeros", "empty", "bomb", "deep",
       "entity", "utf16", "proc", "device", "socket")


def test_files_that_are_not_domain_files_do_not_harm_other_domains(kept):
    for number, kind in enumerate(ALL):
        place(kept, kind, f"x{number}" if kind != "loop" else "x")
    value = kept.until(lambda v: len(v["source"]["invalid"]) == len(ALL))
    for entry in value["source"]["invalid"]:
        assert entry["errors"], entry
    assert [d["name"] for d in value["domains"]] == ["good"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling", "binary", "empty", "device"])
def test_what_takes_the_place_of_a_file_stops_no_vm(kept, kind):
    kept.drop("x")
    pid = kept.settled("running", "x")["observed"]["pid"]
    kept.file("x").unlink()
    place(kept, kind)
    found = kept.domain(lambda d: reason(d) == "InvalidDefinition", "x")
    assert found["observed"]["pid"] == pid
    if kind == "directory":
        kept.file("x").rmdir()
    kept.drop("x")
    assert kept.settled("running", "x")["observed"]["pid"] == pid


def test_a_file_name_that_is_not_valid_text(kept):
    (kept.path / "domains").joinpath(os.fsdecode(b"\xff\xfe.xml")).write_bytes(b"<domain/>")
    (kept.path / "domains" / "a\x1b[2J\n.xml").write_bytes(b"<domain/>")
    (kept.path / "domains" / ("n" * 250 + ".xml")).write_bytes(b"<domain/>")
    kept.until(lambda v: len(v["source"]["invalid"]) == 3)
    assert kept.verb("status", "-o", "json").returncode in (0, 1)


def test_a_valid_domain_in_a_file_whose_name_is_not_valid_text(kept):
    kept.drop("odd", file=os.fsdecode(b"\xff.xml"))
    kept.settled("running", "odd")
    kept.kill()
    kept.start()
    kept.settled("running", "odd")
    assert kept.verb("status", "-o", "json").returncode == 0
    assert kept.verb("plan", "-o", "json").returncode == 0


def test_another_uuid_during_a_start_makes_no_second_process(tmp_path):
    faults = tmp_path / "faults"
    faults.write_text('{"a": {"start_delay": 0.3}}')
    site = Site(tmp_path, env={"STRATOVIRT_SIMULATOR": f"@{faults}"})
    try:
        site.start()
        site.drop("a")
        site.waits(site.processes, "the process of a")
        uuid = "<uuid>aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeee%02d</uuid>"
        data = site.file().read_bytes()
        for turn in range(4):
            site.put("a.xml", data.replace(b"</name>", b"</name>" + (uuid % turn).encode()))
            site.until(lambda v, turn=turn: any(
                d["uuid"].endswith(f"{turn:02}") for d in v["domains"]))
            assert len(site.processes()) <= 1
        found = site.settled("running")
        assert found["uuid"].endswith("03")
        assert len(site.processes()) == 1
        assert not site.events("action.failed")
        assert not site.events("domain.exited")
    finally:
        site.close()


def test_two_domains_that_swap_their_names(tmp_path):
    site = Site(tmp_path)
    try:
        site.start()
        uuid = "<uuid>aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeee%02d</uuid>"

        def named(name, number):
            site.disk(f"d{number}")
            site.drop(name, file=".x")
            data = (site.path / "domains" / ".x").read_bytes().replace(
                b"</name>", ("</name>" + uuid % number).encode()).replace(
                f"{name}.img".encode(), f"d{number}.img".encode())
            site.put(f"{number}.xml", data)
        named("a", 1)
        named("b", 2)
        site.settled("running", "a")
        site.settled("running", "b")
        site.kill()
        named("b", 1)
        named("a", 2)
        site.start()
        a = site.domain(lambda d: d["uuid"].endswith("02") and ready(d), "a")
        b = site.domain(lambda d: d["uuid"].endswith("01") and ready(d), "b")
        assert a["observed"]["pid"] != b["observed"]["pid"]
        assert len(site.processes("a")) == len(site.processes("b")) == 1
    finally:
        site.close()
