"""The way back: a file is written that means the same, and a command line says what it came from.

Every valid file of the golden ones, with values of its own exchanged at random for others that
the reader takes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st
from lxml import etree

from reconciler.domain.devices import Channel, Disk, Hostdev, Interface, Serial
from reconciler.domain.hot_change import placed
from reconciler.domain.model import Device, Domain, InvalidDomain, MachineType
from reconciler.domain.numbers import complete
from reconciler.domain.options import ImportContext
from reconciler.domain.policy import Policy
from reconciler.domain.reader import read_domain
from reconciler.domain.writer import write
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.command_line import Start, arguments
from reconciler.stratovirt.recognise import recognise
from tests.domain.making import ARM, HOST
from tests.examples import examples

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = [*(file.with_suffix(".xml") for file in sorted(GOLDEN.glob("*.expected"))),
         *sorted((GOLDEN / "command_lines").glob("*.xml"))]
HOME = Path("/run/r/vms/a")
PAGES = 2 << 20
quick = examples(60)
# For each attribute or element of which a file has one, others that a reader may take.
OTHERS = {
    "cache": ["none", "directsync", "writeback", "writethrough", "unsafe", "default"],
    "io": ["native", "io_uring", "threads"], "discard": ["unmap", "ignore"],
    "detect_zeroes": ["off", "on", "unmap"], "queues": ["1", "4", "16"], "queue_size": ["64"],
    "state": ["running", "paused", "stopped", "up", "down"], "hold": ["yes", "no"],
    "policy": ["auto", "live", "recreate", "manual", "destroy", "keep", "confirm", "always",
               "on-failure", "never"],
    "rollback": ["last-good", "none"], "timeout": ["29ms", "1500ms", "90s", "0s", "48h", "7d"],
    "autodeflate": ["on", "off"], "freePageReporting": ["on", "off"], "auto": ["yes", "no"],
    "autoport": ["yes", "no"], "managed": ["yes", "no"], "nativeMode": ["tagged", "untagged"],
    "trunk": ["yes", "no"], "readonly": ["yes", "no"], "order": ["1", "7", "255"],
    "current": ["1", "2", "3"], "reason": ["", "a <b> & 'c' \"d\"", "a\nb\tc", "é\U0001f40c"],
    "model": ["none", "virtio"], "host": ["auto", "h1"], "limit": ["9"],
    "title": ["", "a <b> & 'c'", "a\n  b", "]]>"], "description": ["x\n\ny"],
    "memory": ["262144", "1048577", "2097152"], "vcpu": ["1", "2", "3", "4"],
    "on_poweroff": ["destroy", "restart"], "on_reboot": ["destroy", "restart"],
    "on_crash": ["destroy", "restart"], "iothreads": ["1", "2", "8"],
    "cmdline": ["console=hvc0 a=b,c ro", "a  b"], "serial": ["S 1"], "name": ["x", "a.b+c-d_e"],
    "total_iops_sec": ["0", "77"]}


def pin(domain, layout):
    return placed(domain, layout.ports, dict(layout.places))


def host_of(file: Path):
    return ARM if "aarch64" in file.stem else HOST


@st.composite
def domains(draw: st.DrawFn) -> tuple[Domain, object]:
    """What a reader makes of a golden file in which some values are others, and parts are gone."""
    file = draw(st.sampled_from(FILES))
    root = etree.fromstring(file.read_bytes())
    every = [e for e in root.iter(etree.Element) if e.getparent() is not None]
    for element in draw(st.lists(st.sampled_from(every), max_size=8, unique=True)):
        name = etree.QName(element).localname
        if draw(st.integers(0, 3)) == 0 and name not in ("name", "memory", "os", "devices"):
            element.getparent().remove(element)
        elif element.attrib:
            key = draw(st.sampled_from(sorted(element.attrib)))
            element.set(key, draw(st.sampled_from(OTHERS.get(key, [element.get(key)]))))
        elif not len(element) and name in OTHERS:
            element.text = draw(st.sampled_from(OTHERS[name]))
    extra = draw(st.sampled_from(["", "on_poweroff", "on_reboot", "on_crash", "title"]))
    if extra and root.find(extra) is None:
        etree.SubElement(root, extra).text = draw(st.sampled_from(OTHERS[extra]))
    try:
        return read_domain(etree.tostring(root), file.name, host_of(file)), host_of(file)
    except InvalidDomain:
        assume(False)
        raise


@quick
@given(domains())
def test_what_is_written_reads_as_the_same(pair):
    domain, host = pair
    for text in (write(domain), write(domain, Policy())):
        assert read_domain(text.encode(), "b.xml", host) == domain


@quick
@given(domains(), st.builds(Policy, restart_limit=st.integers(1, 9), rollback=st.booleans(),
                            restart_on_poweroff=st.booleans(), restart_on_failure=st.booleans(),
                            hold=st.booleans(), stop_timeout=st.sampled_from([0.0, 0.029, 90.0]),
                            host=st.sampled_from([None, "h9"])))
def test_what_is_written_for_other_defaults_reads_as_the_same_with_those(pair, defaults):
    domain, host = pair
    again = read_domain(write(domain, defaults).encode(), "b.xml",
                        replace(host, defaults=defaults))
    assert again == domain
    other = replace(host, defaults=replace(defaults, host=None))
    assert read_domain(write(domain).encode(), "b.xml", other) == domain


@quick
@given(domains(), st.integers(0, 9))
def test_with_a_layout_every_place_is_in_the_file(pair, spare):
    domain, host = pair
    layout = lay_out(domain, {}, spare)
    pinned = pin(domain, layout)
    again = read_domain(write(pinned).encode(), "b.xml", host)
    assert again == pinned
    assert lay_out(again, {}, spare) == layout
    assert lay_out(again, {}, 0) == layout
    assert all(device.place is not None for device in again.devices
               if device.PLUGGED and domain.machine is not MachineType.MICROVM)
    completed = complete(domain, {})
    assert arguments(complete(again, {}), Start(HOME, layout)) == arguments(
        completed, Start(HOME, layout))


def meaning(domain: Domain, layout) -> Domain:
    """Without what no command line holds, or says in another way."""
    backing = domain.backing
    if backing.hugepages is not None:
        backing = replace(backing, prealloc=False, hugepages=backing.hugepages or PAGES)
    devices = [bare(device) for device in pin(domain, layout).devices]
    return replace(
        domain, devices=tuple(sorted(devices, key=lambda d: (d.RANK, d.alias))), backing=backing,
        policy=Policy(), title=None, description=None, current_memory=None, emulator=None,
        boot=replace(domain.boot, nvram_template=None,
                     loader_readonly=domain.boot.loader_readonly or domain.boot.loader is None))


def bare(device: Device) -> Device:
    if isinstance(device, Interface):
        queues = device.queues if device.queues != 1 else None
        return replace(device, bridge=None, up=True, mtu=None, vlans=(), queues=queues)
    if isinstance(device, Channel):
        return replace(device, name="")
    if isinstance(device, Serial):
        return replace(device, alias="serial0")  # the short form has no id
    if isinstance(device, Hostdev):
        return replace(device, managed=False)
    return replace(device, target="", block=False) if isinstance(device, Disk) else device


@quick
@given(domains(), st.integers(0, 5))
def test_a_command_line_says_what_it_came_from(pair, spare):
    domain, host = complete(pair[0], {}), pair[1]
    layout = lay_out(domain, {}, spare)
    words = arguments(domain, Start(HOME, layout))
    around = ImportContext(Path("/"), own=str(HOME), page_of={
        "/dev/hugepages": domain.backing.hugepages or PAGES}.get)
    found = recognise(words, around)
    assert all(" vfio-pci" in str(left) and "managed" in str(left) for left in found.left)
    again = read_domain(write(found.domain).encode(), "b.xml", host)
    assert again == found.domain
    back, wanted = meaning(again, lay_out(again, {}, 0)), meaning(domain, layout)
    for one, other in zip(back.devices, wanted.devices, strict=True):
        assert one == other
    assert back == wanted
    second = arguments(again, Start(HOME, lay_out(again, {}, 0)))
    if any(isinstance(device, Channel) for device in domain.devices):  # they go by their names
        second, words = sorted(second), sorted(words)
    assert second == words
    assert found.monitors == (f"{HOME}/qmp.sock", f"{HOME}/monitor.sock")


def test_each_golden_file_is_written_and_recognised():
    for file in FILES:
        domain = read_domain(file.read_bytes(), file.name, host_of(file))
        again = read_domain(write(domain).encode(), file.name, host_of(file))
        assert again == domain
    assert len(FILES) > 20
