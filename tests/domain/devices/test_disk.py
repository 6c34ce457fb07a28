"""Disks."""

import pytest

from reconciler.domain.place import Place
from tests.domain.making import (
    DISK,
    MICROVM,
    at,
    device,
    disk,
    error,
    problems,
    read,
    warnings,
)

PLACE = Place(1, 0)


def first(devices: str, *parts: str, **values: str):
    return device(read(*parts, devices=devices, **values), "disk")


def drive(devices: str, *parts: str) -> str:
    return first(devices, *parts).arguments(PLACE)[1]


def card(devices: str, *parts: str) -> str:
    return first(devices, *parts).arguments(PLACE)[3]


def test_the_command_line_of_stratovirt_s_own_example():
    found = first(disk("vda", "/a.img", "<iotune><total_iops_sec>1000</total_iops_sec></iotune>",
                       "type='raw' cache='writeback' iothread='1'"), "<iothreads>1</iothreads>")
    assert found.arguments(PLACE) == (
        "-drive", ("file=/a.img,id=drive-virtio-disk0,readonly=off,direct=off,aio=off,"
                   "throttling.iops-total=1000"),
        "-device", ("virtio-blk-pci,drive=drive-virtio-disk0,id=virtio-disk0,bus=pcie.1,addr=0x0,"
                    "iothread=iothread1"))


def test_places_on_bus_0_and_without_pci():
    found = first(DISK)
    assert "bus=pcie.0,addr=0x2.0x3" in found.arguments(Place(0, 2, 3))[3]
    assert found.arguments(None)[3] == (
        "virtio-blk-device,drive=drive-virtio-disk0,id=virtio-disk0")
    assert first(DISK, os=MICROVM) == found


@pytest.mark.parametrize(("driver", "expected", "warned"), [
    ("", "", 0), ("cache='default'", "", 0), ("cache='none'", ",direct=on", 0),
    ("cache='none' io='native'", ",direct=on,aio=native", 0),
    ("cache='writeback'", ",direct=off,aio=off", 0),
    ("cache='writeback' io='threads'", ",direct=off,aio=threads", 0),
    ("cache='writethrough'", ",direct=off,aio=off", 1),
    ("cache='unsafe'", ",direct=off,aio=off", 1), ("io='io_uring'", ",aio=io_uring", 0),
    ("type='qcow2'", ",format=qcow2", 0), ("discard='unmap'", ",discard=unmap", 0),
    ("detect_zeroes='on'", ",detect-zeroes=on", 0)])
def test_drivers(driver, expected, warned):
    devices = disk("vda", "/a", driver=driver)
    assert drive(devices) == "file=/a,id=drive-virtio-disk0,readonly=off" + expected
    assert len(warnings(devices=devices)) == warned


@pytest.mark.parametrize("driver", ["type='vmdk'", "cache='writeback' io='native'", "queues='0'",
                                    "queues='33'", "queue_size='100'", "cache='fast'"])
def test_drivers_that_stratovirt_refuses(driver):
    assert error(devices=disk(driver=driver))


@pytest.mark.parametrize(("inner", "driver", "expected"), [
    ("<serial>WD-1 a</serial>", "", ",serial=WD-1 a"), ("<boot order='2'/>", "", ",bootindex=2"),
    ("", "queues='4'", ",num-queues=4"), ("", "queue_size='512'", ",queue-size=512")])
def test_what_the_guest_sees(inner, driver, expected):
    assert card(disk("vda", inner=inner, driver=driver)).endswith("addr=0x0" + expected)


@pytest.mark.parametrize("inner", [
    f"<serial>{'x' * 21}</serial>", "<serial>a,b</serial>", "<serial>a=b</serial>",
    "<serial>-a</serial>", "<boot order='0'/>", "<boot order='256'/>", "<shareable/>",
    "<transient/>", "<encryption format='luks'/>", "<mirror/>"])
def test_inner_elements_that_are_refused(inner):
    assert problems(devices=disk(inner=inner))


@pytest.mark.parametrize("limit", [
    "total_bytes_sec", "read_iops_sec", "write_bytes_sec", "total_iops_sec_max",
    "read_bytes_sec_max_length", "size_iops_sec", "group_name"])
def test_a_limit_that_stratovirt_has_not_is_an_error_that_names_it(limit):
    found = error(devices=disk(inner=f"<iotune><{limit}>5</{limit}></iotune>"))
    assert limit in found.message


def test_iops_are_limited_to_a_million():
    def limit(count: int) -> str:
        return disk("vda", inner=f"<iotune><total_iops_sec>{count}</total_iops_sec></iotune>")

    assert "iops-total=1000000" in drive(limit(1_000_000))
    assert "iops" not in drive(limit(0))
    assert problems(devices=limit(1_000_001))


def test_read_only_disks():
    assert "readonly=on" in drive(disk("vda", inner="<readonly/>"))
    assert first(disk("vda", inner="<readonly/><shareable/>")).readonly
    need, = first(disk("vda", inner="<readonly/>")).required_files()
    assert not need.writable


def test_block_devices():
    found = first("<disk type='block'><source dev='/dev/sdb'/><target dev='vda'/></disk>")
    assert found.required_files()[0].kind == "block"
    assert found.arguments(PLACE)[1].startswith("file=/dev/sdb,")


def test_a_relative_path_is_below_the_images():
    assert first(disk("vda", "x/../y.img")).path == "/images/y.img"


@pytest.mark.parametrize("path", ["/a,b", "/a=b", "-a", "/a&#10;b", "a,readonly=off", ""])
def test_a_path_never_becomes_an_option(path):
    assert problems(devices=disk(file=path))


@pytest.mark.parametrize("device_", [
    "<disk type='file'><target dev='vda'/></disk>",
    "<disk type='file'><source file='a'/></disk>",
    "<disk type='file'><source dev='/dev/sda'/><target dev='vda'/></disk>",
    "<disk type='network'><source protocol='rbd' name='a'/><target dev='vda'/></disk>",
    "<disk type='file' device='lun'><source file='a'/><target dev='vda'/></disk>",
    "<disk type='file'><source file='a'/><target dev='rootfs'/></disk>",
    "<disk type='file'><source file='a'/><target dev='hda'/></disk>",
    *(f"<disk type='file'><source file='a'/><target dev='vda' bus='{bus}'/></disk>"
      for bus in ("sata", "ide", "usb"))])
def test_disks_that_are_refused(device_):
    assert problems(devices=DISK.replace("vda", "vdz") + device_)


def test_an_empty_cdrom_is_ignored_with_a_warning_and_a_full_one_refused():
    empty = ("<disk type='file' device='cdrom'><driver name='qemu'/><target dev='sda' bus='sata'/>"
             "<readonly/><address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>")
    found = read(devices=DISK + empty)
    assert len(found.warnings) == 1
    assert problems(devices=DISK + empty.replace("<readonly/>", "<source file='a.iso'/>"))


def test_aliases_are_the_file_s_or_libvirt_s():
    assert first(disk("hda")).alias == "virtio-disk0"
    assert first(disk("vdaa")).alias == "virtio-disk26"
    found = first(disk("vda", inner="<alias name='root'/>"))
    assert "id=drive-root," in found.arguments(PLACE)[1]
    assert "drive=drive-root,id=root," in found.arguments(PLACE)[3]
    assert problems(devices=disk(inner="<alias name='a,b'/>"))


def test_an_iothread_must_be_defined():
    devices = disk("vda", driver="iothread='3'")
    assert "3" in error("<iothreads>2</iothreads>", devices=devices).message
    assert error(devices=devices)
    assert "iothread=iothread3" in card(devices, "<iothreads>3</iothreads>")
    high = disk("vda", driver="iothread='9'")
    assert "iothread=iothread9" in card(
        high, "<iothreadids><iothread id='9'/></iothreadids>")


def test_its_address_is_its_place():
    assert first(disk("vda", inner=at(0, 3))).place == Place(0, 3)
    assert first(DISK).place is None
