"""<graphics> and <video>: VNC and a virtio card; a desktop's others are ignored."""

import pytest

from reconciler.domain.numbers import complete
from reconciler.domain.place import Place
from tests.domain.making import DISK, device, error, problems, read, warnings


def first(text):
    return device(complete(read(devices=DISK + text), {}), "graphics")


@pytest.mark.parametrize(("text", "argument"), [
    ("<graphics type='vnc' port='5901' listen='0.0.0.0'/>", "0.0.0.0:1"),
    (("<graphics type='vnc' port='0' autoport='yes'><listen type='address' address='10.0.0.1'/>"
     "</graphics>"), "10.0.0.1:0"),
    ("<graphics type='vnc' port='-1' autoport='yes'><listen type='address'/></graphics>",
     "127.0.0.1:0"),
    ("<graphics type='vnc'/>", "127.0.0.1:0")])
def test_vnc(text, argument):
    assert first(text).arguments(None) == ("-vnc", argument)


@pytest.mark.parametrize("attributes", [
    "port='80'", "port='65536'", "listen='::1'", "listen='a'", "passwd='x'", "socket='/a'",
    "port='-1' autoport='no'"])
def test_what_stratovirt_cannot_do(attributes):
    assert problems(devices=DISK + f"<graphics type='vnc' {attributes}/>")


def test_a_second_server_or_card_is_an_error():
    assert "second" in error(devices=DISK + "<graphics type='vnc'/>\n<graphics type='vnc'/>"
                             ).message
    card = "<video><model type='virtio'/></video>"
    assert "second" in error(devices=DISK + card + card).message


def test_a_card():
    found = device(read(devices=DISK + "<video><model type='virtio' heads='1'/></video>"), "video")
    assert found.arguments(Place(4, 0)) == (
        "-device", "virtio-gpu-pci,id=video0,bus=pcie.4,addr=0x0")
    assert len(warnings(devices=DISK + "<video><model type='vga'/></video>")) == 1


def test_a_port_is_a_port_however_many_zeros_lead_it():
    assert problems(devices=DISK + "<graphics type='vnc' port='00590012'/>")
    assert first("<graphics type='vnc' port='05901'/>").port == 5901
