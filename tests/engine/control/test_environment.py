"""What the controllers of all domains share."""

from dataclasses import replace

import pytest

from reconciler.engine.control.environment import clocks
from reconciler.engine.decide.state import DomainRecord, StoredDefinition
from tests.engine.making import Place, looking
from tests.values import xml


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, "reconcile: {jitter: 20%, resync: 100s}\n")


async def test_waits_are_spread_around_what_is_configured(place):
    async with looking(place) as daemon:
        environment = daemon.environment
        waits = [environment.resync() for _ in range(200)]
        assert 80 <= min(waits) < max(waits) <= 120
        assert len(set(waits)) > 100


async def test_pain_4_a_kept_definition_is_read_as_it_was_meant_then(place):
    async with looking(place) as daemon:
        environment = daemon.environment
        text = StoredDefinition(xml("a").decode(), "a.xml", "r", {"images": "/then"})
        assert environment.read(text).devices[0].path == "/then/a.img"
        assert environment.read(None) is None


async def test_a_kept_definition_that_cannot_be_read_any_more_is_reported(place):
    async with looking(place) as daemon:
        environment = daemon.environment
        assert environment.read(StoredDefinition("<domain/>", "a.xml")) is None
        event, = place.reported("domain.invalid")
        assert (event["severity"], event["file"]) == ("warning", "a.xml")


async def test_a_record_that_cannot_be_saved_is_reported(place):
    async with looking(place) as daemon:
        environment = daemon.environment
        (place.path / "state" / "domains").rename(place.path / "state" / "gone")
        assert not environment.save(DomainRecord("u", "a"))
        assert place.reported("state.unwritable")[0]["domain"] == "a"


async def test_the_signature_of_a_domain_is_that_of_its_files(place):
    async with looking(place) as daemon:
        environment = daemon.environment
        domain = environment.read(StoredDefinition(xml("a").decode(), "a.xml"))
        worker = environment.worker(lambda: None)
        before = await environment.signature(worker, domain)
        (place.path / "images" / "a.img").touch()
        after = await environment.signature(worker, domain)
        same = await environment.signature(worker, replace(domain, memory=1 << 30))
        assert before != after == same


def test_the_clocks_go_on():
    one, two = clocks(), clocks()
    assert one.clock <= two.clock
    assert two.wall > 1_700_000_000
