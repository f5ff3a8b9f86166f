"""What less money does to a workload: the best settings for each of several limits, and when they are done.

Here belongs the curve of credits against finish time, each point the fit of least loss under its limit.
How a curve is drawn belongs to `report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from planner.capacity import Capacity, simulate
from planner.fitting import Fit, Group, Market, Wish, as_asked, fit
from planner.ladders import GiveUp
from planner.relaxing import least_credits

MOST_POINTS: Final = 12


@dataclass(frozen=True, slots=True)
class Point:
    """The settings that lose least for so many credits, and how long a batch with them takes."""

    fit: Fit
    finish: Capacity


def frontier(
    demand: Mapping[Group, int], order: Sequence[Group], give_up: GiveUp, market: Market
) -> tuple[Point, ...]:
    """At most `MOST_POINTS` points, from everything given up to everything as asked, evenly in credits.

    `order` are the groups of the jobs in file order. Raises `InputError` with the code `missing_extra`
    without the solver.
    """
    asked = as_asked(demand, market)
    least = least_credits(demand, Wish(give_up), market) or 0
    spread, last = asked.credits - least, MOST_POINTS - 1
    limits = sorted({least + spread * place // last for place in range(MOST_POINTS)})
    fits = [fit(demand, Wish(give_up, at_most_credits=limit), market) for limit in limits]
    distinct = {found.vector[-2:]: found for found in fits if found is not None}
    return tuple(Point(found, finish(found, order, market)) for found in distinct.values())


def finish(found: Fit, order: Sequence[Group], market: Market) -> Capacity:
    """How long a batch takes with those settings, simulated over its jobs in file order."""
    return simulate(bytes(found.cells(order)), market.by_cell, market.limits)
