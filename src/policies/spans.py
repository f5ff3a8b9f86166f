"""Stretches between which no condition can tell: of what is spent of a budget, and of time.

Here belong where such a stretch begins and where it ends. Which conditions there are, and what they let
hold in it, belongs to `space`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import lcm
from typing import Final
from zoneinfo import ZoneInfo

MIDNIGHT: Final = 0
_MINUTES_A_DAY: Final = 1440
_DAYS: Final = 15
"""In so many days every minute of every weekday comes, even one that the clock jumps over once."""


@dataclass(frozen=True, slots=True)
class Span:
    """Amounts spent of a budget, from the least to the most, between which no condition can tell."""

    least: int
    most: int
    share: Fraction
    """The used share at the least of them."""


def spans(bounds: Sequence[Fraction], limit: int) -> Iterator[Span]:
    """The amounts at each bound and between two of them; the last are those past all bounds.

    >>> [(span.least, span.most) for span in spans([Fraction(1, 2), Fraction(1)], 10)]
    [(0, 4), (5, 5), (6, 9), (10, 10), (11, 11)]
    """
    if limit == 0:
        yield Span(0, 0, Fraction(1))
        return
    start = 0
    for bound in bounds:
        edge = bound * limit
        below = -(-edge.numerator // edge.denominator) - 1  # the last whole amount under the bound
        if start <= below:
            yield Span(start, below, Fraction(start, limit))
        if edge.denominator == 1:
            yield Span(int(edge), int(edge), bound)
        start = int(edge) + 1
    yield Span(start, max(start, limit), Fraction(start, limit))


def fine(bounds: Sequence[Fraction]) -> int:
    """A limit of which each bound is a whole amount, with others before and after it.

    >>> fine([Fraction(1, 2), Fraction(4, 5)])
    20
    """
    return 2 * lcm(*(bound.denominator for bound in bounds))


def stretch(edges: Sequence[int], minute: int) -> int:
    """The edge at or before a minute of the day; the last of the day before where none is."""
    return max((edge for edge in edges if edge <= minute), default=edges[-1] if edges else MIDNIGHT)


def instants(
    edges: Collection[int], zones: Collection[ZoneInfo], since: datetime, until: datetime | None
) -> list[datetime]:
    """The first instant, and each one after it at which a day begins or a clock reaches an edge.

    In time [since, until), the earliest first. Every time of day on every weekday is as long on the
    clock as one of them says, where there is time enough.

    >>> berlin, since = ZoneInfo("Europe/Berlin"), datetime(2026, 3, 28, 20, tzinfo=UTC)
    >>> found = instants([150], [berlin], since, datetime(2026, 3, 29, 20, tzinfo=UTC))
    >>> [f"{at.astimezone(berlin):%a %H:%M}" for at in found]  # The clock jumps from 2 to 3.
    ['Sat 21:00', 'Sun 00:00', 'Sun 03:00']
    """
    found = {since}
    for zone in zones:
        day = since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for days in range(_DAYS):
            for minute in {MIDNIGHT, *(edge % _MINUTES_A_DAY for edge in edges)}:
                found |= _shown(day + timedelta(days=days, minutes=minute), zone)
    return sorted(at for at in found if since <= at and (until is None or at < until))


def _shown(wall: datetime, zone: ZoneInfo) -> set[datetime]:
    """When the clock shows that time, twice where it is set back; after a jump the first it shows."""
    while True:
        both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        if found := {at for at in both if at.astimezone(zone).replace(tzinfo=None) == wall}:
            return found
        wall += timedelta(minutes=1)
