"""Where devices sit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from reconciler.domain.devices import RootPort
from reconciler.domain.place import Place
from reconciler.stratovirt.addresses import identity, lay_out
from tests.domain.making import DISK, MICROVM, at, disk, read


def card(mac: int, place: str = "") -> str:
    address = f"<mac address='52:54:00:00:00:{mac:02x}'/>"
    return f"<interface type='ethernet'>{address}{place}</interface>"


def port(index: int, place: str = "") -> str:
    return f"<controller type='pci' index='{index}' model='pcie-root-port'>{place}</controller>"


def laid(devices: str, remembered=(), spare: int = 0):
    return lay_out(read(devices=devices), dict(remembered), spare)


def places(layout) -> dict[str, str]:
    return {key: str(place) for key, place in layout.places}


def test_devices_get_the_lowest_root_ports_in_libvirts_order():
    found = laid(card(1) + DISK)
    assert [(key.partition(":")[0], place.bus) for key, place in sorted(
        found.places, key=lambda pair: pair[1])] == [
        ("interface", 1), ("disk", 2), ("memballoon", 3)]
    assert [(p.index, p.place) for p in found.ports] == [
        (1, Place(0, 1, 0)), (2, Place(0, 1, 1)), (3, Place(0, 1, 2))]
    assert found.free_ports() == ()


def test_explicit_places_come_first():
    found = laid(DISK + disk("vdb", inner=at(2, 0)) + disk("vdc", "c.img", at(0, 3)))
    assert found.place(read(devices=disk("vdb")).devices[0]) == Place(2, 0)
    assert dict(found.places)["disk:vdc"] == Place(0, 3)
    assert dict(found.places)["disk:vda"] == Place(1, 0)
    assert dict(found.places)["memballoon:0"] == Place(3, 0)


def test_pain_4_rule_4_remembered_places_stay_when_an_interface_is_added():
    before = laid(DISK)
    after = laid(card(1) + DISK + card(2), before.places)
    assert set(before.places) <= set(after.places)
    assert laid(DISK + card(2) + card(1), after.places) == after  # the file's order means nothing
    again = laid(DISK + card(2), after.places)
    assert set(again.places) == {pair for pair in after.places if "00:01" not in pair[0]}


def test_a_remembered_place_gives_way_to_an_explicit_one():
    found = laid(DISK + disk("vdb", inner=at(1, 0)), {"disk:vda": Place(1, 0)})
    assert places(found)["disk:vdb"] == str(Place(1, 0))
    assert dict(found.places)["disk:vda"].bus > 1


def test_a_remembered_place_gives_way_to_an_explicit_root_port():
    found = laid(DISK + port(1, at(0, 5)), {"disk:vda": Place(0, 5)})
    assert dict(found.places)["disk:vda"] == Place(1, 0)


def test_two_memories_of_one_place_are_one_place():
    found = laid(DISK + disk("vdb"), {"disk:vda": Place(4, 0), "disk:vdb": Place(4, 0)})
    assert len({place for _, place in found.places}) == len(found.places)


def test_spare_ports_are_free_for_hot_plug():
    found = laid(DISK, spare=4)
    assert found.free_ports() == (3, 4, 5, 6)
    # Those that the file gives count.
    assert laid(DISK + port(9), spare=2).free_ports() == (3, 9)
    assert laid(DISK + port(3) + port(4), spare=1).free_ports() == (3, 4)


def test_eight_functions_a_slot():
    found = laid(DISK, spare=14)
    assert [p.place for p in found.ports[:10]] == [
        *(Place(0, 1, n) for n in range(8)), Place(0, 2, 0), Place(0, 2, 1)]
    lines = [p.arguments(p.place)[1] for p in found.ports]
    assert [n for n, line in enumerate(lines) if "multifunction=on" in line] == [0, 8]
    assert [line.partition("port=")[2].partition(",")[0] for line in lines[:9]] == [
        f"{8 + n:#x}" for n in range(9)]


def test_spare_ports_end_where_pcie_0_is_full():
    ports = "".join(port(n) for n in range(1, 239))
    for spare in (0, 4, 1000):
        layout = lay_out(read(devices=DISK + ports), {}, spare)
        assert len(layout.ports) == min(238 + max(spare - 236, 0), 240)
    assert len(lay_out(read(devices=DISK + ports + port(239) + port(240)), {}, 1000).ports) == 240


def test_a_slot_that_the_file_uses_gets_no_automatic_functions():
    found = laid(disk("vda", inner=at(0, 1)) + port(1, at(0, 2)), spare=4)
    ours = [p.place for p in found.ports if p.index != 1]
    assert {place.slot for place in ours} == {3}


def test_a_port_of_the_file_keeps_its_name():
    found = laid(DISK + port(7))
    assert [p.alias for p in found.ports] == ["pcie.1", "pcie.2", "pcie.7"]


def test_microvm_has_no_places():
    found = lay_out(read(os=MICROVM), {"disk:vda": Place(1, 0)}, 4)
    assert (found.ports, found.places, found.free_ports()) == ((), (), ())


def test_a_remembered_function_without_the_file_that_gave_it_is_forgotten():
    found = laid(DISK, {"disk:vda": Place(0, 5, 1)})
    assert dict(found.places)["disk:vda"] == Place(1, 0)


BUSES = some.builds(Place, some.integers(1, 12), some.just(0))
SLOTS = some.builds(Place, some.just(0), some.integers(1, 0x1e))
FUNCTIONS = some.builds(Place, some.just(0), some.integers(1, 0x1e), some.integers(0, 7))
EXPLICIT = some.one_of(some.none(), some.none(), BUSES, SLOTS)


@some.composite
def domains(draw):
    """A domain with any devices at any places that the reader would accept, and a memory."""
    base = read(devices=DISK)
    template, used, devices = base.devices[0], set(), []

    def place(choice=EXPLICIT):
        found = draw(choice)
        if found in used:
            return None
        used.add(found)
        return found

    for n in range(draw(some.integers(0, 12))):
        name = f"vd{chr(97 + n)}"
        devices.append(replace(template, target=name, alias=name, place=place()))
    for index in draw(some.sets(some.integers(1, 12), max_size=6)):
        devices.append(RootPort(alias=f"pcie.{index}", index=index,
                                place=place(some.one_of(some.none(), SLOTS))))
    keys = [identity(d) for d in devices] or ["disk:vda"]
    memory = draw(some.dictionaries(some.sampled_from(keys), some.one_of(BUSES, FUNCTIONS)))
    return replace(base, devices=tuple(devices)), memory


def everywhere(layout) -> list[Place]:
    return [place for _, place in layout.places] + [p.place for p in layout.ports]


@given(domains(), some.integers(0, 12))
def test_no_two_devices_share_a_place_and_every_bus_is_there(made, spare):
    domain, memory = made
    found = lay_out(domain, memory, spare)
    assert len(set(everywhere(found))) == len(everywhere(found))
    assert {place.bus for _, place in found.places} <= {0} | {p.index for p in found.ports}
    assert len({p.index for p in found.ports}) == len(found.ports)
    assert len(found.free_ports()) >= spare
    for device in domain.devices:
        if device.PLUGGED:
            assert found.place(device) == device.place or device.place is None
            assert found.place(device) is not None
        elif device.place is not None:
            assert device in found.ports
    for p in found.ports:  # function 0 of a slot is there, or the guest sees nothing of it
        assert not p.place.function or Place(0, p.place.slot, 0) in everywhere(found)


@given(domains(), some.integers(0, 12))
def test_rule_4_what_was_laid_out_is_laid_out_the_same_again(made, spare):
    domain, memory = made
    once = lay_out(domain, memory, spare)
    assert lay_out(domain, dict(once.places), spare) == once
