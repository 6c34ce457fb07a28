"""Maintenance windows: when disruptive steps are allowed. Pure.

A span is written like a systemd calendar event with an end: `Mon..Fri 22:00-05:00`, `*-12-24..26`,
`Sat,Sun`. Weekdays and date are those of its beginning; it may extend past midnight. Without
`allow` a window is always open, and `deny` takes precedence. Times are seconds since 1970.
"""

from __future__ import annotations

import heapq
import re
import zoneinfo
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DATE = re.compile(r"(?:([0-9*/,.]+)-)?([0-9*/,.]+)-([0-9*/,.]+)")
_TIME = re.compile(r"([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)-([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)")
_ACCEPTED = "accepted: such as 'Mon..Fri 22:00-05:00', '*-12-24..26', 'Sat,Sun'"
DAY = 86400
_HORIZON = 4 * 366 + 1  # days to search for the next opening
_YEARS, _MONTHS, _DATES = (1970, 2199), (1, 12), (1, 31)


@dataclass(frozen=True, slots=True)
class Span:
    """A recurring period; None matches any value.

    `begin` and `end` are seconds since midnight; `end` is after `begin`, also past midnight.
    """

    weekdays: frozenset[int] | None = None
    years: frozenset[int] | None = None
    months: frozenset[int] | None = None
    days: frozenset[int] | None = None
    begin: int = 0
    end: int = DAY

    def on(self, day: date, zone: zoneinfo.ZoneInfo | None) -> tuple[float, float] | None:
        """Its begin and end, if it begins on this day."""
        wanted = ((self.weekdays, day.weekday()), (self.years, day.year),
                  (self.months, day.month), (self.days, day.day))
        if any(accepted is not None and value not in accepted for accepted, value in wanted):
            return None
        return _moment(day, self.begin, zone), _moment(day, self.end, zone)


@dataclass(frozen=True, slots=True)
class Window:
    """When disruption is allowed; `timezone` None is the host's."""

    allow: tuple[Span, ...] = ()
    deny: tuple[Span, ...] = ()
    timezone: str | None = None

    def open_at(self, wall: float) -> bool:
        """Whether it is open at this time."""
        return (not self.allow or self._within(self.allow, wall)) and not self._within(
            self.deny, wall)

    def opens(self, wall: float) -> float | None:
        """When it is open next, from `wall` on; None if not within four years."""
        if self.open_at(wall):
            return wall
        for moment in self._boundaries(wall):
            if moment > wall and self.open_at(moment):
                return moment
        return None

    def show(self, wall: float) -> str:
        """A time in the window's zone, for messages."""
        moment = datetime.fromtimestamp(wall, self._zone)
        return (moment if self._zone else moment.astimezone()).strftime("%a %Y-%m-%d %H:%M %Z")

    def _within(self, spans: tuple[Span, ...], wall: float) -> bool:
        zone = self._zone
        today = datetime.fromtimestamp(wall, zone).date()
        return any(found is not None and found[0] <= wall < found[1]
                   for day in (today - timedelta(1), today) for span in spans
                   for found in (span.on(day, zone),))

    def _boundaries(self, wall: float) -> Iterator[float]:
        """The begins and ends of all spans, in order, from yesterday on."""
        zone, coming = self._zone, list[float]()
        first = datetime.fromtimestamp(wall, zone).date() - timedelta(1)
        for number in range(_HORIZON):
            day = first + timedelta(number)
            midnight = _moment(day, 0, zone)
            while coming and coming[0] < midnight:  # later spans begin after it
                yield heapq.heappop(coming)
            for span in (*self.allow, *self.deny):
                for moment in span.on(day, zone) or ():
                    heapq.heappush(coming, moment)

    @property
    def _zone(self) -> zoneinfo.ZoneInfo | None:
        return zoneinfo.ZoneInfo(self.timezone) if self.timezone is not None else None


def _moment(day: date, second: int, zone: zoneinfo.ZoneInfo | None) -> float:
    """A local time on a day, as seconds since 1970; 24:00 and later are on the next day."""
    day += timedelta(second // DAY)
    second %= DAY
    return datetime(day.year, day.month, day.day, second // 3600, second // 60 % 60, second % 60,
                    tzinfo=zone).timestamp()


def read_window(allow: tuple[str, ...], deny: tuple[str, ...], timezone: str | None) -> Window:
    """Parse the spans of a configured window; raises ValueError."""
    if timezone is not None:
        try:
            zoneinfo.ZoneInfo(timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            message = (f"unknown time zone '{timezone}'; accepted: a name of the system's "
                       "tzdata, such as UTC, Europe/Amsterdam")
            raise ValueError(message) from None
    return Window(tuple(map(read_span, allow)), tuple(map(read_span, deny)), timezone)


def read_span(text: str) -> Span:
    """Parse one span; raises ValueError."""
    words = text.split()
    weekdays = years = months = days = None
    begin, end = 0, DAY
    if words and words[0][:1].isalpha():
        weekdays = _weekdays(words.pop(0))
    if words and (match := _DATE.fullmatch(words[0])):
        words.pop(0)
        years = _numbers(match[1] or "*", *_YEARS)
        months, days = _numbers(match[2], *_MONTHS), _numbers(match[3], *_DATES)
    if words and (match := _TIME.fullmatch(words[0])):
        words.pop(0)
        begin, end = _seconds(match[1]), _seconds(match[2])
        end += DAY if end <= begin else 0
    if words or not text.strip():
        message = f"'{text}' is not a valid calendar expression; {_ACCEPTED}"
        raise ValueError(message)
    return Span(weekdays, years, months, days, begin, end)


def _weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.replace("-", "..").partition("..")
        one, other = _weekday(first), _weekday(last if dots else first)
        found |= {(one + i) % 7 for i in range((other - one) % 7 + 1)}
    return frozenset(found)


def _weekday(text: str) -> int:
    name = text.lower()
    if name in DAYS:
        return DAYS.index(name)
    if name in _FULL:
        return _FULL.index(name)
    message = f"'{text}' is not a weekday; accepted: Mon, Tue, Wed, Thu, Fri, Sat, Sun"
    raise ValueError(message)


def _numbers(text: str, low: int, high: int) -> frozenset[int] | None:
    """A part of a date: *, 5, 1..7, 1,15, */2, 1/2."""
    if text == "*":
        return None
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dots, last = span.partition("..")
        try:
            begin = low if first == "*" else int(first)
            end = int(last) if dots else high if slash or first == "*" else begin
            each = int(step) if slash else 1
        except ValueError:
            begin = end = each = -1
        if not low <= begin <= end <= high or each < 1:
            message = f"'{part}' is not a valid part of a date ({low} to {high}); {_ACCEPTED}"
            raise ValueError(message)
        found |= set(range(begin, end + 1, each))
    return frozenset(found)


def _seconds(text: str) -> int:
    hours, minutes, seconds = (*map(int, text.split(":")), 0)[:3]
    found = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or found > DAY:
        message = f"'{text}' is not a time of day; accepted: 00:00 to 24:00"
        raise ValueError(message)
    return found
