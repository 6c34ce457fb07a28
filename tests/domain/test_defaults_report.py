"""Lists the values filled in and the reasons, without the values that the file gives."""

from __future__ import annotations

from reconciler.domain.defaults_report import defaulted_values
from reconciler.domain.numbers import complete
from reconciler.domain.reader import read_domain
from reconciler.domain.writer import write
from reconciler.stratovirt.addresses import lay_out
from tests.domain.making import DISK, HOST, policy, text


def filled(data):
    domain = complete(read_domain(data, "a.xml", HOST), {})
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
    assert "never changes" in found[mac][1]
    assert found["vsock/cid/@address"] == ("3", "the lowest free one, chosen once and kept")
    assert found["graphics/@port"][0] == "5900"
    assert "consoles" in found["controller[virtio-serial0]"][1]
    assert "libvirt" in found["memballoon"][1]
    assert found["reconcile/@state"] == ("running", "the default")
    assert found["reconcile/stop/@timeout"] == ("30s", "the configuration's default")


def test_values_given_by_the_file_are_not_listed():
    whole = write(complete(read_domain(text(
        policy("state='paused'"), devices=DISK + "<vsock/><graphics type='vnc'/>"), "a.xml", HOST),
        {})).encode()
    found = filled(whole)
    assert not [what for what in found if "reconcile/@state" in what or what.endswith(
        ("/mac/@address", "/cid/@address", "/@port", "/alias/@name", "uuid", "vcpu"))]


def test_several_elements_on_one_line_cannot_be_distinguished():
    assert filled(text(devices=DISK + DISK.replace("vda", "vdb").replace("a.img", "b.img")))
