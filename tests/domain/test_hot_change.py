"""Commands sent to a running VM for each change, and its definition afterwards."""

from __future__ import annotations

import pytest

from reconciler.domain.difference import differences
from reconciler.domain.hot_change import adjustment, as_started, free_ports, placed, possible
from reconciler.domain.model import Impact
from reconciler.domain.place import Place
from reconciler.stratovirt.addresses import lay_out
from tests.domain.making import DISK, MICROVM, device, disk, read

CARD = ("<interface type='ethernet'><mac address='52:54:00:00:00:01'/>{}<target dev='t1'/>"
        "</interface>")
OTHER = ("<interface type='ethernet'><mac address='52:54:00:00:00:02'/><target dev='t2'/>"
         "</interface>")


def started(*parts, **values):
    """The definition of a process that was just started with this file."""
    domain = read(*parts, **values)
    layout = lay_out(domain, {}, 2)
    return as_started(placed(domain, layout.ports, dict(layout.places)))


def commands_for(applied, wanted, remembered=None):
    """The commands for the single change between the two, and the resulting step."""
    change, = (c for c in differences(applied, wanted) if c.impact is not Impact.NONE)
    step = adjustment(change, applied, wanted, remembered or {})
    return [(c.name, dict(c.arguments)) for c in step.commands], step


def can(applied, wanted, least=1):
    ports = free_ports(applied)
    return [possible(c, applied, wanted, least_vcpus=least, ports=ports)
            for c in differences(applied, wanted) if c.impact is Impact.LIVE]


def test_rule_4_a_process_that_has_what_the_file_says_needs_nothing():
    assert not [c for c in differences(started(), read()) if c.impact is not Impact.NONE]
    completed = started()
    assert not [c for c in differences(completed, completed) if c.impact is not Impact.NONE]


def test_a_disk_comes_behind_the_lowest_free_root_port():
    applied = started()
    assert free_ports(applied) == [3, 4]
    commands, step = commands_for(applied, read(devices=DISK + disk(driver="cache='writeback'")))
    assert commands == [
        ("blockdev-del", {"node-name": "drive-virtio-disk1"}),
        ("blockdev-add", {"node-name": "drive-virtio-disk1", "driver": "raw", "read-only": False,
                          "file": {"driver": "file", "filename": "/images/b.img", "aio": "off"},
                          "cache": {"direct": False}}),
        ("device_add", {"id": "virtio-disk1", "driver": "virtio-blk-pci",
                        "drive": "drive-virtio-disk1", "bus": "pcie.3", "addr": "0x0"})]
    assert [c.anyway for c in step.commands] == [True, False, False]
    assert device(step.after, "disk", 1).place == Place(3, 0)
    assert free_ports(step.after) == [4]


def test_every_option_of_a_disk_is_sent():
    commands, _ = commands_for(started("<iothreads>1</iothreads>"), read(
        "<iothreads>1</iothreads>", devices=DISK + disk(
            driver="type='qcow2' io='io_uring' discard='unmap' detect_zeroes='unmap' queues='2' "
                   "queue_size='128' iothread='1'",
            inner="<readonly/><serial>S</serial><boot order='2'/>"
                  "<iotune><total_iops_sec>9</total_iops_sec></iotune>")))
    assert commands[1][1] == {
        "node-name": "drive-virtio-disk1", "driver": "qcow2", "read-only": True,
        "file": {"driver": "file", "filename": "/images/b.img", "aio": "io_uring"},
        "cache": {"direct": True}, "discard": "unmap", "detect-zeroes": "unmap",
        "throttling.iops-total": 9}
    assert commands[2][1] == {
        "id": "virtio-disk1", "driver": "virtio-blk-pci", "drive": "drive-virtio-disk1",
        "bus": "pcie.3", "addr": "0x0", "iothread": "iothread1", "serial": "S",
        "boot_index": "2", "num-queues": 2, "queue-size": 128}


def test_a_place_that_is_remembered_is_taken_again():
    _, step = commands_for(started(), read(devices=DISK + disk()), {"disk:vdb": Place(4, 0)})
    assert device(step.after, "disk", 1).place == Place(4, 0)


def test_a_disk_goes_once_the_guest_agrees():
    commands, step = commands_for(started(devices=DISK + disk()), read())
    assert commands == [("device_del", {"id": "virtio-disk1"}),
                        ("blockdev-del", {"node-name": "drive-virtio-disk1"})]
    assert step.commands[0].until == "DEVICE_DELETED"
    assert free_ports(step.after) == [2, 4, 5]


def test_a_card_comes_and_goes_with_its_tap():
    applied = started(devices=DISK + CARD.format(""))
    commands, step = commands_for(applied, read(devices=DISK + CARD.format("") + OTHER))
    assert commands == [
        ("netdev_del", {"id": "hostnet1"}), ("netdev_add", {"id": "hostnet1", "ifname": "t2"}),
        ("device_add", {"id": "net1", "driver": "virtio-net-pci", "netdev": "hostnet1",
                        "mac": "52:54:00:00:00:02", "bus": "pcie.4", "addr": "0x0"})]
    assert step.card.tap == "t2"
    commands, step = commands_for(applied, read())
    assert commands == [("device_del", {"id": "net0"}), ("netdev_del", {"id": "hostnet0"})]
    assert step.tap == "t1"


def test_an_alias_that_is_taken_is_not_given_again():
    """A card of a lower MAC would be net0 in a file; in this VM another one is."""
    commands, _ = commands_for(started(devices=DISK + OTHER),
                               read(devices=DISK + CARD.format("") + OTHER))
    assert commands[1] == ("netdev_add", {"id": "hostnet0-2", "ifname": "t1"})
    assert commands[2][1]["id"] == "net0-2"


def test_a_cable_is_taken_out():
    applied = started(devices=DISK + CARD.format("<link state='down'/>"))
    commands, step = commands_for(applied, read(devices=DISK + CARD.format("<link state='down'/>")))
    assert commands == [("netlink_set", {"id": "net0", "up": False})]
    assert not device(step.after, "interface").up


def test_another_bridge_is_changed_on_the_host_alone():
    one, two = (CARD.format(f"<source bridge='br{n}'/><mtu size='{m}'/>")
                for n, m in ((0, 1500), (1, 9000)))
    applied = started(devices=DISK + one)
    changes = [c for c in differences(applied, read(devices=DISK + two))
               if c.impact is not Impact.NONE]
    assert {c.impact for c in changes} == {Impact.HOST}
    step = adjustment(changes[0], applied, read(devices=DISK + two), {})
    assert step.commands == ()
    assert (step.card.bridge, step.card.mtu) == ("br1", 9000)
    assert {c.impact for c in differences(step.after, read(devices=DISK + two))} == {Impact.NONE}


def test_processors_come_and_go_one_by_one():
    applied = started("<vcpu current='2'>4</vcpu>")
    commands, step = commands_for(applied, read("<vcpu>4</vcpu>"))
    assert commands == [("device_add", {"id": "vcpu2", "driver": "generic-x86-cpu", "cpu-id": 2})]
    assert step.after.current_vcpus == 3
    _, last = commands_for(step.after, read("<vcpu>4</vcpu>"))
    assert last.after.current_vcpus is None
    commands, step = commands_for(last.after, read("<vcpu current='3'>4</vcpu>"))
    assert commands == [("device_del", {"id": "vcpu3"})]
    assert step.commands[0].until == "CPU_RESIZE"


def test_memory_is_the_balloon_s():
    half = read("<currentMemory unit='MiB'>128</currentMemory>")
    commands, step = commands_for(started("<currentMemory unit='MiB'>128</currentMemory>"), half)
    assert commands == [("balloon", {"value": 128 << 20})]
    commands, _ = commands_for(step.after, read())
    assert commands == [("balloon", {"value": 256 << 20})]


@pytest.mark.parametrize(("old", "new", "least", "live"), [
    ({}, {"devices": DISK + "".join(disk(f"vd{n}", f"{n}.img") for n in "bcd")}, 1,
     [True, True, False]),
    ({"devices": DISK + disk(inner="<address type='pci' bus='0' slot='9' function='0'/>")}, {}, 1,
     [False]),
    ({}, {"devices": DISK + disk(inner="<address type='pci' bus='3' slot='0'/>")}, 1, [True]),
    ({}, {"devices": DISK + disk(inner="<address type='pci' bus='9' slot='0'/>")}, 1, [False])])
def test_only_root_ports_that_are_there_and_free_take_a_device(old, new, least, live):
    assert can(started(**old), read(**new), least) == live


def test_processors_that_were_there_at_the_start_stay():
    applied, fewer = started("<vcpu current='3'>4</vcpu>"), read("<vcpu current='2'>4</vcpu>")
    assert can(applied, fewer, least=2) == [True]
    assert can(applied, fewer, least=3) == [False]


def test_on_a_microvm_only_memory_changes_live():
    head = "<currentMemory unit='MiB'>128</currentMemory>"
    assert can(started(os=MICROVM), read(head, os=MICROVM, devices=DISK + disk())) == [True, False]


def test_a_remembered_place_that_the_file_now_names_is_not_a_change():
    applied = started(devices=DISK + disk())
    written = ("<controller type='pci' index='1' model='pcie-root-port'>"
               "<address type='pci' bus='0' slot='1' function='0'/></controller>")
    given = disk(inner="<address type='pci' bus='2' slot='0'/>")
    assert device(applied, "disk", 1).place == Place(2, 0)
    same = read(devices=DISK + written + given)
    assert not [c for c in differences(applied, same) if c.impact is not Impact.NONE]
    moved = read(devices=DISK + disk(inner="<address type='pci' bus='3' slot='0'/>"))
    assert [c.path for c in differences(applied, moved)
            if c.impact is Impact.RECREATE] == ["disk[vdb]/address"]
