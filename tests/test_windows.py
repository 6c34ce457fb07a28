"""Maintenance windows: the calendar's grammar, and when they open and close."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.windows import read_window


def window(*allow, deny=(), zone="UTC"):
    return read_window(allow, tuple(deny), zone)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(wall):
    return None if wall is None else datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(("span", "opened", "shut"), [
    ("Mon..Fri 22:00-05:00", "2026-11-25 22:00", "2026-11-26 05:00"),
    ("Mon-Fri 22:00-05:00", "2026-11-28 04:59", "2026-11-28 05:00"),  # Friday's, over midnight
    ("mon..fri 22:00-05:00", "2026-11-27 23:00", "2026-11-28 22:00"),
    ("Sat,Sunday", "2026-11-29 12:00", "2026-11-30 00:00"),
    ("Fri..Mon 01:00-02:00", "2026-11-30 01:30", "2026-12-01 01:30"),
    ("*-12-24..26", "2026-12-26 23:59", "2026-12-27 00:00"),
    ("12-24..26 08:00-24:00", "2026-12-24 08:00", "2026-12-24 07:59"),
    ("2027-*-1", "2027-05-01 10:00", "2026-12-01 10:00"),
    ("*-*-1/7 10:00-11:00", "2026-11-29 10:00", "2026-11-30 10:00"),
    ("*-1,7-*", "2026-07-04 00:00", "2026-06-30 23:59"),
    ("22:30:30-23:00", "2026-11-25 22:30:30", "2026-11-25 22:30:29"),
])
def test_a_span_is_open_and_shut(span, opened, shut):
    assert window(span).open_at(at(opened))
    assert not window(span).open_at(at(shut))


def test_without_allow_it_is_always_open_and_deny_wins():
    assert window().open_at(0.0)
    freeze = window("Mon..Sun 00:00-24:00", deny=["*-12-24..26"])
    assert freeze.open_at(at("2026-12-23 23:59"))
    assert not freeze.open_at(at("2026-12-24 00:00"))
    assert shown(freeze.opens(at("2026-12-24 10:00"))) == "2026-12-27 00:00"


def test_the_next_opening_is_named():
    nights = window("Mon..Fri 22:00-05:00")
    assert shown(nights.opens(at("2026-11-28 12:00"))) == "2026-11-30 22:00"
    assert shown(nights.opens(at("2026-11-25 12:00"))) == "2026-11-25 22:00"
    assert shown(nights.opens(at("2026-11-25 23:00"))) == "2026-11-25 23:00"
    assert not nights.open_at(at("2026-11-26 05:00"))
    assert nights.open_at(at("2026-11-26 04:59"))
    assert window("2020-1-1").opens(at("2026-01-01 00:00")) is None
    assert shown(window("*-2-29").opens(at("2026-03-01 00:00"))) == "2028-02-29 00:00"


def test_times_are_those_of_its_zone_also_in_summer():
    there = window("22:00-23:00", zone="Europe/Amsterdam")
    assert shown(there.opens(at("2026-11-25 12:00"))) == "2026-11-25 21:00"
    assert shown(there.opens(at("2026-07-25 12:00"))) == "2026-07-25 20:00"
    # On the night in which the clock goes forward, what is from 1 to 4 lasts two hours.
    short = window("01:00-04:00", zone="Europe/Amsterdam")
    begin = short.opens(at("2026-03-28 12:00"))
    assert short.open_at(begin + 2 * 3600 - 1)
    assert not short.open_at(begin + 2 * 3600)


@pytest.mark.parametrize("text", [
    "", "Mun", "Mon..Fri 22:00", "25:00-26:00", "10:00-24:01", "10:60-11:00", "Mon 1 2", "*-13-*",
    "*-*-0", "*-*-5..3", "*-*-1/0", "-1-2", "Mon,", "Mon..", "a-b-c", "10:00-11:00 Mon"])
def test_an_invalid_span_is_refused(text):
    with pytest.raises(ValueError, match="accepted"):
        window(text)


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(ValueError, match="Mars/Phobos"):
        window("Mon", zone="Mars/Phobos")
    with pytest.raises(ValueError, match="accepted"):
        window("Mon", zone="../../etc/passwd")


DAYS = st.sampled_from(["", "Mon..Fri ", "Sat,Sun ", "Sun..Tue ", "*-*-1..10 ", "*-6..9-* "])
TIMES = st.builds("{:02}:{:02}-{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59),
                  st.integers(0, 23), st.integers(0, 59))
SPANS = st.lists(st.builds(lambda day, time: day + time, DAYS, TIMES), max_size=3)


@settings(deadline=None)
@given(SPANS, SPANS, st.integers(1_700_000_000, 1_900_000_000),
       st.sampled_from(["UTC", "Europe/Amsterdam", "Australia/Lord_Howe"]))
def test_a_closed_window_stays_closed_until_it_opens(allow, deny, wall, zone):
    found = window(*allow, deny=deny, zone=zone)
    then = found.opens(wall)
    if found.open_at(wall):
        assert then == wall
    elif then is not None:
        assert then > wall
        assert found.open_at(then)
        assert not found.open_at((wall + then) / 2)
        assert not found.open_at(then - 0.5)
