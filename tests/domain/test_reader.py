"""The reader: equal meaning, all errors at once, nothing dropped."""

from pathlib import Path

import pytest

from reconciler.domain.model import Domain, InvalidDomain, Policy, Wanted
from reconciler.domain.reader import read_domain

FILE = """<domain type='kvm'><name>a</name><memory unit='{unit}'>{size}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices>{devices}</devices>{more}</domain>"""
DISK = "<disk type='file'><source file='{0}.img'/><target dev='{0}' bus='virtio'/></disk>"


def read(unit: str = "GiB", size: str = "1", devices: str = DISK.format("vda"),
         more: str = "") -> Domain:
    """One file with these parts."""
    text = FILE.format(unit=unit, size=size, devices=devices, more=more)
    return read_domain(text.encode(), "a.xml", Path("/images"), Path("/state"), "x86_64", Policy())


@pytest.mark.parametrize(("unit", "size"), [("MiB", "1024"), ("k", "1048576"), ("b", "1073741824")])
def test_rule_4_units_mean_the_same(unit: str, size: str) -> None:
    assert read() == read(unit, size)
    assert read() != read("MiB", "1025")


def test_rule_4_order_of_devices_means_nothing() -> None:
    one, two = DISK.format("vda"), DISK.format("vdb")
    assert read(devices=one + "<!-- x -->" + two) == read(devices=two + "\n" + one)


def test_all_errors_at_once_with_the_nearest_name() -> None:
    with pytest.raises(InvalidDomain) as caught:
        read("parsecs", more="<vcpuu>3</vcpuu>")
    text = str(caught.value)
    assert "did you mean 'vcpu'?" in text
    assert "parsecs" in text
    assert all(problem.line for problem in caught.value.problems)


@pytest.mark.parametrize("path", ["a,b", "a=b", "-a"])
def test_rule_11_no_separator_reaches_the_command_line(path: str) -> None:
    with pytest.raises(InvalidDomain, match="cannot be passed"):
        read(devices=DISK.format("vda").replace("vda.img", path))


@pytest.mark.parametrize("device", ["rng", "vsock", "hostdev", "graphics"])
def test_what_is_not_built_is_refused(device: str) -> None:
    with pytest.raises(InvalidDomain, match="not built yet"):
        read(devices=DISK.format("vda") + f"<{device}/>")


def test_entities_are_refused() -> None:
    data = b"<!DOCTYPE d [<!ENTITY x 'y'>]><domain/>"
    with pytest.raises(InvalidDomain, match="refused always"):
        read_domain(data, "a", Path("/i"), Path("/s"), "x86_64", Policy())


def test_metadata_and_its_typos() -> None:
    head = "<metadata><r:reconcile xmlns:r='urn:stratovirt-reconciler:1' "
    assert read(more=head + "state='paused'/></metadata>").policy.state is Wanted.PAUSED
    with pytest.raises(InvalidDomain, match="did you mean 'state'"):
        read(more=head + "stat='paused'/></metadata>")
