"""What this host lets a file ask for."""

import pytest

from reconciler.domain.admission import Admission, admit
from tests.domain.making import DISK, disk, policy, read

CARD = "<interface type='bridge'><source bridge='br0'/></interface>"


def test_no_rules_allow_all():
    assert admit(read(devices=DISK + CARD), Admission()) == ()


@pytest.mark.parametrize(("rules", "line"), [
    (Admission(max_memory=128 << 20), 1), (Admission(max_vcpus=1), 2),
    (Admission(bridges=("br1",)), 3), (Admission(require_labels=("team",)), None),
    (Admission(paths=("/srv",)), 3)])
def test_what_goes_beyond_is_not_allowed(rules, line):
    found = admit(read("\n<vcpu>2</vcpu>", devices="\n" + DISK + CARD), rules)
    assert len(found) == 1
    assert (found[0].reason, found[0].file) == ("NotAllowed", "a.xml")
    assert line in (None, found[0].line)


def test_what_is_within_is_allowed():
    domain = read(policy("", "<r:label name='team' value='a'/>"), devices=DISK + CARD)
    assert admit(domain, Admission(paths=("/images",), max_memory=256 << 20, max_vcpus=1,
                                   bridges=("br0",), require_labels=("team",))) == ()


def test_a_card_without_a_bridge_asks_for_none():
    card = "<interface type='ethernet'><target dev='t'/></interface>"
    assert admit(read(devices=DISK + card), Admission(bridges=("br0",))) == ()


@pytest.mark.parametrize(("path", "allowed"), [
    ("/srv/a", True), ("/srv/x/../a", True), ("/srv/../etc/a", False), ("/srv-old/a", False),
    ("/srv", True), ("/", False)])
def test_paths_are_compared_by_whole_steps(path, allowed):
    found = admit(read(devices=disk("vda", path)), Admission(paths=("/srv/",)))
    assert (found == ()) is allowed


@pytest.mark.parametrize("device", [
    "<serial type='file'><source path='/etc/cron.d/x'/></serial>",
    "<console type='file'><source path='/etc/x'/><target type='virtio'/></console>",
    "<console type='unix'><source mode='bind' path='/etc/x'/><target type='virtio'/></console>"])
def test_rule_11_what_a_vm_writes_is_below_an_allowed_path_too(device):
    assert admit(read(devices=DISK + device), Admission(paths=("/images",)))


def test_every_file_of_the_firmware_is_looked_at():
    os = ("<os><type>hvm</type><kernel>/k</kernel><loader type='pflash' readonly='yes'>/c</loader>"
          "<nvram template='/t'>/n</nvram></os>")
    found = admit(read(os=os), Admission(paths=("/images",)))
    assert {problem.message.split()[0].rstrip(";") for problem in found} == {"/k", "/c", "/t", "/n"}


HOSTDEV = ("<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' "
           "bus='0x03' slot='0x00' function='0x0'/></source></hostdev>")


@pytest.mark.parametrize(("allowed", "good"), [
    ((), False), (("0000:04:*",), False), (("0000:03:00.0",), True), (("0000:03:*",), True)])
def test_rule_5_a_host_device_is_given_only_if_it_is_named(allowed, good):
    found = admit(read(devices=DISK + HOSTDEV), Admission(host_devices=allowed))
    assert [problem.reason for problem in found] == ([] if good else ["NotAllowed"])


def test_shared_devices_of_the_host_need_no_path():
    devices = DISK + ("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
                      "<vsock/><interface type='ethernet'><driver name='vhost'/></interface>")
    assert admit(read(devices=devices), Admission(paths=("/images",))) == ()
    other = DISK + "<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>"
    assert len(admit(read(devices=other), Admission(paths=("/images",)))) == 1


def test_a_window_has_to_be_in_the_configuration():
    rules = Admission(windows=("nights", "weekends"))
    named = read(policy("", "\n<r:update window='night'/>"))
    problem, = admit(named, rules)
    assert (problem.reason, problem.line) == ("InvalidDefinition", 1)
    assert "did you mean 'nights'" in problem.message
    assert admit(read(policy("", "<r:update window='nights'/>")), rules) == ()
    assert "the configuration has no windows" in admit(named, Admission())[0].message
