"""<controller type='scsi'> and the disks on it."""

import pytest

from reconciler.domain.place import Place
from tests.domain.making import DISK, device, error, problems, read, warnings


def scsi(target="sda", inner="", kind="disk", driver=""):
    return (f"<disk type='file' device='{kind}'><driver {driver}/><source file='{target}.img'/>"
            f"<target dev='{target}' bus='scsi'/>{inner}</disk>")


def disk(*texts, os="<iothreads>1</iothreads>"):
    found = [d for d in read(os, devices=DISK + "".join(texts)).devices if d.KIND == "disk"]
    return found[1:]


def test_a_disk_behind_its_controller():
    domain = read("<iothreads>1</iothreads>", devices=DISK + scsi(inner="<boot order='2'/>") +
                  "<controller type='scsi' index='0' model='virtio-scsi'>"
                  "<driver queues='4' iothread='1'/></controller>")
    assert device(domain, "scsi").arguments(Place(3, 0)) == (
        "-device", "virtio-scsi-pci,id=scsi0,bus=pcie.3,addr=0x0,num-queues=4,iothread=iothread1")
    assert device(domain, "disk", 1).arguments(None) == (
        "-drive", "file=/images/sda.img,id=drive-scsi0-0-0-0,readonly=off", "-device",
        ("scsi-hd,bus=scsi0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0-0-0-0,id=scsi0-0-0-0,"
        "bootindex=2"))


def test_a_controller_that_only_disks_name_is_added():
    domain = read(devices=DISK + scsi("sda") + scsi("sdp"))
    assert [d.alias for d in domain.devices if d.KIND == "scsi"] == ["scsi0", "scsi1"]


@pytest.mark.parametrize(("target", "alias"), [
    ("sda", "scsi0-0-0-0"), ("sdg", "scsi0-0-0-6"), ("sdh", "scsi0-0-0-8"),
    ("sdo", "scsi0-0-0-15"), ("sdp", "scsi1-0-0-0")])
def test_places_go_by_the_target_as_libvirt_counts(target, alias):
    assert disk(scsi(target))[0].alias == alias


def test_a_given_address_is_honoured():
    address = "<address type='drive' controller='2' bus='0' target='5' unit='3'/>"
    found, = disk(scsi("sda", address))
    assert (found.bus, found.scsi_target, found.unit) == ("scsi2", 5, 3)
    assert "drive address" in error(devices=DISK + scsi("sda", address) +
                                    scsi("sdb", address)).message


def test_a_cdrom_with_a_medium_is_read_only():
    found, = disk(scsi("sdb", kind="cdrom"))
    assert found.readonly
    assert found.arguments(None)[1].endswith("readonly=on,media=cdrom")
    assert found.arguments(None)[3].startswith("scsi-cd,")
    assert "medium" in warnings(devices=DISK + "<disk type='file' device='cdrom'>"
                                "<target dev='sdc' bus='scsi'/></disk>")[0]


@pytest.mark.parametrize("driver", ["iothread='1'", "queues='2'", "queue_size='128'"])
def test_what_is_the_controller_s_is_refused_on_a_disk(driver):
    assert problems("<iothreads>1</iothreads>", devices=DISK + scsi(driver=driver))


def test_microvm_has_none():
    os = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>"
    assert all("microvm" in p.message for p in problems(os=os, devices=DISK + scsi()))
