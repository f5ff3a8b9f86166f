"""Windows tile time: walked, minute by minute, over every change of the clock, in four zones and five years.

The changes are found in the zone data itself, and the walk carries its own reading of the rule: a window
lasts until the wall clock shows, for the first time, an hour, day, week, month, quarter or year that is
later than all before. Where the clock is set back it shows old ones again, and the window goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from policies.budgets import Per, window

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
YEARS = range(2024, 2029)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CLOSE = timedelta(hours=3)
"""Before and after each change, walked by minutes."""
AROUND = timedelta(hours=25)
"""From there on walked by quarters of an hour: the whole day of a change, whatever length it has."""
GRAIN = timedelta(microseconds=1)

PERIODS: dict[Per, Callable[[datetime], Any]] = {
    "hour": lambda wall: (wall.date(), wall.hour),
    "day": lambda wall: wall.date(),
    "week": lambda wall: wall.isocalendar()[:2],
    "month": lambda wall: (wall.year, wall.month),
    "quarter": lambda wall: (wall.year, (wall.month + 2) // 3),
    "year": lambda wall: wall.year,
}
"""What the wall clock says of the window it is in; later ones compare as greater."""


def utc(year: int, month: int = 1, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Every instant of the five years at which the zone's distance from UTC changes."""
    place, found = ZoneInfo(zone), []
    at, end = utc(YEARS.start), utc(YEARS.stop)
    while at < end:
        if at.astimezone(place).utcoffset() != (at + HOUR).astimezone(place).utcoffset():
            found.append(next(_later(at, place)))
        at += HOUR
    return tuple(found)


def _later(at: datetime, place: ZoneInfo) -> Iterator[datetime]:
    """The instants after that one, to the second, at which the distance from UTC is another one."""
    before = at.astimezone(place).utcoffset()
    seconds = (at + timedelta(seconds=number) for number in range(1, 3601))
    return (second for second in seconds if second.astimezone(place).utcoffset() != before)


def new_years(zone: str) -> list[datetime]:
    """The first instants of the years, where the windows of every kind but the week begin."""
    return [datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) for year in YEARS]


def offset(at: datetime, zone: str) -> timedelta:
    found = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return found


@cache
def walk(per: Per, zone: str, middle: datetime) -> list[tuple[datetime, datetime]]:
    """The windows around an instant in their order, after trying each step against the rule."""
    place, key = ZoneInfo(zone), PERIODS[per]
    at = middle - AROUND
    found = [_window(per, at, place)]
    shown = key(at.astimezone(place))
    while at < middle + AROUND:
        at += MINUTE if -CLOSE <= at - middle < CLOSE else 15 * MINUTE
        now, reads = _window(per, at, place), key(at.astimezone(place))
        start, end = now
        assert start <= at < end, "a window holds its instant"
        if reads > shown:
            shown = reads
            assert start == at, "it begins with the first instant that shows it"
            assert found[-1][1] == start, "and where the one before it ends"
            assert _window(per, start - GRAIN, place) == found[-1], "to the last grain of time"
            found.append(now)
        assert now == found[-1], "and is the same all along"
    return found


def _window(per: Per, at: datetime, place: ZoneInfo) -> tuple[datetime, datetime]:
    start, end = window(per, at, place)
    assert end is not None
    return start, end


@pytest.mark.parametrize(("zone", "number"), [*zip(ZONES, (10, 10, 10, 0), strict=True)])
def test_the_zone_data_has_the_changes_that_are_walked(zone: str, number: int) -> None:
    """Two changes a year where there is summer time, none in Kathmandu, which is a quarter of an hour off."""
    assert len(changes(zone)) == number
    assert offset(utc(2026), "Asia/Kathmandu") == timedelta(hours=5, minutes=45)


@pytest.mark.parametrize("per", PERIODS)
@pytest.mark.parametrize("zone", ZONES)
def test_no_minute_around_a_change_of_the_clock_is_in_two_windows_or_in_none(zone: str, per: Per) -> None:
    """Every minute has one window, windows meet to the micro-second, and none is cut or doubled."""
    for middle in changes(zone) or new_years(zone):
        found = walk(per, zone, middle)
        if per in ("hour", "day"):
            assert len(found) > AROUND / (HOUR if per == "hour" else timedelta(days=1))


@pytest.mark.parametrize("zone", ZONES[:3])
def test_the_day_of_a_change_is_as_long_as_it_is(zone: str) -> None:
    """23 and 25 hours, and 23½ and 24½ on Lord Howe, by what the zone data says; every other day has 24."""
    half = zone == "Australia/Lord_Howe"
    lengths = set()
    for middle in changes(zone):
        gained = offset(middle, zone) - offset(middle - GRAIN, zone)
        for start, end in walk("day", zone, middle):
            change = gained if start <= middle < end else timedelta()
            assert end - start == timedelta(days=1) - change
            lengths.add((end - start) / HOUR)
    assert lengths == ({23.5, 24.0, 24.5} if half else {23.0, 24.0, 25.0})


@pytest.mark.parametrize("zone", ZONES[:3])
def test_an_hour_that_the_clock_repeats_is_one_window(zone: str) -> None:
    """Set back, the hour is longer by as much; set forward, what is left of the hour is its window."""
    half = zone == "Australia/Lord_Howe"
    lengths = {(end - start) / HOUR for at in changes(zone) for start, end in walk("hour", zone, at)}
    assert lengths == ({0.5, 1.0, 1.5} if half else {1.0, 2.0})


@pytest.mark.parametrize(
    ("per", "number"), [("day", 1827), ("week", 261), ("month", 60), ("quarter", 20), ("year", 5)]
)
@pytest.mark.parametrize("zone", ZONES)
def test_from_window_to_window_five_years_are_covered(zone: str, per: Per, number: int) -> None:
    """Each window ends where the next begins, and there are as many as the calendar has.

    2024 and 2029 both begin with a Monday.
    """
    place = ZoneInfo(zone)
    at, last = (datetime(year, 1, 1, tzinfo=place).astimezone(UTC) for year in (YEARS.start, YEARS.stop))
    for _ in range(number):
        start, end = _window(per, at, place)
        assert start == at
        at = end
    assert at == last
