"""<vsock>: an address that is unique on the host."""

import pytest

from reconciler.domain.cross_file_checks import conflicts
from reconciler.domain.devices import Vsock
from reconciler.domain.place import Place
from tests.domain.making import DISK, error, read


def only(text):
    return next(d for d in read(devices=DISK + text).devices if isinstance(d, Vsock))


def test_its_argument():
    device = only("<vsock model='virtio'><cid auto='no' address='3'/></vsock>")
    assert device.arguments(Place(6, 0)) == (
        "-device", "vhost-vsock-pci,id=vsock0,guest-cid=3,bus=pcie.6,addr=0x0")
    assert device.arguments(None)[1].startswith("vhost-vsock-device,")


@pytest.mark.parametrize("text", ["<vsock/>", "<vsock model='virtio'><cid auto='yes'/></vsock>",
                                  "<vsock><cid auto='yes' address='9'/></vsock>"])
def test_an_automatic_address_is_chosen_by_the_reconciler(text):
    assert only(text).cid is None


@pytest.mark.parametrize("cid", ["auto='no'", "auto='no' address='2'",
                                 "auto='no' address='4294967295'"])
def test_invalid_addresses(cid):
    assert error(devices=DISK + f"<vsock><cid {cid}/></vsock>")


def test_two_domains_cannot_have_one_address():
    vsock = "<vsock><cid auto='no' address='9'/></vsock>"
    other = "<disk type='file'><source file='b.img'/><target dev='vda' bus='virtio'/></disk>"
    first = read(devices=DISK + vsock, name="a")
    found = conflicts({"a.xml": first, "b.xml": read(devices=other + vsock, name="b")},
                      {"a.xml": first})
    assert list(found) == ["b.xml"]
    assert "vsock CID" in found["b.xml"][0].message
