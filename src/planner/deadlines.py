"""Whether a batch keeps a deadline, and the least that would have to be different about its limits.

Here belongs the search over limits: how many at once, how many starts a minute. What is given up of the
pictures so that fewer seconds are needed belongs to `fitting`; the simulation itself to `capacity`.

A deadline is kept when nine of ten runs are done by then. All limits are tried on the same draws of the
service times, so that one answer differs from the next by the limits alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, inf
from statistics import quantiles
from typing import Any, Literal

from planner.capacity import Capacity, Draws
from planner.pacing import WINDOW_MARGIN, Limits, Rate

Hindrance = Literal["longest_job", "rate", "concurrency"]


@dataclass(frozen=True, slots=True)
class Least:
    """The least figure of one limit under which the deadline is kept; None where none is enough."""

    figure: int | None
    p90_seconds: float
    """With that figure; where there is none, the best that any reaches."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether a deadline is kept, and what would keep it."""

    deadline_seconds: float
    limits: Limits
    finish: Capacity
    longest_seconds: float
    """What the longest job alone takes, in nine of ten runs."""
    concurrency: Least
    """With the rate as it is."""
    rate: Least
    """Starts in each window of the rate, with as many at once as now."""
    both: tuple[Least, Least] | None
    """How many at once and then how many starts, where neither alone is enough but both together are."""

    @property
    def is_kept(self) -> bool:
        return self.finish.p90_seconds <= self.deadline_seconds

    @property
    def hindrance(self) -> Hindrance | None:
        """What no higher limit changes, or which limit would have to be higher; None where it is kept."""
        if self.is_kept:
            return None
        if self.longest_seconds > self.deadline_seconds:
            return "longest_job"
        return self.finish.limited_by

    def as_json(self) -> dict[str, Any]:
        """The `deadline` in the `timing` of the `plan` document."""
        return {
            "deadline_seconds": round(self.deadline_seconds, 1),
            "kept": self.is_kept,
            "p90_seconds": round(self.finish.p90_seconds, 1),
            "hindrance": self.hindrance,
            "longest_job_p90_seconds": round(self.longest_seconds, 1),
            "least_concurrency": self.concurrency.figure,
            "least_rate": self.rate.figure,
            "least_of_both": self.both and [least.figure for least in self.both],
        }


def outlook(draws: Draws, deadline_seconds: float, limits: Limits | None = None) -> Outlook:
    """Whether nine of ten runs of a batch keep a deadline under these limits, and the ways out.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> by_cell = shipped_latency().by_cell(shipped_prices().entry_at())
    >>> found = outlook(Draws.of(bytes([8] * 240), by_cell), 450.0)
    >>> found.is_kept, found.hindrance, found.concurrency.figure, found.rate.figure
    (False, 'concurrency', 9, None)
    """
    limits = limits or Limits()
    concurrency = least_concurrency(draws, deadline_seconds, limits)
    rate = least_rate(draws, deadline_seconds, limits)
    longest = longest_job_seconds(draws)
    neither = concurrency.figure is None and rate.figure is None
    return Outlook(
        deadline_seconds=deadline_seconds,
        limits=limits,
        finish=draws.under(limits),
        longest_seconds=longest,
        concurrency=concurrency,
        rate=rate,
        both=_both(draws, deadline_seconds, limits) if neither and longest <= deadline_seconds else None,
    )


def least_concurrency(draws: Draws, deadline_seconds: float, limits: Limits) -> Least:
    """The fewest jobs at once with which nine of ten runs keep the deadline, the rate as it is.

    More than ever run at the same time are not tried: no job would wait for a slot any more.
    """
    windows = 1 + ceil(_extreme(draws, longest=True) / (limits.run.seconds * WINDOW_MARGIN))
    most = min(_most(draws), limits.run.limit * windows)
    first = ceil(limits.concurrency * _p90(draws, limits) / max(deadline_seconds, 1.0))
    return _least(
        lambda slots: _p90(draws, replace(limits, concurrency=slots)), deadline_seconds, first, most
    )


def least_rate(draws: Draws, deadline_seconds: float, limits: Limits) -> Least:
    """The fewest starts in a window of the rate with which nine of ten runs keep the deadline.

    More than the slots ever start in one window are not tried: no start would wait for the rate any more.
    """
    turns = 1 + ceil(limits.run.seconds * WINDOW_MARGIN / max(_extreme(draws, longest=False), 1e-3))
    most = min(_most(draws), limits.concurrency * turns)
    first = ceil(limits.run.limit * _p90(draws, limits) / max(deadline_seconds, 1.0))
    return _least(lambda starts: _p90(draws, _with_rate(limits, starts)), deadline_seconds, first, most)


def longest_job_seconds(draws: Draws) -> float:
    """What the longest of the jobs takes by itself, in nine of ten draws; more at once changes nothing."""
    longest = [trial.longest_seconds for trial in draws.trials]
    return quantiles(longest, n=10, method="inclusive")[8] if longest else 0.0


def _both(draws: Draws, deadline_seconds: float, limits: Limits) -> tuple[Least, Least] | None:
    """The fewest at once if starts were free, and then the fewest starts for so many at once."""
    concurrency = least_concurrency(draws, deadline_seconds, _with_rate(limits, _most(draws)))
    if concurrency.figure is None:
        return None
    rate = least_rate(draws, deadline_seconds, replace(limits, concurrency=concurrency.figure))
    return None if rate.figure is None else (concurrency, rate)


def _most(draws: Draws) -> int:
    """The most jobs at once that the draws can tell of: all of a batch, a quarter where it is a sample."""
    return max(1, len(draws.cells) if len(draws.cells) == draws.jobs else len(draws.cells) // 4)


def _p90(draws: Draws, limits: Limits) -> float:
    return draws.under(limits).p90_seconds


def _with_rate(limits: Limits, starts: int) -> Limits:
    return replace(limits, run=Rate(starts, limits.run.seconds))


def _extreme(draws: Draws, *, longest: bool) -> float:
    """The longest or the shortest service time in any draw."""
    if not draws.trials:
        return 0.0
    if longest:
        return max(trial.longest_seconds for trial in draws.trials)
    return min(trial.shortest_seconds for trial in draws.trials)


def _least(p90_seconds: Callable[[int], float], deadline_seconds: float, first: int, most: int) -> Least:
    """The least figure from 1 to `most` that keeps the deadline; one less does not.

    From `first` up by halves until one keeps it, then between that and the last one that failed. With very
    many at once ends are noticed later, so more is not always sooner; both sides of the answer were tried.
    """
    fails, figure, best = 0, min(max(first, 1), most), inf
    while (kept := p90_seconds(figure)) > deadline_seconds:
        best = min(best, kept)
        if figure == most:
            return Least(None, best)
        fails, figure = figure, min(most, max(figure + 1, figure * 3 // 2))
    while figure - fails > 1:
        middle = (fails + figure) // 2
        if (found := p90_seconds(middle)) <= deadline_seconds:
            figure, kept = middle, found
        else:
            fails = middle
    return Least(figure, kept)
