"""Names that libvirt's schema has, and what becomes of each: no file of theirs is a typo."""

import pytest

from tests.domain.making import (
    ARM,
    DISK,
    MEMORY,
    OS,
    at,
    device,
    error,
    policy,
    problems,
    read,
    text,
    warnings,
)

PFLASH = "<loader readonly='yes' type='pflash'>/c.fd</loader>"


def os(inner: str = "", attributes: str = "", machine: str = "q35") -> str:
    return f"<os {attributes}><type arch='x86_64' machine='{machine}'>hvm</type>{inner}</os>"


def card(inner: str = "", attributes: str = "type='ethernet'") -> str:
    return f"{DISK}<interface {attributes}>{inner}</interface>"


def source(inner: str = "", attributes: str = "file='a.img'") -> str:
    return DISK.replace("<source file='a.img'/>", f"<source {attributes}>{inner}</source>")


def port(attributes: str = "", inner: str = "") -> str:
    return f"<controller type='pci' model='pcie-root-port' {attributes}>{inner}</controller>"


# Accepted without a word: it changes nothing


@pytest.mark.parametrize("devices", [
    DISK.replace("type='file'", "type='file' sgio='filtered'"),
    DISK.replace("</disk>", "<privateData/><backenddomain name='b'/></disk>"),
    DISK.replace("</disk>", "<driver page_per_vq='on'><statistics/></driver></disk>"),
    source("<privateData/><seclabel model='dac'/>", "file='a.img' index='1' mode='host'"),
    card("<driver page_per_vq='on'/>"),
    DISK + "<memballoon model='virtio'><acpi index='1'/></memballoon>",
    DISK + "<console type='pty'><target type='serial' port='0'><model name='isa-serial'/></target>"
           "</console>",
    DISK + "<controller type='ide' index='0' model='piix3'/>",
    DISK + "<controller type='usb' index='0' model='qusb2'/>"])
def test_elements_without_effect_are_accepted_without_a_message(devices):
    assert not warnings(devices=devices)


@pytest.mark.parametrize("machine", ["pc-q35-8.2", "pc-q35-rhel9.4.0", "pc-q35-jammy-hpb",
                                     "pc-q35-noble-v2", "q35"])
def test_distributions_names_of_machines_mean_q35(machine):
    assert read(os=os(machine=machine)).machine == "q35"


def test_a_distribution_s_name_of_virt():
    assert read(os=OS.replace("x86_64", "aarch64").replace("q35", "virt-rhel9.2.0-x"),
                host=ARM).machine == "virt"


# Ignored with one warning


@pytest.mark.parametrize("feature", ["ras", "tcg", "cfpc", "sbbc", "ibs", "hpt", "nested-hv",
                                     "ccf-assist", "aia", "async-teardown"])
def test_switches_that_stratovirt_has_not_are_warned_of(feature):
    found, = warnings(f"<features><{feature}/></features>")
    assert f"<{feature}>" in found


@pytest.mark.parametrize("inner", ["<bios useserial='yes'/>",
                                   "<acpi><table type='slic'>/t</table></acpi>"])
def test_what_a_guest_would_see_of_its_firmware_is_warned_of(inner):
    assert len(warnings(os=os(inner))) == 1


def test_a_bridge_s_own_learning_is_warned_of():
    found, = warnings(devices=card("<source bridge='br0' macTableManager='libvirt'/>"))
    assert "macTableManager" in found


def test_the_serial_port_is_com1():
    def serial(iobase: str, irq: str) -> str:
        return (f"{DISK}<serial type='pty'><address type='isa' iobase='{iobase}' irq='{irq}'/>"
                "</serial>")

    assert not warnings(devices=serial("0x3f8", "4"))
    assert "0x3f8" in error(devices=serial("0x2f8", "4")).message
    assert "4" in error(devices=serial("0x3f8", "3")).message


@pytest.mark.parametrize("emulator", ["/usr/bin/kvm", "/usr/bin/kvm-spice", "/usr/libexec/qemu-kvm",
                                      "/usr/bin/qemu-system-x86_64"])
def test_every_form_of_qemu_is_ignored_with_a_warning(emulator):
    found, = warnings(devices=f"<emulator>{emulator}</emulator>{DISK}")
    assert "QEMU is ignored" in found


@pytest.mark.parametrize("emulator", ["/usr/bin/kvmtool", "/opt/kvm-spice/x"])
def test_what_only_looks_like_qemu_must_be_allowed(emulator):
    assert error(devices=f"<emulator>{emulator}</emulator>{DISK}").reason == "NotAllowed"


# Refused, with what to do instead, and with one message each


@pytest.mark.parametrize(("devices", "name"), [
    (source("<slices><slice type='storage' offset='0' size='1'/></slices>"), "slices"),
    (source("<dataStore type='file'/>"), "dataStore"),
    (source("<snapshot name='a'/>"), "snapshot"),
    (source("", "file='a.img' fdgroup='a'"), "fdgroup"),
    (DISK.replace("</disk>", "<throttlefilters/></disk>"), "throttlefilters"),
    (card("<source><ip address='10.0.0.1'/></source>"), "ip"),
    (card("<source><route gateway='10.0.0.1'/></source>"), "route"),
    (card("<portForward proto='tcp'/>"), "portForward")])
def test_what_carries_data_limits_or_addresses_is_refused(devices, name):
    assert name in error(devices=devices).message


@pytest.mark.parametrize("name", ["init", "initarg", "initenv", "initdir", "inituser", "initgroup",
                                  "idmap", "root", "shim", "varstore", "dtb"])
def test_what_starts_something_else_than_a_vm_is_refused(name):
    assert f"<{name}>" in error(os=os(f"<{name}>x</{name}>")).message


@pytest.mark.parametrize("part", ["<vcpus><vcpu id='0' enabled='yes'/></vcpus>",
                                  "<throttlegroups><throttlegroup/></throttlegroups>"])
def test_processors_and_limits_of_their_own_are_refused(part):
    assert "accepted" not in error(part).message
    assert "use <vcpu" in error(part).message or "only" in error(part).message


def test_a_disk_that_is_elsewhere_has_one_error_whatever_it_lists():
    found = error(devices=DISK + "<disk type='network'><source protocol='rbd' name='p/i' tls='yes' "
                  "query='a'><host name='h' port='1'/><auth username='u'/><ssl verify='n'/>"
                  "<cookies/><config file='c'/></source><target dev='vdb' bus='virtio'/></disk>")
    assert "type='network'" in found.message
    found = error(devices=DISK + "<disk type='volume'><source pool='p' volume='v'/>"
                                 "<target dev='vdb' bus='virtio'/></disk>")
    assert "type='volume'" in found.message


@pytest.mark.parametrize(("kind", "inside"), [
    ("vhostuser", "type='unix' path='/s' mode='client'"), ("udp", "address='a' port='1'"),
    ("network", "network='default' portid='a' bridge='virbr0'")])
def test_a_card_that_is_elsewhere_has_one_error_whatever_it_lists(kind, inside):
    found = error(devices=card(f"<source {inside}><reconnect/><local/></source>",
                               f"type='{kind}'"))
    assert f"type='{kind}'" in found.message


# Firmware as libvirt writes it


def test_firmware_that_libvirt_chose_is_read_by_its_files():
    chosen = ("<firmware><feature enabled='no' name='enrolled-keys'/>"
              "<feature enabled='no' name='secure-boot'/></firmware>")
    found = read(os=os(f"{chosen}{PFLASH}<nvram template='/t.fd' templateFormat='raw' "
                       "format='raw'>/v.fd</nvram>", "firmware='efi'"))
    assert (found.boot.loader, found.boot.nvram) == ("/c.fd", "/v.fd")
    assert not found.warnings


def test_secure_boot_is_refused_however_it_is_asked_for():
    secure = "<firmware><feature enabled='yes' name='secure-boot'/></firmware>"
    assert "secure-boot" in error(os=os(secure + PFLASH, "firmware='efi'")).message


def test_firmware_without_files_is_refused():
    assert problems(os=os("<firmware/>", "firmware='efi'"))


def test_variables_of_a_source_element_mean_the_same_as_a_text():
    newer = os(PFLASH + "<nvram type='file'><source file='/v.fd'/></nvram>")
    assert read(os=newer) == read(os=os(PFLASH + "<nvram>/v.fd</nvram>"))


@pytest.mark.parametrize("nvram", [
    "<nvram type='block'><source dev='/dev/x'/></nvram>",
    "<nvram type='network'><source protocol='iscsi' name='x'><host name='h'/></source></nvram>",
    "<nvram type='file'><source/></nvram>",
    "<nvram><source file='/a,b'/></nvram>"])
def test_variables_that_are_not_a_file_are_refused(nvram):
    assert len(problems(os=os(PFLASH + nvram))) == 1


# Root ports as virt-install writes them


def test_root_ports_without_index_get_the_lowest_free_ones():
    found = read(devices=DISK + port() + port("index='2'") + port() + port("index='1'"))
    assert [d.index for d in found.devices if d.KIND == "root-port"] == [1, 2, 3, 4]
    assert [d.alias for d in found.devices if d.KIND == "root-port"] == [
        "pcie.1", "pcie.2", "pcie.3", "pcie.4"]


def test_rule_4_the_order_of_root_ports_without_index_means_nothing():
    ports = [port("", at(0, 3)), port(), port("", at(0, 2)), port("index='7'")]
    assert read(devices=DISK + "".join(ports)) == read(devices="".join(reversed(ports)) + DISK)
    found = device(read(devices=DISK + "".join(ports)), "root-port")
    assert (found.index, found.place.slot) == (1, 2)


@pytest.mark.parametrize("attributes", ["index='0'", "index='x'", "index='255'"])
def test_a_wrong_index_is_not_treated_as_a_missing_one(attributes):
    assert len(problems(devices=DISK + port(attributes))) == 1


# No more than pcie.0 holds


def test_240_root_ports_are_read_and_one_more_is_refused():
    many = "".join(port(f"index='{n}'") for n in range(1, 241))
    assert len(read(devices=DISK + many).devices) == 242
    assert "241" in error(devices=DISK + many + port()).message


def test_every_device_needs_a_root_port():
    cards = "".join(f"<interface type='ethernet'><target dev='t{n}'/></interface>"
                    for n in range(238))
    assert len(read(devices=DISK + cards).devices) == 240
    assert "241" in error(devices=DISK + cards + card().removeprefix(DISK)).message


def test_a_slot_that_is_taken_holds_no_root_ports():
    many = "".join(port(f"index='{n}'") for n in range(1, 241))
    alone = DISK.replace("</disk>", f"{at(0, 5)}</disk>")
    assert "232" in error(devices=alone + many).message


def test_microvm_has_no_root_ports_to_run_out_of():
    cards = "".join(f"<interface type='ethernet'><target dev='t{n}'/></interface>"
                    for n in range(300))
    assert len(read(os="<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>",
                    devices=DISK + cards).devices) == 302


def test_the_pieces_of_these_tests_are_sound():
    assert not warnings(policy("state='running'"), memory=MEMORY)
    assert text(devices=card()).count(b"<interface") == 1
