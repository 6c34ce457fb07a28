"""Files that do not show which domain they are of: known before, or since a look."""

from __future__ import annotations

import math

import pytest

from reconciler.engine.source.unclear import UnclearFiles


@pytest.fixture
def path(tmp_path):
    return tmp_path / "unclear.json"


def test_since_the_first_look_that_found_it_whatever_is_in_it_later(path):
    files = UnclearFiles(path)
    files.note({"x.xml": b"1"}, 10.0)
    files.note({"x.xml": b"2", "y.xml": None}, 11.0)
    assert files.since == {"x.xml": 10.0, "y.xml": 11.0}
    files.note({}, 12.0)
    files.note({"x.xml": b"2"}, 13.0)
    assert files.since == {"x.xml": 13.0}


def test_what_was_there_before_a_restart_with_the_same_contents_is_known(path):
    UnclearFiles(path).note({"x.xml": b"1", "y.xml": b"1", "z.xml": None}, 10.0)
    after = UnclearFiles(path)
    after.note({"x.xml": b"1", "y.xml": b"2", "z.xml": None, "new.xml": b"1"}, 5.0)
    assert after.since == {"x.xml": -math.inf, "y.xml": 5.0, "z.xml": 5.0, "new.xml": 5.0}
    after.note({"x.xml": b"1", "y.xml": b"1"}, 6.0)
    assert after.since == {"x.xml": -math.inf, "y.xml": 5.0}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"x.xml": 1}', b"\xff"])
def test_a_damaged_file_knows_none(path, data):
    path.write_bytes(data)
    files = UnclearFiles(path)
    files.note({"x.xml": b"1"}, 10.0)
    assert files.since == {"x.xml": 10.0}


def test_what_cannot_be_kept_is_not_known_after_a_restart(path):
    path.mkdir()
    files = UnclearFiles(path)
    for at in (10.0, 11.0):
        files.note({"x.xml": b"1"}, at)
    assert files.since == {"x.xml": 10.0}
