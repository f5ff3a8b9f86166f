"""Budgets: a limit per window and scope, and the calendar arithmetic of windows.

Here belong what a budget is, which window an instant falls in and which allowance a request counts
in. How much of an allowance is used belongs to the ledger, which is asked by the engine; what
happens when one is full is decided by the engine.

A window is a pure function of an instant, a rule and a zone: nothing is ever reset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from planner.money import usd_from_micro
from policies.downgrading import Downgrade
from policies.downgrading import Unit as Unit

Per = Literal["hour", "day", "week", "month", "quarter", "year", "total"]

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the one window of a `total` budget starts: before any ledger."""


class Usage(NamedTuple):
    """How much of an allowance is used and granted on top, in the allowance's unit."""

    settled: int = 0
    held: int = 0
    unknown: int = 0
    granted: int = 0

    @property
    def used(self) -> int:
        """All that counts against the limit."""
        return self.settled + self.held + self.unknown


class Allowance(NamedTuple):
    """One budget in one scope and one window, and how much it lets through; a tuple, for its quick hash."""

    budget: str
    scope: tuple[tuple[str, str | None], ...]
    """The labels it is kept apart by, such as `(("team", "social"),)`; a missing label is None."""
    start: datetime
    """The first instant of the window, UTC."""
    end: datetime | None
    """The first instant after the window, UTC; None for a window without end."""
    limit: int
    unit: Unit
    blocks: bool = True
    """Whether its limit is held when a job is admitted; in shadow it only counts."""

    @property
    def key(self) -> str:
        """A stable text that names budget, scope, window and unit; the limit may change under it."""
        end = self.end.isoformat() if self.end else None
        parts = [self.budget, self.scope, self.start.isoformat(), end, self.unit]
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))

    def amount(self, credits: int, rate_microusd: int | None) -> int:
        """What that many credits take, in this allowance's unit, at a rate in micro-dollars."""
        if self.unit == "credits":
            return credits
        if rate_microusd is None:
            raise ValueError("a budget in USD needs the rate of a credit")
        return credits * rate_microusd

    def told(self, amount: int) -> str:
        """An amount as people write it, without its unit."""
        return str(amount if self.unit == "credits" else usd_from_micro(amount))

    def told_of(self, amount: int, most: int) -> str:
        """An amount and the most that it may be, with their unit: `12 of 40 credits`."""
        return f"{self.told(amount)} of {self.told(most)} {self.currency}"

    @property
    def currency(self) -> str:
        """The unit as people write it."""
        return "credits" if self.unit == "credits" else "USD"


AskUsage = Callable[[Allowance], Usage]
"""Says what counts in an allowance now; asked only for allowances that the request counts in."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a budget lets through: the same for all, or by the value of one label."""

    unit: Unit
    otherwise: int
    by_value: Mapping[str, int] | None = None

    def of(self, value: str | None) -> int:
        """The limit for that value of the label; a missing label has the one that is left."""
        if self.by_value is None or value is None:
            return self.otherwise
        return self.by_value.get(value, self.otherwise)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit per window and scope. Which requests it applies to is kept by the engine."""

    name: str
    limit: Limit
    per: Per
    for_each: tuple[str, ...] = ()
    warn_at: tuple[Fraction, ...] = ()
    """Shares of the limit at which a finding warns, highest first."""
    approver: str = ""
    """Who is asked when it is full; empty where nobody can be asked."""
    where: str = ""
    downgrade: Downgrade | None = None
    """How a request goes down when it is full; None where full means deny or ask."""

    def allowance(
        self, labels: Mapping[str, str], at: datetime, calendar: Calendar, blocks: bool
    ) -> Allowance:
        """The allowance that a job with these labels, booked at that instant, counts in."""
        scope = tuple((label, labels.get(label)) for label in self.for_each)
        start, end = calendar.window(self.per, at)
        limit = self.limit.of(scope[0][1] if scope else None)
        return Allowance(self.name, scope, start, end, limit, self.limit.unit, blocks)


class Calendar:
    """Windows in one zone; remembers the last of each kind, because instants come in clusters."""

    __slots__ = ("_last", "zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._last: dict[Per, tuple[datetime, datetime | None]] = {}

    def window(self, per: Per, at: datetime) -> tuple[datetime, datetime | None]:
        found = self._last.get(per)
        if found and found[0] <= at and (found[1] is None or at < found[1]):
            return found
        self._last[per] = found = window(per, at, self.zone)
        return found


def window(per: Per, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime | None]:
    """The window [start, end) in UTC that an instant falls in; `total` has no end.

    Weeks start on Monday. Days of 23 and 25 hours are as long as they are, and a local hour that
    the clock repeats is one window of two hours.

    >>> start, end = window("day", datetime(2026, 10, 25, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    >>> start.isoformat(), (end - start).total_seconds() / 3600
    ('2026-10-24T22:00:00+00:00', 25.0)
    """
    if at.tzinfo is None:
        raise ValueError("an instant needs its offset from UTC")
    if per == "total":
        return BEGINNING, None
    start = _start_of(per, at.astimezone(zone).replace(tzinfo=None, fold=0))
    end = _next(per, start)
    # Where the clock is set back across a boundary, the wall reads the old window for a second time.
    # Time has moved on by then, so the instant stays in the later window.
    while _first_instant(end, zone) <= at:
        start, end = end, _next(per, end)
    return _first_instant(start, zone), _first_instant(end, zone)


def _start_of(per: Per, wall: datetime) -> datetime:
    """Where the window begins on the wall clock."""
    if per == "hour":
        return wall.replace(minute=0, second=0, microsecond=0)
    day = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    match per:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(day=1, month=day.month - (day.month - 1) % 3)
        case "year":
            return day.replace(day=1, month=1)
        case _:
            return day


def _next(per: Per, start: datetime) -> datetime:
    """Where the window after the one that begins there begins, on the wall clock."""
    match per:
        case "hour":
            return start + timedelta(hours=1)
        case "week":
            return start + timedelta(days=7)
        case "month" | "quarter":
            months = start.month - 1 + (1 if per == "month" else 3)
            return start.replace(year=start.year + months // 12, month=months % 12 + 1)
        case "year":
            return start.replace(year=start.year + 1)
        case _:
            return start + timedelta(days=1)


def _first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the local clock shows that time or a later one, in UTC."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # The clock jumps over that time. The jump lies after `early`, read with the offset that holds
    # once it has happened, and not after `first`.
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    seconds = int((first - early).total_seconds())
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        shown = (early + timedelta(seconds=middle)).astimezone(zone).replace(tzinfo=None)
        low, high = (low, middle) if shown >= wall else (middle, high)
    return early + timedelta(seconds=high)
