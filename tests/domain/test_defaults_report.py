"""Lists the values filled in and the reasons, without the values that the file gives."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain.assigned import Assigned, keep
from reconciler.domain.defaults_report import defaulted_values
from reconciler.domain.numbers import complete
from reconciler.domain.reader import read_domain
from reconciler.domain.writer import write
from reconciler.stratovirt.addresses import lay_out
from tests.domain.making import DISK, HOST, policy, text


def filled(data, domain=None):
    domain = complete(domain or read_domain(data, "a.xml", HOST), {})
    found = defaulted_values(data, domain, dict(lay_out(domain, {}, 1).places))
    return {f.what: (f.value, f.why) for f in found}


def test_a_small_file_has_many_defaults():
    found = filled(text(devices=DISK + "\n<interface type='ethernet'/>\n<vsock/>\n<graphics "
                        "type='vnc'/>\n<console type='pty'><target type='virtio'/></console>"))
    assert "derived from the name" in found["uuid"][1]
    assert found["vcpu"][0] == "1"
    assert found["disk[vda]/alias/@name"][0] == "virtio-disk0"
    assert "root port" in found["disk[vda]/address"][1]
    mac = next(what for what in found if what.endswith("/mac/@address"))
    assert "kept" in found[mac][1]
    assert found["vsock/cid/@address"] == ("3", "the lowest free one, chosen once and kept")
    assert found["graphics/@port"][0] == "5900"
    assert "consoles" in found["controller[virtio-serial0]"][1]
    assert "libvirt" in found["memballoon"][1]
    assert found["reconcile/@state"] == ("running", "the default")
    assert found["reconcile/stop/@timeout"] == ("30s", "the configuration's default")


def test_where_a_uuid_and_a_mac_come_from():
    card = "\n<interface type='ethernet'/>"
    placed = policy(inner="<r:placement host='h1'/>")
    for host, parts, word in ((HOST, "", "derived from the uuid"),
                              (replace(HOST, machine="m"), "", "the id of this host"),
                              (replace(HOST, repository="r"), placed, "source.identity")):
        data = text(parts, devices=DISK + card)
        found = filled(data, read_domain(data, "a.xml", host))
        assert word in next(why for what, (_, why) in found.items() if "/mac/" in what)
        assert word.replace("uuid", "name") in found["uuid"][1]
    data = text(devices=DISK + card)
    old = read_domain(data, "a.xml", HOST)
    kept, _ = keep(read_domain(data, "a.xml", replace(HOST, machine="m")), old, Assigned(),
                   old.uuid)
    found = filled(data, kept)
    assert [why for what, (_, why) in found.items() if "/mac/" in what or what == "uuid"] == [
        "chosen when the domain was first defined, and kept",
        "chosen when the interface was first defined, and kept"]


def test_values_given_by_the_file_are_not_listed():
    whole = write(complete(read_domain(text(
        policy("state='paused'"), devices=DISK + "<vsock/><graphics type='vnc'/>"), "a.xml", HOST),
        {})).encode()
    found = filled(whole)
    assert not [what for what in found if "reconcile/@state" in what or what.endswith(
        ("/mac/@address", "/cid/@address", "/@port", "/alias/@name", "uuid", "vcpu"))]


def test_several_elements_on_one_line_cannot_be_distinguished():
    assert filled(text(devices=DISK + DISK.replace("vda", "vdb").replace("a.img", "b.img")))
