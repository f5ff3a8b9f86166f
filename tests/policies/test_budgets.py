"""Windows as calendar arithmetic, and allowances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.budgets import BEGINNING, Allowance, Budget, Calendar, Limit, Per, Usage, window

BERLIN = ZoneInfo("Europe/Berlin")
PERIODS: tuple[Per, ...] = ("hour", "day", "week", "month", "quarter", "year")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("per", "zone", "at", "start", "end"),
    [
        # In Berlin a window begins an hour or two before it begins in UTC.
        ("hour", "Europe/Berlin", "2026-11-22T09:59:59", "2026-11-22T09:00", "2026-11-22T10:00"),
        ("day", "Europe/Berlin", "2026-11-22T23:30", "2026-11-22T23:00", "2026-11-23T23:00"),
        ("week", "Europe/Berlin", "2026-11-22T12:00", "2026-11-15T23:00", "2026-11-22T23:00"),
        ("month", "Europe/Berlin", "2026-10-31T23:30", "2026-10-31T23:00", "2026-11-30T23:00"),
        ("quarter", "Europe/Berlin", "2026-11-22T12:00", "2026-09-30T22:00", "2026-12-31T23:00"),
        ("year", "Europe/Berlin", "2026-12-31T22:59", "2025-12-31T23:00", "2026-12-31T23:00"),
        # Half-hour zones have hours that begin at half past.
        ("hour", "Asia/Kolkata", "2026-11-22T09:45", "2026-11-22T09:30", "2026-11-22T10:30"),
        # 29 March: the clock jumps from 2 to 3, and the day has 23 hours.
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("hour", "Europe/Berlin", "2026-03-29T00:30", "2026-03-29T00:00", "2026-03-29T01:00"),
        ("hour", "Europe/Berlin", "2026-03-29T01:30", "2026-03-29T01:00", "2026-03-29T02:00"),
        # 25 October: the clock shows 2 to 3 twice, in one window, and the day has 25 hours.
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("hour", "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T02:00"),
        ("hour", "Europe/Berlin", "2026-10-25T01:30", "2026-10-25T00:00", "2026-10-25T02:00"),
        # Lord Howe sets the clock back by half an hour, from 2:00 to 1:30.
        ("hour", "Australia/Lord_Howe", "2026-04-04T15:15", "2026-04-04T14:00", "2026-04-04T15:30"),
        # In São Paulo midnight of 4 November 2018 did not exist: the day began at 1.
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),
        # Samoa left out 30 December 2011 altogether.
        ("day", "Pacific/Apia", "2011-12-30T09:00", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("day", "Pacific/Apia", "2011-12-30T11:00", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_windows_follow_the_local_calendar(per: Per, zone: str, at: str, start: str, end: str) -> None:
    """The window of an instant, in UTC, by the calendar of its zone."""
    assert window(per, utc(at), ZoneInfo(zone)) == (utc(start), utc(end))


def test_a_total_has_no_end() -> None:
    """Its one window begins before any ledger."""
    assert window("total", utc("2026-11-22T00:00"), BERLIN) == (BEGINNING, None)


def test_an_instant_without_its_offset_is_refused() -> None:
    """Nobody guesses in which zone a naive time was meant."""
    with pytest.raises(ValueError, match="offset"):
        window("day", datetime(2026, 11, 22), BERLIN)  # noqa: DTZ001


ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo",
     "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll", "America/Havana", "UTC"]
)  # fmt: skip
INSTANTS = st.integers(0, 30 * 366 * 24 * 60).map(
    lambda minute: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
)


@given(st.sampled_from(PERIODS), ZONES, INSTANTS)
def test_windows_are_a_partition_of_time(per: Per, zone: str, at: datetime) -> None:
    """A window holds its instant, gives itself for its first and last one, and the next one follows."""
    start, end = window(per, at, ZoneInfo(zone))
    assert end is not None
    assert start <= at < end
    last = end - timedelta(microseconds=1)
    assert window(per, start, ZoneInfo(zone)) == window(per, last, ZoneInfo(zone)) == (start, end)
    assert window(per, end, ZoneInfo(zone))[0] == end
    assert window(per, start - timedelta(microseconds=1), ZoneInfo(zone))[1] == start


@given(st.sampled_from(PERIODS), ZONES, st.lists(INSTANTS, min_size=1, max_size=5))
def test_a_calendar_remembers_without_being_wrong(per: Per, zone: str, instants: list[datetime]) -> None:
    """Asked in any order, a calendar gives the same windows as the arithmetic."""
    calendar = Calendar(ZoneInfo(zone))
    for at in instants:
        assert calendar.window(per, at) == window(per, at, ZoneInfo(zone))


def allowance(**changes: object) -> Allowance:
    values = {
        "budget": "month",
        "scope": (("team", "social"),),
        "start": utc("2026-10-31T23:00"),
        "end": utc("2026-11-30T23:00"),
        "limit": 100,
        "unit": "credits",
        **changes,
    }
    return Allowance(**values)  # type: ignore[arg-type]


def test_a_key_names_everything_but_the_limit() -> None:
    """A raised limit keeps its counter; another scope, window, unit or budget has its own."""
    key = allowance().key
    assert key == (
        '["month",[["team","social"]],"2026-10-31T23:00:00+00:00","2026-11-30T23:00:00+00:00","credits"]'
    )
    assert allowance(limit=7).key == key
    others = [{"budget": "week"}, {"scope": (("team", None),)}, {"end": None}, {"unit": "microusd"}]
    assert len({allowance(**other).key for other in others} | {key}) == 5


def test_an_allowance_counts_in_its_own_unit() -> None:
    """Credits as they are, or in whole micro-dollars at the recorded rate."""
    assert allowance().amount(14, None) == 14
    assert allowance(unit="microusd").amount(14, 75_000) == 1_050_000
    with pytest.raises(ValueError, match="rate"):
        allowance(unit="microusd").amount(14, None)


def test_a_missing_label_is_a_scope_of_its_own() -> None:
    """A budget by team keeps one allowance for each team, and one for jobs without a team."""
    limit = Limit("credits", 200, {"social": 2000})
    budget = Budget("month", limit, "month", for_each=("team",))
    calendar, at = Calendar(BERLIN), utc("2026-11-22T12:00")
    found = [
        budget.allowance(labels, at, calendar, True) for labels in ({"team": "social"}, {"team": "x"}, {})
    ]
    assert [item.scope for item in found] == [(("team", "social"),), (("team", "x"),), (("team", None),)]
    assert [item.limit for item in found] == [2000, 200, 200]


def test_everything_that_may_cost_counts_as_used() -> None:
    """Settled, held and unknown count against the limit; a grant does not."""
    assert Usage(settled=3, held=4, unknown=5, granted=100).used == 12
