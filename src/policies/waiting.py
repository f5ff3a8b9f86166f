"""When an answer may change by itself: the instants from which a policy may judge a request anew.

Here belong the ends of windows, the edges of times and weekdays, and the days of new prices. Whether a
request is allowed then is for the engine to say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from planner.prices import PriceBook
from policies.budgets import window
from policies.compiled import Compiled

_WEEK_AND_A_DAY: Final = 8
"""Days in which every local time of every weekday is reached."""
_DAY_MINUTES: Final = 24 * 60


def turns(policy: Compiled, labels: Mapping[str, str], book: PriceBook, at: datetime) -> Iterator[datetime]:
    """Every later instant at which a new answer is possible if nothing else is spent, in order, UTC.

    A window that begins by then is empty and stays so, and times and weekdays come round every week, so
    a week after each of the other turns is enough. Of instants that are alike only the first is given.
    """
    windows = (policy.allowance(place, labels, at) for place in range(len(policy.budgets)))
    ends = [allowance.end for allowance in windows if allowance.end is not None]
    once = sorted({turn for turn in (*ends, *(entry.start for entry in book.entries)) if turn > at})
    minutes = sorted(_minutes(policy))
    edges = {edge for turn in (at, *once) for edge in _edges(minutes, policy.zone, turn)}
    seen = set()
    for turn in sorted(edges.union(once)):
        state = bisect_right(once, turn), policy.clock(turn)
        if state not in seen:
            seen.add(state)
            yield turn


def _minutes(policy: Compiled) -> set[int]:
    """The minutes of the local day at which a condition on the time or the weekday can change."""
    found: set[int] = set()
    for column in policy.columns():
        if column.name == "time":
            found |= {minute % _DAY_MINUTES for minute in column.values()}
        elif column.name == "weekday":
            found.add(0)
    return found


def _edges(minutes: list[int], zone: ZoneInfo, since: datetime) -> Iterator[datetime]:
    """Every instant of the week after `since` at which the local clock comes to one of the minutes."""
    midnight = since.astimezone(zone).replace(tzinfo=None, fold=0, hour=0, minute=0, second=0, microsecond=0)
    for days in range(_WEEK_AND_A_DAY):
        for minute in minutes:
            wall = midnight + timedelta(days=days, minutes=minute)
            yield from (instant for instant in _reached(wall, zone) if instant > since)


def _reached(wall: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """When the local clock comes to a time: twice where it is set back, late where it skips the time."""
    for fold in (0, 1):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        shown = instant.astimezone(zone).replace(tzinfo=None, fold=0)
        if shown == wall:
            yield instant
        elif shown < wall and (skip := window("hour", instant, zone)[1]) is not None:
            yield skip
