"""All domains: who gets a file, what is known again after a restart, another uuid, an end."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.decide.events import AbsenceJudged, HoldSet, Priority
from reconciler.engine.decide.inputs import Hold, Removal, VmState
from reconciler.stratovirt.record import Record, load, save
from tests.engine.control.machines import BOOT, Site
from tests.engine.kept import Kept

pytestmark = pytest.mark.simulated_time


@pytest.fixture
def kept(tmp_path):
    site = Site(tmp_path)
    found = Kept(site)
    yield found
    found.domains.close()
    site.close()


def records(kept):
    return {record.uuid: record.name for record in kept.site.store.all(BOOT)}


async def test_a_new_file_is_a_new_domain_which_is_looked_at(kept):
    kept.accept(("a", "1", 128), ("b", "2", 128))
    assert kept.names() == records(kept) == {"1": "a", "2": "b"}
    assert len(kept.domains) == 2
    await kept.queue.rest()
    assert sorted(kept.passes) == [("1", Priority.FILE), ("2", Priority.FILE)]
    assert {c.state.vm.state for c in kept.domains} == {VmState.RUNNING}


async def test_domains_are_found_by_uuid_and_by_what_a_user_writes(kept):
    kept.accept(("a", "1", 128))
    controller = kept.domains.get("1")
    assert controller is kept.domains.known("1")
    assert controller is kept.domains.named("a") is kept.domains.named("1")
    assert kept.domains.get("2") is kept.domains.named("b") is None
    with pytest.raises(KeyError):
        kept.domains.known("2")


async def test_a_rename_and_a_new_file_under_the_old_name_are_two_domains(kept):
    kept.accept(("b", "1", 128))
    first = kept.domains.known("1")
    first.apply(HoldSet(kept.site.environment.now(), Hold("repair", "me")))
    for files in ((("c", "1", 128), ("b", "3", 256)), (("b", "3", 256), ("c", "1", 128))):
        kept.accept(*files)
        assert kept.names() == {"1": "c", "3": "b"}
    assert kept.domains.known("1") is first
    assert first.state.record.hold is not None
    assert kept.domains.known("3").state.record.hold is None


async def test_another_uuid_in_a_file_keeps_the_domain_with_all_that_is_known_of_it(kept):
    kept.accept(("a", "1", 128))
    await kept.queue.rest()
    controller = kept.domains.known("1")
    controller.apply(HoldSet(kept.site.environment.now(), Hold("repair", "me")))
    kept.passes.clear()
    kept.accept(("a", "2", 128))
    assert (kept.names(), records(kept), kept.removed) == ({"2": "a"}, {"2": "a"}, ["1"])
    assert kept.domains.known("2") is controller
    assert (len(kept.domains), kept.domains.get("1")) == (1, None)
    assert kept.coordinator.memory == 128 << 20
    assert controller.state.record.hold is not None
    assert controller.machine.uuid == "2"
    assert [p.name for p in (kept.site.path / "state" / "history").iterdir()] == ["2"]
    await kept.queue.rest()
    assert ("2", Priority.FILE) in kept.passes
    controller.wake(Priority.DRIFT)  # its VM reports to the domain with the new uuid
    await kept.queue.rest()
    assert kept.passes[-1] == ("2", Priority.DRIFT)


async def test_the_old_record_stays_while_the_new_one_cannot_be_written(kept, monkeypatch):
    kept.accept(("a", "1", 128))
    directory = kept.site.path / "state" / "domains"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reconciler.engine.records.store.write_whole", full)
    kept.accept(("a", "2", 128))
    assert [path.stem for path in directory.iterdir()] == ["1"]
    assert kept.site.environment.unsaved == {"2": "1"}  # the uuid that its file is named by
    event, = kept.site.told("state.unwritable")
    assert (event["domain"], event["severity"]) == ("a", "error")
    monkeypatch.undo()
    kept.domains.save_again()
    assert kept.site.environment.unsaved == {}
    assert records(kept) == {"2": "a"}


async def test_a_domain_that_is_forgotten_is_gone_everywhere(kept):
    kept.accept(("a", "1", 128))
    await kept.queue.rest()
    controller = kept.domains.known("1")
    controller.apply(AbsenceJudged(kept.site.environment.now(), Removal.PROVEN))
    await kept.queue.rest()
    assert (kept.names(), records(kept), kept.removed) == ({}, {}, ["1"])
    assert controller.machine.closed
    assert kept.coordinator.memory == 0
    kept.passes.clear()
    controller.wake(Priority.DRIFT)
    await kept.queue.rest()
    assert kept.passes == []
    assert await kept.domains.run_pass("1", Priority.FILE) is None
    kept.site.environment.unsaved["1"] = "1"
    kept.domains.save_again()
    assert records(kept) == {}


async def test_an_error_of_the_reconciler_is_shown_on_its_domain(kept):
    kept.accept(("a", "1", 128))
    assert kept.domains.fault("1", "it broke") == "a"
    assert kept.domains.known("1").state.plan.ready.message == "it broke"
    assert kept.domains.fault("unknown", "it broke") == "unknown"
    await kept.queue.rest()


def beside(kept, home, uuid, **values):
    """A record beside a lock."""
    path = kept.site.path / "run" / "vms" / home
    path.mkdir(parents=True, exist_ok=True)
    save(path, Record(home, uuid, **values))
    kept.site.hypervisor.records[home] = load(path)


async def test_domains_are_known_again_by_their_records_and_by_their_vms(kept):
    kept.accept(("a", "1", 128))
    await kept.queue.rest()
    again = Kept(kept.site)
    beside(kept, "a", "1", generation=1, pid=100)
    beside(kept, "b", "2", generation=7)
    (kept.site.path / "run" / "vms" / "empty").mkdir()
    again.domains.recover(kept.site.path / "run" / "vms")
    assert again.names() == {"1": "a", "2": "b"}
    assert again.domains.known("2").state.record.generation == 7
    again.domains.close()


async def test_a_renamed_domain_is_known_under_the_name_that_its_vm_runs_under(kept):
    kept.accept(("new", "1", 128))
    await kept.queue.rest()
    again = Kept(kept.site)
    beside(kept, "a", "1", generation=1, pid=100)
    beside(kept, "new", "1", generation=1)
    again.domains.recover(kept.site.path / "run" / "vms")
    assert again.domains.known("1").state.home == "a"
    assert again.domains.known("1").name == "new"
    again.domains.close()
    third = Kept(kept.site)
    beside(kept, "a", "1", generation=1)
    beside(kept, "z", "1", generation=1, pid=100)
    third.domains.recover(kept.site.path / "run" / "vms")
    assert third.domains.known("1").state.home == "z"
    third.domains.close()


async def test_a_uuid_that_was_not_noted_beside_the_lock_is_noted_by_the_name(kept):
    kept.accept(("a", "2", 128))
    await kept.queue.rest()
    again = Kept(kept.site)
    beside(kept, "a", "1", generation=3, pid=100)
    again.domains.recover(kept.site.path / "run" / "vms")
    assert again.names() == {"2": "a"}
    assert load(kept.site.path / "run" / "vms" / "a").uuid == "2"
    again.domains.close()


async def test_domains_that_are_closed_follow_nothing(kept):
    kept.accept(("a", "1", 128))
    await asyncio.sleep(0)
    kept.domains.close()
    assert kept.domains.known("1").machine.closed
    await kept.queue.close(1.0)
