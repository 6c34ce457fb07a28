"""What all keepers share."""

import os
from dataclasses import replace

import pytest

from reconciler.engine.control.environment import clocks
from reconciler.engine.records.store import DomainRecord, StoredDefinition
from tests.engine.making import Place
from tests.values import xml


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, "reconcile: {jitter: 20%, resync: 100s}\n")


@pytest.fixture
def context(place):
    reconciler = place.make()
    yield reconciler.context
    for lock in reconciler._locks:
        os.close(lock)
    reconciler.journal.close()


def test_waits_are_spread_around_what_is_configured(context):
    waits = [context.resync() for _ in range(200)]
    assert 80 <= min(waits) < max(waits) <= 120
    assert len(set(waits)) > 100


def test_pain_4_a_kept_definition_is_read_as_it_was_meant_then(context):
    text = StoredDefinition(xml("a").decode(), "a.xml", "r", {"images": "/then"})
    assert context.read(text).devices[0].path == "/then/a.img"
    assert context.read(None) is None


def test_a_kept_definition_that_cannot_be_read_any_more_is_told(context, place):
    assert context.read(StoredDefinition("<domain/>", "a.xml")) is None
    event, = place.reported("domain.invalid")
    assert (event["severity"], event["file"]) == ("warning", "a.xml")


def test_a_memory_that_cannot_be_kept_stops_nothing_and_is_told(context, place):
    (place.path / "state" / "domains").rename(place.path / "state" / "gone")
    context.save(DomainRecord("u", "a"))
    assert place.reported("state.unwritable")[0]["domain"] == "a"


def test_the_signature_of_a_domain_is_that_of_its_files(context, place):
    domain = context.read(StoredDefinition(xml("a").decode(), "a.xml"))
    before = context.signature(domain)
    (place.path / "images" / "a.img").touch()
    after = context.signature(domain)
    assert before != after == context.signature(replace(domain, memory=1 << 30))


def test_the_clocks_go_on():
    one, two = clocks(), clocks()
    assert one.clock <= two.clock
    assert two.wall > 1_700_000_000
