"""What takes several devices of one domain to see."""

import pytest

from reconciler.domain.devices.character import AGENT
from tests.domain.making import DISK, at, device, disk, error, policy, problems, read

PORTS = "".join(f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in (1, 2))


def test_a_clash_of_places_names_both_lines():
    found = error(devices="\n" + disk("vda", "a", at(1, 0)) + "\n" + disk("vdb", "b", at(1, 0)))
    assert found.line == 3
    assert "line 2" in found.message


@pytest.mark.parametrize(("one", "two"), [
    (disk("vda", "a"), disk("vda", "b")), (disk("vda", "a"), disk("vdb", "a")),
    (disk("vda", "a"), disk("vdb", "x/../a", "<readonly/>")),
    (disk("vda", "a", "<alias name='x'/>"), disk("vdb", "b", "<alias name='x'/>")),
    (disk("vda", "a", "<boot order='1'/>"), disk("vdb", "b", "<boot order='1'/>")),
    (disk("vda", "a"), "<console type='file'><source path='a'/><target type='virtio'/></console>"),
])
def test_what_must_be_there_once(one, two):
    found = error(devices=f"\n{one}\n{two}")
    assert found.line == 3
    assert "2" in found.message


@pytest.mark.parametrize("what", ["<mac address='52:54:00:00:00:01'/>", "<target dev='tap0'/>"])
def test_two_cards_of_one_mac_or_tap_are_refused(what):
    card = f"<interface type='ethernet'>{what}</interface>"
    assert problems(devices=f"{DISK}{card}{card}")


def test_the_variables_are_not_a_disk():
    os = ("<os><type>hvm</type><loader type='pflash' readonly='yes'>/c</loader>"
          "<nvram>/images/a.img</nvram></os>")
    assert problems(os=os)


def test_one_file_may_be_used_twice_read_only():
    both = disk("vda", "a", "<readonly/>") + disk("vdb", "a", "<readonly/>")
    assert len([d for d in read(devices=both).devices if d.KIND == "disk"]) == 2


@pytest.mark.parametrize("address", [at(1, 1), at(1, 0, 1), at(0, 0), at(0, 0x1F), at(0, 5, 1),
                                     at(0, 32), at(0, 1, 8), at(256, 0)])
def test_places_where_the_guest_would_not_see_a_device(address):
    assert problems(devices=disk("vda", "a", address))


def test_both_of_stratovirt_s_own_forms_of_a_place_are_right():
    for address in (at(6, 0), at(0, 6)):
        read(devices=disk("vda", "a", address))


def test_decimal_and_short_hexadecimal_places_mean_the_same():
    forms = ["bus='0x01' slot='0x00' function='0x0'", "bus='1' slot='0'",
             "domain='0x000' bus='0x01' slot='0x00' function='0x00'"]
    found = [read(devices=disk("vda", "a", f"<address type='pci' {form}/>")) for form in forms]
    assert found[0] == found[1] == found[2]


def test_function_0_says_that_there_are_more():
    found = read(devices=disk("vda", "a", at(0, 5, 0)) + disk("vdb", "b", at(0, 5, 1)))
    one, two = (device(found, "disk", n) for n in (0, 1))
    assert "multifunction=on" in one.arguments(one.place)[3]
    assert "multifunction" not in two.arguments(two.place)[3]
    alone = device(read(devices=disk("vda", "a", at(0, 5, 0))), "disk")
    assert "multifunction" not in alone.arguments(alone.place)[3]


@pytest.mark.parametrize(("probe", "device"), [
    ("<r:agent/>", f"<channel type='unix'><target type='virtio' name='{AGENT}'/></channel>"),
    ("<r:console match='x'/>", "<console type='pty'><target type='virtio'/></console>"),
    ("<r:console match='x'/>", "<serial type='pty'/>"), ("<r:tcp address='a:1'/>", "")])
def test_a_probe_needs_what_it_asks_by(probe, device):
    rule = policy("", f"<r:health>{probe}</r:health>")
    assert read(rule, devices=DISK + device).policy.health is not None
    if device:
        assert "accepted: with" in error(rule).message
