"""Domains against each other."""

import sys
import time
from dataclasses import replace

import pytest

from reconciler.domain.cross_file_checks import conflicts
from reconciler.domain.lines import Line
from reconciler.domain.policy import Dependency
from tests.domain.making import DISK, disk, error, policy, read


def domain(file: str, name: str, devices: str = "", uuid: str = "", os: str | None = None):
    values = {} if os is None else {"os": os}
    return read(uuid, name=name, file=file,
                devices=devices or disk("vda", f"{name}.img"), **values)


def test_domains_that_share_nothing_are_accepted():
    assert conflicts({"a": domain("a", "a"), "b": domain("b", "b")}, {}) == {}


def test_the_later_of_two_conflicting_domains_is_reported_with_both_files_and_lines():
    for devices in (disk("vda", "/x"), DISK.replace("a.img", "{}.img") + "<interface "
                    "type='ethernet'><mac address='52:54:00:00:00:01'/></interface>",
                    DISK.replace("a.img", "{}.img") + "<interface type='ethernet'>"
                    "<target dev='tap0'/></interface>"):
        files = {name: domain(name, name, "\n" + devices.replace("{}", name))
                 for name in ("a.xml", "b.xml")}
        for old, new in (("a.xml", "b.xml"), ("b.xml", "a.xml")):
            found = conflicts(files, {old: files[old]})
            assert set(found) == {new}
            assert {p.reason for p in found[new]} == {"Conflict"}
            assert (found[new][0].file, found[new][0].line) == (new, 2)
            assert f"{old}:2" in found[new][0].message


FIRMWARE = ("<os><type arch='x86_64' machine='q35'>hvm</type><loader type='pflash' readonly='yes'>"
            "/fw.fd</loader><nvram template='/vars.fd'>/{}.fd</nvram></os>")
KERNEL = ("<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/vmlinuz</kernel>"
          "<initrd>/initrd</initrd></os>")


@pytest.mark.parametrize(("os", "path"), [
    (FIRMWARE, "/fw.fd"), (FIRMWARE, "/vars.fd"), (KERNEL, "/vmlinuz"), (KERNEL, "/initrd")])
@pytest.mark.parametrize("writer", [
    "<serial type='file'><source path='{}'/></serial>",
    "<serial type='unix'><source mode='bind' path='{}'/></serial>",
    "<disk type='file'><source file='{}'/><target dev='vdb' bus='virtio'/></disk>"])
def test_what_a_vm_boots_from_is_written_by_no_vm(os, path, writer):
    files = {name: domain(name, name, os=os.format(name)) for name in ("a", "b")}
    assert conflicts(files, {}) == {}  # it is read by any number of them
    files["z"] = domain("z", "z", disk("vda", "z.img") + writer.format(path))
    found = conflicts(files, {"a": files["a"], "b": files["b"]})
    assert set(found) == {"z"}
    assert f"{path}' is also the boot file of" in found["z"][0].message
    itself = error(name="a", os=os.format("a"), devices=DISK + writer.format(path))
    assert f"{path} is also the" in itself.message


def test_a_file_that_one_writes_another_cannot_even_read():
    files = {"a": domain("a", "a", disk("vda", "/x")),
             "b": domain("b", "b", disk("vda", "/x", "<readonly/>"))}
    assert set(conflicts(files, {"a": files["a"]})) == {"b"}
    assert set(conflicts(files, {"b": files["b"]})) == {"a"}


def test_many_may_read_one_file():
    files = {n: domain(n, n, disk("vda", "/x", "<readonly/>")) for n in "abc"}
    assert conflicts(files, {}) == {}


def test_one_s_variables_are_not_another_s_disk():
    os = ("<os><type>hvm</type><loader type='pflash' readonly='yes'>/c</loader>"
          "<nvram>/x</nvram></os>")
    files = {"a": domain("a", "a", os=os), "b": domain("b", "b", disk("vda", "/x"))}
    assert set(conflicts(files, {"a": files["a"]})) == {"b"}
    files["b"] = domain("b", "b", os=os)
    assert set(conflicts(files, {"b": files["b"]})) == {"a"}


def test_of_two_files_of_one_name_or_uuid_the_one_in_force_keeps_it():
    uuid = "<uuid>0a5b3f60-7a3b-4b9e-9a77-2d5c9f1d2e11</uuid>"
    for files in ({"a": domain("a", "x", disk("vda", "/1")),
                   "b": domain("b", "x", disk("vda", "/2"))},
                  {"a": domain("a", "x", uuid=uuid), "b": domain("b", "y", uuid=uuid)}):
        assert set(conflicts(files, {"b": files["b"]})) == {"a"}
        assert set(conflicts(files, {"a": files["a"]})) == {"b"}


def test_two_new_files_of_one_identity_are_both_reported():
    files = {"a": domain("a", "x", disk("vda", "/1")), "b": domain("b", "x", disk("vda", "/2"))}
    assert set(conflicts(files, {})) == {"a", "b"}


def test_the_names_of_files_decide_nothing():
    files = {"a": domain("a", "x", disk("vda", "/1")), "b": domain("b", "x", disk("vda", "/2")),
             "c": domain("c", "z")}
    turned = dict(reversed(files.items()))
    assert conflicts(files, {"c": files["c"]}) == conflicts(turned, {"c": turned["c"]})


def after(name, *others):
    inner = "".join(f"<r:depends-on domain='{other}'/>" for other in others)
    return read(policy("", inner), name=name, file=f"{name}.xml", devices=disk("vda", f"{name}.i"))


def test_a_cycle_of_dependencies_is_refused_with_its_path():
    files = {f"{name}.xml": after(name, *others) for name, others in {
        "a": ["b"], "b": ["c", "x"], "c": ["a"], "d": ["a"], "e": []}.items()}
    found = conflicts(files, {})
    assert {file: p.message for file, (p,) in found.items()} == {
        "a.xml": "a → b → c → a is a cycle; accepted: dependencies without cycles",
        "b.xml": "b → c → a → b is a cycle; accepted: dependencies without cycles",
        "c.xml": "c → a → b → c is a cycle; accepted: dependencies without cycles"}
    assert {p.reason for (p,) in found.values()} == {"InvalidDefinition"}


def test_unknown_or_repeated_dependencies_are_not_a_cycle():
    files = {f"{name}.xml": after(name, *others) for name, others in {
        "a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["missing"]}.items()}
    assert conflicts(files, {}) == {}


def test_rule_8_a_chain_of_thousands_is_checked_fast():
    begun = time.process_time()
    base = domain("x", "x")
    files = {f"{n}.xml": replace(
        base, name=f"n{n}", uuid=f"{n:08}-2222-5333-8444-555555555555", devices=(),
        policy=replace(base.policy, depends_on=(Dependency(f"n{n + 1}"),))) for n in range(4000)}
    assert conflicts(files, files) == {}
    assert time.process_time() - begun < 5


def test_two_domains_of_one_file_with_one_identity_are_reported():
    files = {f"a.xml#{n}": domain("a.xml", f"a{n}", "\n" + disk("vda", "/x")) for n in range(2)}
    problem, = conflicts(files, {})["a.xml#1"]
    assert str(problem) == (
        "a.xml:2: error: domain: writable disk '/x' of a.xml#1 is also the writable disk of "
        "a.xml#0:2; accepted: one domain per host, so use {index} in it")


def test_a_conflict_from_the_defaults_is_reported_with_its_line():
    one, two = (domain(f"{name}.xml", name, disk("vda", "/x")) for name in "ab")
    files = {d.file: replace(d, devices=tuple(
        replace(device, line=Line(7, "defaults.xml")) for device in d.devices))
        for d in (one, two)}
    problem, = conflicts(files, {"b.xml": files["b.xml"]})["a.xml"]
    assert str(problem) == (
        "defaults.xml:7: error: domain: writable disk '/x' of a.xml is also the writable disk of "
        "b.xml (defaults.xml:7); accepted: one domain per host")


def work(function):
    """How many Python functions are called for it."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def many(count, depends_on, devices):
    base = domain("x", "x")
    return {f"{n}.xml": replace(
        base, name=f"n{n}", uuid=f"{n:08}-2222-5333-8444-555555555555", devices=devices(n),
        policy=replace(base.policy, depends_on=tuple(map(Dependency, depends_on(n, count)))))
        for n in range(count)}


READ, = domain("x", "x", disk("vda", "/shared", "<readonly/>")).devices[:1]
WRITTEN, = domain("x", "x", disk("vda", "/shared")).devices[:1]


@pytest.mark.parametrize("depends_on", [
    lambda n, _: (f"n{n + 1}",), lambda n, count: (f"n{(n + 1) % count}",),
    lambda n, _: tuple(f"n{m}" for m in range(max(0, n - 5), n)),
    lambda n, count: (f"n{(n * 7 + 1) % count}", f"n{(n * 3 + 2) % count}")],
    ids=["chain", "ring", "ladder", "tangle"])
@pytest.mark.parametrize("devices", [
    lambda n: (replace(WRITTEN, path=f"/{n}"),), lambda _: (READ,), lambda _: (WRITTEN,)],
    ids=["own disks", "one that all read", "one that all write"])
def test_rule_8_four_times_as_many_domains_are_four_times_the_work(depends_on, devices):
    few, more = (many(count, depends_on, devices) for count in (200, 800))
    assert 0 < work(lambda: conflicts(more, {})) < 5 * work(lambda: conflicts(few, {}))
