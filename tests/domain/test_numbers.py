"""Automatic numbers: the lowest free one, which the domain then keeps."""

from reconciler.domain.devices.graphics import PORT
from reconciler.domain.devices.vsock import CID
from reconciler.domain.numbers import as_text, chosen, complete, of_text
from tests.domain.making import DISK, device, read

VSOCK = DISK + "<vsock model='virtio'><cid auto='yes'/></vsock>"
VNC = DISK + "<graphics type='vnc' port='-1' autoport='yes'/>"


def test_rule_4_the_kept_one_stays():
    domain = read(devices=VSOCK)
    assert device(complete(domain, {CID: 7}, {(CID, 3)}), "vsock").cid == 7


def test_the_lowest_that_is_neither_taken_nor_used_on_the_host():
    domain = complete(read(devices=VNC), {}, {(PORT, 5900), (CID, 5901)},
                      lambda claim, number: number != 5901)
    assert device(domain, "graphics").port == 5902


def test_what_was_chosen_is_what_is_kept():
    before = read(devices=VSOCK + VNC.removeprefix(DISK))
    after = complete(before, {})
    assert chosen(before, after) == {CID: 3, PORT: 5900}
    assert of_text(as_text(chosen(before, after))) == {CID: 3, PORT: 5900}
    assert of_text(as_text({})) == {}


def test_a_number_in_the_file_is_not_chosen_automatically():
    domain = read(devices=DISK + "<vsock><cid auto='no' address='9'/></vsock>")
    assert complete(domain, {CID: 7}) is domain
