"""Durations, sizes, and the nearest name."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reconciler.units import (
    nearest,
    seconds,
    show_bytes,
    show_revision,
    show_seconds,
    unit_bytes,
    write_seconds,
)


@pytest.mark.parametrize(("text", "value"), [
    ("500ms", 0.5), ("10s", 10.0), (" 5m ", 300.0), ("1h", 3600.0), ("2d", 172800.0), ("0s", 0.0)])
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1.5s", "1 s", "1S", "1h30m", "inf",
                                  "1234567890s", "\u0661s"])
def test_an_invalid_duration_is_refused_with_the_accepted_format(text):
    with pytest.raises(ValueError, match="accepted: 500ms, 10s"):
        seconds(text)


@given(some.integers(0, 999_999_999), some.sampled_from([("ms", 0.001), ("s", 1.0), ("m", 60.0),
                                                         ("h", 3600.0), ("d", 86400.0)]))
def test_every_whole_number_of_every_unit_is_a_duration(number, unit):
    assert seconds(f"{number}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize(("unit", "value"), [
    ("b", 1), ("bytes", 1), ("byte", 1), ("k", 1024), ("K", 1024), ("KiB", 1024), ("kib", 1024),
    ("KB", 1000), ("MiB", 1 << 20), ("MB", 10**6), ("g", 1 << 30), ("GB", 10**9),
    ("TiB", 1 << 40), ("P", 1 << 50), ("EB", 10**18)])
def test_units_as_libvirt_has_them(unit, value):
    assert unit_bytes(unit) == value


@pytest.mark.parametrize("unit", ["", "iB", "kbytes", "x", "Ki", "GiBs", " k", "k\n"])
def test_an_invalid_unit_is_refused(unit):
    with pytest.raises(ValueError, match="is not a unit"):
        unit_bytes(unit)


@given(some.integers(0, 1 << 60))
def test_shown_bytes_read_back_are_the_same(count):
    number, _, unit = show_bytes(count).partition(" ")
    assert int(number) * unit_bytes(unit) == count


@given(some.integers(1, 1023), some.sampled_from(["KiB", "MiB", "GiB", "TiB"]))
def test_bytes_are_shown_in_the_unit_they_were_written_in(number, unit):
    assert show_bytes(number * unit_bytes(unit)) == f"{number} {unit}"


@pytest.mark.parametrize(("value", "shown"), [
    (0.34, "340 ms"), (0.0, "0 ms"), (31, "31 s"), (119, "119 s"), (240, "4 min"),
    (7199, "120 min"), (7200, "2 h"), (172799, "48 h"), (259200, "3 d")])
def test_seconds_as_people_say_them(value, shown):
    assert show_seconds(value) == shown


@given(some.floats(0, 10**8))
def test_shown_seconds_are_near_the_truth(value):
    number, _, unit = show_seconds(value).partition(" ")
    size = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert abs(int(number) * size - value) <= size / 2 + 1e-6


@pytest.mark.parametrize(("revision", "shown"), [
    (f"main@sha1:{'0123456789abcdef' * 2}01234567", "main@0123456789ab"),
    ("sha256:3b0cbb9a9751", "sha256:3b0cbb9a9751"), ("", "")])
def test_a_commit_is_shown_with_enough_digits_to_be_unique(revision, shown):
    assert show_revision(revision) == shown


def test_the_nearest_name():
    assert nearest("sorce", ("source", "paths")) == "; did you mean 'source'?"
    assert nearest("zzz", ("source", "paths")) == ""
    assert nearest("a", iter(())) == ""


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0s"), (0.029, "29ms"), (1.5, "1500ms"), (30.0, "30s"), (90.0, "90s"), (600.0, "10m"),
    (7200.0, "2h"), (172800.0, "2d")])
def test_durations_are_written_as_they_are_read(value, text):
    assert write_seconds(value) == text
    assert seconds(text) == value


def test_every_duration_that_can_be_read_is_written_as_the_same():
    for count in (1, 7, 29, 60, 999, 1001, 86399, 999999999):
        for unit in ("ms", "s", "m", "h", "d"):
            value = seconds(f"{count}{unit}")
            assert seconds(write_seconds(value)) == value
