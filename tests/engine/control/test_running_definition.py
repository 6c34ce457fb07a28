"""What a VM's process has: by the layout it is started with, or by what is kept beside its lock."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain.devices import Interface, RootPort
from reconciler.domain.place import Place
from reconciler.engine.control.running_definition import (
    load,
    of_layout,
    of_record,
    without_device,
)
from reconciler.engine.decide.state import Running, StoredDefinition
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.record import Record
from tests.values import domain

CARD = Interface(alias="ua-card", tap="tap-a", mac="52:54:00:00:00:01", up=False)
WANTED = replace(domain(), devices=(CARD,), current_memory=64 << 20)
KEPT = StoredDefinition("<domain/>", "a.xml", "main@1")


def test_a_process_has_its_ports_every_place_all_of_its_memory_and_every_cable():
    layout = lay_out(WANTED, {}, 0)
    found = of_layout(WANTED, layout)
    card = next(d for d in found.devices if isinstance(d, Interface))
    assert (card.up, card.place, found.current_memory) == (True, dict(layout.places)[
        "interface:52:54:00:00:00:01"], None)
    assert [d for d in found.devices if isinstance(d, RootPort)] == list(layout.ports)


def test_a_record_gives_back_what_its_layout_gave():
    layout = lay_out(WANTED, {}, 0)
    record = Record("a", "u", places=dict(layout.places),
                    ports={port.index: port.place for port in layout.ports})
    assert of_record(WANTED, record) == of_layout(WANTED, layout)


def test_a_definition_that_was_written_after_a_change_is_complete():
    assert of_record(WANTED, Record("a", "u", updated=True)) is WANTED
    assert of_record(WANTED, None) is WANTED


def test_a_process_without_places_has_no_ports():
    found = of_record(WANTED, Record("a", "u", ports={1: Place(0, 1)}))
    assert [type(d) for d in found.devices] == [Interface]
    assert (found.devices[0].up, found.current_memory) == (True, None)


def read(stored):
    """Each text is a definition of its own."""
    return None if "broken" in stored.text else replace(domain(), title=stored.text)


def test_the_definition_beside_the_lock_is_that_of_the_process(tmp_path):
    record = Record("a", "u", read_with={"arch": "x86_64"}, file="old.xml", updated=True)
    assert load(tmp_path, record, KEPT, read) is None
    (tmp_path / "definition.xml").write_text("<older/>")
    stored = StoredDefinition("<older/>", "old.xml", "", {"arch": "x86_64"})
    assert load(tmp_path, record, KEPT, read) == Running(read(stored), stored, read(stored))
    bare = StoredDefinition("<older/>")
    assert load(tmp_path, None, KEPT, read) == Running(read(bare), bare, read(bare))
    assert load(tmp_path, None, None, read).stored == bare


def test_a_process_that_was_started_with_the_accepted_text_has_its_revision(tmp_path):
    (tmp_path / "definition.xml").write_text(KEPT.text)
    assert load(tmp_path, Record("a", "u"), KEPT, read).stored is KEPT


def test_a_definition_that_cannot_be_read_any_more_is_not_known(tmp_path):
    (tmp_path / "definition.xml").write_text("<broken/>")
    assert load(tmp_path, None, None, read) is None


def test_the_process_has_more_than_its_text_says(tmp_path):
    (tmp_path / "definition.xml").write_text("<domain/>")
    found = load(tmp_path, Record("a", "u"), None, lambda stored: WANTED)
    assert (found.definition, found.domain.current_memory) == (WANTED, None)


def test_only_a_device_that_can_be_unplugged_goes_by_its_alias():
    port = RootPort(alias="pcie.1", index=1, place=Place(0, 1))
    running = replace(domain(), devices=(port, CARD))
    assert without_device(running, "ua-card") == replace(running, devices=(port,))
    assert without_device(running, "pcie.1") is None
    assert without_device(running, "other") is None
