"""The paths of the XML that users see, and the older ones that `ignore` still understands."""

from dataclasses import fields, replace

import pytest

from reconciler.domain import devices, xml_paths
from reconciler.domain.difference import differences
from reconciler.domain.model import Backing, Boot, Device
from reconciler.domain.policy import Policy
from reconciler.domain.xml_paths import CLASSES, current_path
from tests.domain.making import DISK, disk, policy, read

EVERY = read(devices=DISK + disk("sda", "s.img").replace("bus='virtio'", "bus='scsi'") + (
    "<interface type='ethernet'><mac address='52:54:00:00:00:01'/><alias name='net0'/></interface>"
    "<controller type='pci' model='pcie-root-port' index='7'/>"
    "<serial type='pty'/><console type='pty'><target type='virtio'/></console>"
    "<channel type='unix'><target type='virtio' name='a.b'/></channel><vsock/>"
    "<graphics type='vnc'/>"
    "<rng><backend model='random'/></rng><video><model type='virtio'/></video>"
    "<hostdev mode='subsystem' type='pci'><source><address bus='3'/></source></hostdev>"))
# Each path by the name of the field, as paths were before; new paths by class.
DEVICES = {
    "Disk": ("disk[vda]", "disk[vda]", {
        "alias": "alias/@name", "place": "address", "target": "target/@dev", "path": "source",
        "block": "@type", "format": "driver/@type", "direct": "driver/@cache",
        "aio": "driver/@io", "discard": "driver/@discard",
        "detect_zeroes": "driver/@detect_zeroes", "readonly": "readonly", "serial": "serial",
        "boot": "boot/@order", "iothread": "driver/@iothread", "queues": "driver/@queues",
        "queue_size": "driver/@queue_size", "iops": "iotune/total_iops_sec"}),
    "ScsiDisk": ("disk[sda]", "disk[sda]", {
        "alias": "alias/@name", "place": "address", "target": "target/@dev", "path": "source",
        "block": "@type", "format": "driver/@type", "direct": "driver/@cache",
        "aio": "driver/@io", "discard": "driver/@discard",
        "detect_zeroes": "driver/@detect_zeroes", "readonly": "readonly", "serial": "serial",
        "boot": "boot/@order", "iothread": "driver/@iothread", "queues": "driver/@queues",
        "queue_size": "driver/@queue_size", "iops": "iotune/total_iops_sec",
        "controller": "address/@controller", "scsi_target": "address/@target",
        "unit": "address/@unit", "bus": "target/@bus", "optical": "@device"}),
    "Interface": ("interface[52:54:00:00:00:01]", "interface[52:54:00:00:00:01]", {
        "alias": "alias/@name", "place": "address", "tap": "target/@dev", "mac": "mac/@address",
        "bridge": "source/@bridge", "queues": "driver/@queues", "vhost": "driver/@name",
        "up": "link/@state", "mtu": "mtu/@size", "vlans": "vlan"}),
    "RootPort": ("root-port[007]", "controller[pci.7]", {
        "alias": "alias/@name", "place": "address", "index": "@index"}),
    "VirtioSerial": ("virtio-serial[0]", "controller[virtio-serial0]", {
        "alias": "alias/@name", "place": "address", "ports": "@ports"}),
    "ScsiController": ("scsi[000]", "controller[scsi0]", {
        "alias": "alias/@name", "place": "address", "index": "@index",
        "queues": "driver/@queues", "iothread": "driver/@iothread"}),
    "Serial": ("serial[serial0]", "serial", {
        "alias": "alias/@name", "place": "address", "backend": "@type",
        "path": "source/@path"}),
    "Console": ("console[00]", "console[0]", {
        "alias": "alias/@name", "place": "address", "backend": "@type",
        "number": "target/@port", "path": "source/@path"}),
    "Channel": ("channel[a.b]", "channel[a.b]", {
        "alias": "alias/@name", "place": "address", "name": "target/@name",
        "number": "address/@port", "backend": "@type", "path": "source/@path"}),
    "Balloon": ("memballoon[0]", "memballoon", {
        "alias": "alias/@name", "place": "address", "deflate_on_oom": "@autodeflate",
        "free_page_reporting": "@freePageReporting"}),
    "Rng": ("rng[rng0]", "rng[rng0]", {
        "alias": "alias/@name", "place": "address", "path": "backend", "bytes": "rate/@bytes",
        "period": "rate/@period"}),
    "Vsock": ("vsock[0]", "vsock", {
        "alias": "alias/@name", "place": "address", "cid": "cid/@address"}),
    "Graphics": ("graphics[0]", "graphics", {
        "alias": "alias/@name", "place": "address", "listen": "listen/@address",
        "port": "@port"}),
    "Video": ("video[0]", "video", {"alias": "alias/@name", "place": "address"}),
    "Hostdev": ("hostdev[0000:03:00.0]", "hostdev[0000:03:00.0]", {
        "alias": "alias/@name", "place": "address", "host": "source/address",
        "managed": "@managed"})}
PLAIN = {
    "name": "name", "uuid": "uuid", "machine": "os/type/@machine", "memory": "memory",
    "vcpus": "vcpu", "current_memory": "currentMemory", "current_vcpus": "vcpu/@current",
    "topology": "cpu/topology", "backing": "memoryBacking", "gic": "features/gic",
    "emulator": "emulator", "iothreads": "iothreads", "title": "title",
    "description": "description", "kernel": "os/kernel", "initrd": "os/initrd",
    "cmdline": "os/cmdline", "loader": "os/loader", "loader_readonly": "os/loader/@readonly",
    "nvram": "os/nvram", "nvram_template": "os/nvram/@template", "policy": "reconcile",
    "policy/state": "reconcile/@state", "policy/hold": "reconcile/@hold",
    "policy/hold_reason": "reconcile/hold/@reason", "policy/hold_until": "reconcile/hold/@until",
    "policy/update": "reconcile/update/@policy", "policy/window": "reconcile/update/@window",
    "policy/rollback": "reconcile/update/@rollback", "policy/prune": "reconcile/prune/@policy",
    "policy/prune_after": "reconcile/prune/@after", "policy/stop": "reconcile/stop/@mode",
    "policy/stop_timeout": "reconcile/stop/@timeout",
    "policy/restart_on_poweroff": "on_poweroff", "policy/restart_on_failure": "on_crash",
    "policy/destroy_on_reboot": "on_reboot", "policy/restart_limit": "reconcile/restart/@limit",
    "policy/restart_window": "reconcile/restart/@window",
    "policy/restart_delay": "reconcile/restart/@delay",
    "policy/restart_max_delay": "reconcile/restart/@max-delay",
    "policy/start_wave": "reconcile/start/@wave", "policy/start_delay": "reconcile/start/@delay",
    "policy/ignore": "reconcile/ignore", "policy/labels": "reconcile/label",
    "policy/host": "reconcile/placement/@host", "policy/depends_on": "reconcile/depends-on",
    "policy/health": "reconcile/health"}
DEVICE_PATHS = [(name, field) for name, (_, _, paths) in DEVICES.items() for field in paths]


def device_of(name: str) -> Device:
    return next(device for device in EVERY.devices if type(device).__name__ == name)


def covers(path: str, other: str) -> bool:
    return other == path or other.startswith(f"{path}/")


def test_every_device_and_every_field_stands_in_the_table():
    assert {kind.__name__ for kind in CLASSES} == set(DEVICES)
    for kind in CLASSES:
        assert {f.name for f in fields(kind) if f.compare} == set(DEVICES[kind.__name__][2])


@pytest.mark.parametrize(("name", "field"), DEVICE_PATHS)
def test_the_path_of_each_field_of_each_device(name, field):
    old, new, paths = DEVICES[name]
    device = device_of(name)
    path = f"{new}/{paths[field]}"
    assert (device.path_in_domain, xml_paths.of_device(device, field)) == (new, path)
    before = f"{old}/{field}"
    assert old == f"{device.KIND}[{device.key}]"
    now = current_path(before, EVERY.devices) or before
    assert covers(now, path)
    assert current_path(now, EVERY.devices) is None
    assert now == path or now == f"{new}/{field}"  # an older path that is a parent of the new one
    assert current_path(old, EVERY.devices) == (None if old == new else new)


def test_the_paths_of_a_device_differ():
    for kind in CLASSES:
        assert len(set(kind.PATHS.values())) == len(kind.PATHS)


@pytest.mark.parametrize("old", PLAIN)
def test_the_other_paths(old):
    new = PLAIN[old]
    assert (current_path(old, ()) or old) == new
    assert current_path(new, ()) is None


def test_the_other_paths_are_all_in_the_table():
    known = {*xml_paths.DOMAIN, "backing", *(f.name for f in fields(Boot)), "policy",
             *(f"policy/{f.name}" for f in fields(Policy))}
    assert known == set(PLAIN)
    assert {f.name for f in fields(Backing)} == set(xml_paths.BACKING)


@pytest.mark.parametrize("path", [
    "memoryBacking", "memoryBacking/access/@mode", "os", "os/loader", "reconcile/stop", "disk[vdz]",
    "disk[vda]/iotune", "interface[net0]/mtu", "interface[tap0]", "something/else", "disk", "x[y]"])
def test_a_current_or_unknown_path_stays(path):
    assert current_path(path, EVERY.devices) is None


@pytest.mark.parametrize(("path", "now"), [
    ("disk[gone]/iops", "disk[gone]/iotune/total_iops_sec"),
    ("interface[net0]/bridge", "interface[net0]/source/@bridge"),
    ("root-port[001]", "controller[001]"), ("vsock[vsock0]/cid", "vsock/cid")])
def test_an_older_path_of_an_alias_or_of_a_device_that_is_gone(path, now):
    assert current_path(path, EVERY.devices) == now


def test_a_device_class_without_a_path_cannot_be_defined():
    with pytest.raises(TypeError, match="colour"):
        class Lamp(Device):
            KIND = "lamp"
            colour: str
    with pytest.raises(TypeError, match="colour"):
        class Torch(Device):
            KIND = "torch"
            PATHS = {**Device.PATHS, "colour": "@colour"}


def test_the_issues_example():
    old, new = (read(devices=disk("vda", "a.img", f"<iotune><total_iops_sec>{n}</total_iops_sec>"
                                                  "</iotune>")) for n in (100, 200))
    change, = differences(old, new)
    assert (change.path, change.old, change.new) == (
        "disk[vda]/iotune/total_iops_sec", "100", "200")


@pytest.mark.parametrize("written", ["disk[vda]/iops", "disk[vda]/iotune/total_iops_sec",
                                     "disk[vda]/iotune", "disk[virtio-disk0]/iops", "disk[vda]"])
def test_old_and_new_paths_are_ignored_alike(written):
    rule = policy("", f"<r:ignore path='{written}'/>")
    limit = "<iotune><total_iops_sec>100</total_iops_sec></iotune>"
    assert differences(read(rule), read(rule, devices=disk("vda", "a.img", limit))) == ()


def test_an_old_path_has_a_warning_with_its_line_that_names_the_new_one():
    found = read(policy("", "\n<r:ignore path='memory'/>\n<r:ignore path='disk[vda]/iops'/>"))
    warning, = found.warnings
    assert str(warning) == (
        "a.xml:3: warning: domain/metadata/reconcile/ignore[2]: path='disk[vda]/iops' is an old "
        "name, which still works; write path='disk[vda]/iotune/total_iops_sec'")
    assert found.policy.ignore == ("disk[vda]/iotune/total_iops_sec", "memory")
    assert found == read(policy("", "<r:ignore path='memory'/>"
                                    "<r:ignore path='disk[vda]/iotune/total_iops_sec'/>"))


@pytest.mark.parametrize(("field", "shown"), [
    ("up", ("up", "down")), ("vhost", ("qemu", "vhost")), ("mtu", ("none", "9000"))])
def test_values_are_shown_in_the_words_of_the_xml(field, shown):
    card = device_of("Interface")
    other = replace(card, **{field: {"up": False, "vhost": True, "mtu": 9000}[field]})
    change, = differences(EVERY, replace(EVERY, devices=tuple(
        other if device is card else device for device in EVERY.devices)))
    assert (change.old, change.new) == shown


def test_a_disk_that_moves_to_another_bus():
    one, two = (read(devices=disk("vda", "a.img", "<alias name='d'/>").replace(
        "bus='virtio'", f"bus='{bus}'")) for bus in ("virtio", "scsi"))
    found = {change.path: (change.old, change.new) for change in differences(one, two)}
    assert found["disk[vda]/target/@bus"] == ("virtio", "scsi")


def test_each_device_class_is_public():
    assert {kind.__name__ for kind in CLASSES} <= set(devices.__all__)
