"""The machine: name, memory, processors, what it starts from."""

import uuid

import pytest

from reconciler.domain.model import InvalidDomain
from reconciler.domain.reader import read_domain
from tests.domain.making import (
    ARM,
    DISK,
    HOST,
    MICROVM,
    OS,
    disk,
    error,
    policy,
    problems,
    read,
    text,
    warnings,
)

MIB = 1 << 20


def boot(inner: str, machine: str = "q35") -> str:
    return f"<os><type machine='{machine}'>hvm</type>{inner}</os>"


@pytest.mark.parametrize("name", ["a", "web1", "A.b_c+d-e", "1", "x" * 64])
def test_names_that_are_accepted(name):
    assert read(name=name).name == name


@pytest.mark.parametrize("name", ["", "-S", "a,b", "a=b", "a/b", "a b", "é", ".a", "x" * 65])
def test_names_that_are_refused(name):
    assert problems(name=name)


def test_a_missing_uuid_is_version_5_of_the_name_and_never_changes():
    assert read(name="web1").uuid == read(name="web1", devices=disk()).uuid
    assert uuid.UUID(read(name="web1").uuid).version == 5
    assert read(name="web2").uuid != read(name="web1").uuid


def test_a_uuid_means_the_same_in_every_form():
    plain = "0A5B3F607A3B4B9E9A772D5C9F1D2E11"
    dashed = "0a5b3f60-7a3b-4b9e-9a77-2d5c9f1d2e11"
    assert read(f"<uuid>{plain}</uuid>").uuid == read(f"<uuid>{dashed}</uuid>").uuid == dashed
    assert problems("<uuid>0a5b</uuid>")


@pytest.mark.parametrize(("written", "size"), [
    ("<memory>262144</memory>", 256), ("<memory unit='KiB'>262143</memory>", 256),
    ("<memory unit='k'>262144</memory>", 256), ("<memory unit='KB'>262144</memory>", 250),
    ("<memory unit='m'>256</memory>", 256), ("<memory unit='GIB'>2</memory>", 2048),
    ("<memory unit='bytes'>268435457</memory>", 257), ("<memory unit='MB'>1000</memory>", 954),
    ("<memory unit=' MiB&#9;'> 512 </memory>", 512), ("<memory unit=' '>262144</memory>", None),
    ("<memory unit='T'>0</memory>", None), ("<memory unit='MiB'>127</memory>", None),
    ("<memory unit='GiB'>512</memory>", 512 * 1024), ("<memory unit='GiB'>513</memory>", None),
    ("<memory unit='EiB'>999999999999999999</memory>", None),
    ("<memory unit='GiBB'>1</memory>", None), ("<memory unit=''>262144</memory>", None),
    ("<memory>1.5</memory>", None), ("<memory/>", None), ("", None)])
def test_memory_in_every_unit_rounded_up_to_mebibytes(written, size):
    if size is None:
        assert problems(memory=written)
    else:
        assert read(memory=written).memory == size * MIB


def test_less_current_memory_is_the_balloon_s():
    assert read("<currentMemory unit='KiB'>262144</currentMemory>").current_memory is None
    assert read("<currentMemory unit='MiB'>512</currentMemory>").current_memory is None
    assert read("<currentMemory unit='KB'>128000</currentMemory>").current_memory == 123 * MIB
    assert error("<currentMemory unit='MiB'>0</currentMemory>")
    assert "balloon" in error("<currentMemory unit='MiB'>128</currentMemory>",
                              devices=DISK + "<memballoon model='none'/>").message
    assert problems("<currentMemory unit='MiB'>128</currentMemory>"
                    "<memoryBacking><hugepages/></memoryBacking>")


@pytest.mark.parametrize(("inner", "page"), [
    ("", 0), ("<page size='2048'/>", 2 * MIB), ("<page size='1' unit='GiB'/>", None),
    ("<page size='2' unit='M' nodeset='0'/>", 2 * MIB), ("<page/>", None),
    ("<page size='3' unit='MiB'/>", None), ("<page size='4'/>", None),
    ("<page size='2' unit='MiB'/><page size='2' unit='MiB'/>", None)])
def test_huge_pages(inner, page):
    text = f"<memoryBacking><hugepages>{inner}</hugepages></memoryBacking>"
    if page is None:
        assert error(text)
    else:
        assert read(text).backing.hugepages == page


def test_more_memory_than_there_is_cannot_be_plugged_later():
    assert "hotplug" in warnings("<maxMemory unit='MiB'>512</maxMemory>")[0]
    assert not warnings("<maxMemory unit='MiB'>256</maxMemory>")


def test_memory_slots_are_an_error():
    assert error("<maxMemory slots='2' unit='GiB'>4</maxMemory>")


def test_vcpus():
    assert read().vcpus == 1
    assert read("<vcpu placement='static' current='2'>2</vcpu>").vcpus == 2
    assert read("<vcpu current='1'>2</vcpu>").current_vcpus == 1
    assert read("<vcpu current='2'>2</vcpu>").current_vcpus is None
    assert error("<vcpu current='3'>2</vcpu>")
    assert error("<vcpu cpuset='0-3'>2</vcpu>")
    assert error("<vcpu placement='auto'>2</vcpu>")


def test_topology():
    def topology(text: str) -> str:
        return f"<vcpu>4</vcpu><cpu><topology {text}/></cpu>"

    assert read(topology("sockets='4' dies='1' cores='1' threads='1'")).vcpus == 4
    shape = read(topology("sockets='1' cores='2' threads='2'")).topology
    assert (shape.sockets, shape.cores, shape.threads, shape.dies) == (1, 2, 2, 1)
    assert "4" in error(topology("sockets='2' cores='1' threads='1'")).message


@pytest.mark.parametrize(("inner", "prealloc", "shared"), [
    ("<locked/>", True, False), ("<allocation mode='immediate'/>", True, False),
    ("<allocation mode='ondemand'/>", False, False), ("<source type='memfd'/>", False, True),
    ("<access mode='shared'/>", False, True), ("<access mode='private'/>", False, False)])
def test_memory_backing(inner, prealloc, shared):
    backing = read(f"<memoryBacking>{inner}</memoryBacking>").backing
    assert (backing.prealloc, backing.shared) == (prealloc, shared)


def test_a_cpu_model_is_ignored_with_one_warning_whatever_it_lists():
    assert not warnings("<cpu mode='host-passthrough' check='none' migratable='on'/>")
    features = "<feature policy='require' name='vmx'/>" * 20
    assert len(warnings(f"<cpu mode='custom'><model>qemu64</model>{features}</cpu>")) == 1


@pytest.mark.parametrize(("host", "machine", "expected"), [
    (HOST, "q35", "q35"), (HOST, "pc-q35-7.2", "q35"), (HOST, "pc-q35-rhel9.2.0", "q35"),
    (HOST, "microvm", "microvm"), (ARM, "virt", "virt"), (ARM, "virt-6.2", "virt"),
    (ARM, "microvm", "microvm"), (HOST, "virt", None), (ARM, "q35", None),
    (HOST, "pc-i440fx-7.2", None), (HOST, "pc", None)])
def test_machines_by_architecture(host, machine, expected):
    os = f"<os><type machine='{machine}'>hvm</type><kernel>/k</kernel></os>"
    if expected is None:
        assert "accepted" in error(os=os, host=host).message
    else:
        assert read(os=os, host=host).machine == expected


def test_another_architecture_than_the_host_s_is_an_error():
    assert "aarch64" in error(os=OS, host=ARM).message
    assert problems(os="<os><type arch='aarch64' machine='virt'>hvm</type></os>")
    assert problems(os="<os><type>xen</type></os>")


def test_a_gic_is_for_aarch64_only():
    os = "<os><type machine='virt'>hvm</type></os>"
    assert read("<features><acpi/><gic version='3'/></features>", os=os, host=ARM).gic
    assert error("<features><gic version='2'/></features>", os=os, host=ARM)
    assert error("<features><gic version='3'/></features>")


def test_kernel_initrd_and_command_line():
    found = read(os=boot("<kernel>vmlinuz</kernel><initrd>/b/../i</initrd>"
                         "<cmdline>console=hvc0 root=/dev/vda,x=y</cmdline>")).boot
    assert (found.kernel, found.initrd) == ("/images/vmlinuz", "/i")
    assert found.cmdline == "console=hvc0 root=/dev/vda,x=y"


@pytest.mark.parametrize("cmdline", ["-S", "a\x7fb", "x" * 256, "ok " + "y" * 256])
def test_command_lines_that_stratovirt_would_misread(cmdline):
    assert error(os=boot(f"<cmdline>{cmdline}</cmdline>"))


def test_firmware_and_its_variables():
    found = read(os=boot("<loader readonly='yes' type='pflash' secure='no'>c.fd</loader>"
                         "<nvram template='v.fd'/>"), name="web1").boot
    assert (found.loader, found.loader_readonly) == ("/images/c.fd", True)
    assert (found.nvram, found.nvram_template) == ("/state/nvram/web1_VARS.fd", "/images/v.fd")


@pytest.mark.parametrize("inner", [
    "<loader type='rom'>/c</loader>", "<loader type='pflash' secure='yes'>/c</loader>",
    "<loader type='pflash' readonly='yes'>/c,unit=1</loader>", "<nvram/>", "<dtb>/d</dtb>",
    "<boot dev='network'/>"])
def test_what_the_firmware_cannot_be(inner):
    assert problems(os=boot(inner))


def test_firmware_efi_needs_its_files():
    files = "<loader type='pflash' readonly='yes'>/c</loader><nvram template='/t'>/v</nvram>"
    os = f"<os firmware='efi'><type machine='q35'>hvm</type>{files}</os>"
    assert read(os=os).boot.loader == "/c"
    assert problems(os="<os firmware='efi'><type machine='q35'>hvm</type></os>")


def test_boot_from_hd_is_the_first_disk_by_target_whatever_the_order():
    os = boot("<boot dev='hd'/>")
    for devices in (DISK + disk(), disk() + DISK):
        disks = [d for d in read(os=os, devices=devices).devices if d.KIND == "disk"]
        assert [d.boot for d in disks] == [1, None]


def test_emulators():
    def emulator(path: str) -> str:
        return f"<emulator>{path}</emulator>{DISK}"

    assert read(devices=emulator("/usr/bin/stratovirt")).emulator == "/usr/bin/stratovirt"
    assert error(devices=emulator("/tmp/evil")).reason == "NotAllowed"
    found = read(devices=emulator("/usr/bin/qemu-system-x86_64"))
    assert found.emulator is None
    assert len(found.warnings) == 1


@pytest.mark.parametrize(("written", "ids"), [
    ("<iothreads>2</iothreads>", (1, 2)), ("<iothreads>0</iothreads>", ()),
    ("<iothreadids><iothread id='2'/></iothreadids>", (2,)),
    ("<iothreads>3</iothreads><iothreadids><iothread id='2'/></iothreadids>", (1, 2, 3))])
def test_iothreads(written, ids):
    assert read(written).iothreads == ids


def test_more_than_eight_iothreads_are_refused():
    assert problems("<iothreads>9</iothreads>")
    many = "".join(f"<iothread id='{n}'/>" for n in range(1, 10))
    assert problems(f"<iothreadids>{many}</iothreadids>")


def test_a_standard_vm_needs_something_to_start_from():
    assert "initrd" in error(devices="").message
    loader = boot("<loader type='pflash' readonly='yes'>/c</loader>")
    assert "initrd" in error(devices="", os=loader).message
    assert read(devices="", os=boot("<initrd>/i</initrd>"))


def test_a_warning_does_not_hide_that_there_is_nothing_to_start_from():
    assert any("initrd" in p.message for p in problems("<genid/>", devices=""))


def test_a_microvm_needs_a_kernel_and_has_no_pci():
    assert read(os=MICROVM).machine == "microvm"
    assert "kernel" in error(os=boot("", "microvm")).message
    place = "<address type='pci' bus='1' slot='0'/>"
    assert "PCI" in error(os=MICROVM, devices=disk(inner=place)).message


def test_a_microvm_has_no_firmware():
    assert problems(os=MICROVM.replace("</os>",
                                       "<loader type='pflash' readonly='yes'>/c</loader></os>"))


@pytest.mark.parametrize("element", [
    "<numatune><memory mode='strict' nodeset='0'/></numatune>", "<launchSecurity type='sev'/>",
    "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>", "<cpu><numa/></cpu>",
    "<memoryBacking><source type='file'/></memoryBacking>"])
def test_what_the_guest_or_its_operator_would_miss_is_refused(element):
    assert problems(element)


@pytest.mark.parametrize("element", [
    "<pm><suspend-to-mem enabled='no'/></pm>", "<clock offset='utc'><timer name='rtc'/></clock>",
    "<seclabel type='none'/>", "<features><acpi/></features>", "<description>a\nb</description>"])
def test_what_changes_nothing_is_accepted_in_silence(element):
    assert not warnings(element)


@pytest.mark.parametrize("element", [
    "<clock offset='localtime'/>", "<features><hyperv/></features>", "<seclabel type='dynamic'/>",
    "<sysinfo type='smbios'/>", "<perf/>", "<os2/>".replace("os2", "genid")])
def test_what_a_guest_can_do_without_is_one_warning_that_names_it(element):
    found = read(element).warnings
    assert len(found) == 1
    assert element[1:].split(" ")[0].split("/")[0].split(">")[0] in str(found[0])


@pytest.mark.parametrize("device", [
    "<filesystem/>", "<tpm/>", "<shmem name='a'/>", "<iommu model='intel'/>", "<crypto/>",
    "<memory model='dimm'/>", "<hostdev mode='subsystem' type='usb'/>",
    "<rng model='virtio'/>", "<controller type='scsi' model='lsilogic'/>",
    "<controller type='pci' model='pci-bridge' index='1'/>"])
def test_devices_that_are_refused(device):
    assert problems(devices=DISK + device)


@pytest.mark.parametrize("device", [
    "<input type='mouse' bus='ps2'/>", "<input type='keyboard' bus='ps2'/>",
    "<controller type='usb' model='qemu-xhci'/>", "<controller type='sata' index='0'/>",
    "<controller type='usb' model='none'/>", "<controller type='pci' model='pcie-root' index='0'/>",
    "<audio id='1' type='none'/>"])
def test_devices_that_libvirt_adds_are_accepted_in_silence(device):
    assert not warnings(devices=DISK + device)


@pytest.mark.parametrize("device", [
    "<input type='tablet' bus='usb'/>", "<sound model='ich9'/>", "<watchdog model='itco'/>",
    "<graphics type='spice'/>", "<video><model type='qxl'/></video>", "<redirdev bus='usb'/>",
    "<channel type='spicevmc'/>"])
def test_desktop_left_overs_are_ignored_with_one_warning(device):
    assert len(warnings(devices=DISK + device)) == 1


def test_the_file_s_name_and_lines_are_no_part_of_the_meaning():
    assert read(file="a.xml") == read("\n\n", file="b.xml")


def test_the_lines_of_fields_are_known():
    lines = dict(read("\n<vcpu>2</vcpu>", os="\n\n" + boot("<kernel>/k</kernel>")).lines)
    assert (lines["name"], lines["kernel"], lines["vcpus"]) == (1, 3, 4)


def test_every_file_that_a_start_needs_is_named():
    found = read(os=boot("<kernel>/k</kernel><loader type='pflash' readonly='yes'>/c</loader>"
                         "<nvram template='/t'/>")).required_files()
    assert {need.path for need in found} == {"/k", "/c", "/state/nvram/a_VARS.fd", "/images/a.img"}


def test_a_path_is_as_long_as_the_kernel_takes():
    assert read(os=boot(f"<kernel>/{'k' * 4094}</kernel>"))
    assert "4095" in error(os=boot(f"<kernel>/{'k' * 4095}</kernel>")).message


def test_a_kernel_command_line_is_as_long_as_linux_keeps():
    assert read(os=boot(f"<cmdline>{'a b ' * 511}a b</cmdline>"))
    assert "2047" in error(os=boot(f"<cmdline>{'a b ' * 512}c</cmdline>")).message


def test_pain_3_a_truncated_file_is_never_a_domain():
    data = text("<vcpu>2</vcpu>", policy("state='running'"), devices=DISK + disk())
    assert read_domain(data, "a.xml", HOST)
    for length in range(len(data)):
        with pytest.raises(InvalidDomain):
            read_domain(data[:length], "a.xml", HOST)
