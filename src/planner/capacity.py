"""How long a batch takes under the provider's limits: the pacer in virtual time.

Here belong simulation and its percentiles, and what the batch waits for. The timing rules themselves
are `pacing`'s, the service times `latency`'s; fitting a batch into a deadline is not done here.

There are two forms of the same queue. `step` drives the pacer event by event, polls included: exact,
used to check the other. `schedule` is the recursion

    start[i] = max(start[i - 1], start[i - 50] + window, earliest free slot)

which gives the same instants when ends are seen at once, ten times as fast. It knows no polls, so
`simulate` adds to each job what polling would: a job that ends before its first look is seen at that
look, and every end half a round of looks later. What both leave out: the time a request travels,
failed jobs, other processes, and that the pacer learns when estimates are off.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from itertools import chain, repeat
from random import Random
from statistics import fmean, median, quantiles
from typing import Any, Final, Literal

from planner.latency import Seconds
from planner.pacing import FIRST_LOOK, FREE_SHARE, WINDOW_MARGIN, Limits, Pacer, order

MOST_JOBS: Final = 20_000
"""A larger batch is extrapolated from this many of its jobs."""

RUN_JOBS: Final = 100
"""Sampled jobs stand in runs of this many: two rate windows, and enough runs to cover a file."""

MOST_DRAWS: Final = 400_000
"""Service times drawn for one answer, over all trials: about a third of a second."""

FEWEST_TRIALS: Final = 20
MOST_TRIALS: Final = 200

RATE_BINDS: Final = 0.01
"""The rate limits a batch when slots stand empty because of it for more than this share of the time."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run of a batch: when each job started, and when the last one was seen to have ended."""

    starts: list[float]
    finish_seconds: float
    idle_seconds: float = 0.0
    """Slot-seconds for which a slot was free and a job waited because the rate window was full."""
    polls: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """How long a batch takes and why."""

    p50_seconds: float
    p90_seconds: float
    lower_bound_seconds: float
    """The median of what no order and no pacer could beat for the same service times."""
    limited_by: Literal["concurrency", "rate"]
    slots_busy: float
    """The share of all slot-seconds, from the first start to the last end, in which a job ran."""
    method: str
    """`simulated`, or from how many of the jobs the figures were extrapolated."""

    def as_json(self) -> dict[str, Any]:
        """The part of the `plan` document that speaks of time."""
        return {
            "finish_seconds": {
                "p50": round(self.p50_seconds, 1),
                "p90": round(self.p90_seconds, 1),
                "lower_bound": round(self.lower_bound_seconds, 1),
            },
            "limited_by": self.limited_by,
            "slots_busy": round(self.slots_busy, 3),
            "method": self.method,
        }


def schedule(durations: Sequence[float], limits: Limits) -> Schedule:
    """The batch in the given order, each end seen at once; durations in seconds.

    >>> schedule([5.0, 1.0, 1.0], Limits(concurrency=2)).starts
    [0.0, 0.0, 1.0]
    """
    rate, window = limits.run.limit, limits.run.seconds * WINDOW_MARGIN
    free = [0.0] * limits.concurrency
    starts: list[float] = []
    start = 0.0
    windows = chain(repeat(-window, rate), starts)  # the second part grows as fast as it is read
    for duration, opened in zip(durations, windows, strict=False):
        if free[0] > start:
            start = free[0]
        if opened + window > start:
            start = opened + window
        starts.append(start)
        heapreplace(free, start + duration)
    return Schedule(starts, max(free), sum(free) - sum(durations))


def step(
    expected: Sequence[Seconds], durations: Sequence[float], limits: Limits, *, polling: bool = True
) -> Schedule:
    """The same batch driven through the pacer; with `polling`, an end is seen only by asking.

    `expected` is what the pacer believes, `durations` is what happens.
    """
    pacer: Pacer[int] = Pacer(limits)
    starts: list[float] = []
    ends: list[tuple[float, int]] = []
    now, polls = 0.0, 0
    while len(starts) < len(durations) or pacer.in_flight:
        job = len(starts)
        start_at = pacer.start_at(now) if job < len(durations) else None
        look = pacer.next_poll(now) if polling else min(ends, default=None)
        if start_at is not None and (look is None or start_at < look[0]):
            now = start_at
            pacer.started(job, now, expected[job])
            starts.append(now)
            ends.append((now + durations[job], job))
        elif look is not None:
            now, seen = look
            if polling:
                pacer.polled(seen, now)
                polls += 1
            if (end := starts[seen] + durations[seen]) <= now:
                pacer.finished(seen, now)
                ends.remove((end, seen))
    return Schedule(starts, now, polls=polls)


def simulate(
    cells: Sequence[int], by_cell: Sequence[Seconds], limits: Limits | None = None, *, seed: int = 0
) -> Capacity:
    """How long a batch takes, over many draws of its service times.

    `cells` are the jobs in file order as price cells (`Quote.cell`; `bytes` is the compact form),
    `by_cell` the service time of each cell (`LatencyProfile.by_cell`). The same seed gives the same
    answer. Up to `MOST_JOBS` jobs are simulated; of more, a run from each stretch of the file is. The
    total is taken to grow with the work (where the rate limits: with the jobs), its spread with the
    square root of that.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> by_cell = shipped_latency().by_cell(shipped_prices().entry_at())
    >>> found = simulate(bytes([8] * 240), by_cell)
    >>> found.limited_by, 560 < found.lower_bound_seconds < found.p50_seconds < 660
    ('concurrency', True)
    """
    limits = limits or Limits()
    if not cells:
        return Capacity(0.0, 0.0, 0.0, "concurrency", 0.0, "simulated")
    rng = Random(seed)
    sample = _sample(cells, rng)
    expected = [by_cell[cell] for cell in sample]
    expected = [expected[place] for place in order([item.p50_seconds for item in expected])]
    trials = min(MOST_TRIALS, max(FEWEST_TRIALS, MOST_DRAWS // len(sample)))
    found = _summary(_trials(expected, limits, trials, rng))
    if len(sample) == len(cells):
        return found
    growth = len(cells) / len(sample)
    if found.limited_by == "concurrency":
        work = sum(by_cell[cell].mean_seconds * jobs for cell, jobs in Counter(cells).items())
        growth = work / math.fsum(item.mean_seconds for item in expected)
    return _grown(found, growth, f"extrapolated from {len(sample):,} jobs")


def _sample(cells: Sequence[int], rng: Random) -> Sequence[int]:
    """At most `MOST_JOBS` cells in file order: one run at random from each of as many equal stretches.

    Runs, because what limits a batch depends on which jobs stand together; at random, because files
    repeat, and every hundredth row may well be the same product.
    """
    if len(cells) <= MOST_JOBS:
        return cells
    runs = MOST_JOBS // RUN_JOBS
    stretch = len(cells) / runs
    starts = [int(run * stretch + rng.random() * (stretch - RUN_JOBS)) for run in range(runs)]
    return [cell for start in starts for cell in cells[start : start + RUN_JOBS]]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What one draw of the service times came to."""

    finish_seconds: float
    lower_bound_seconds: float
    idle_share: float
    slots_busy: float


def _trials(expected: Sequence[Seconds], limits: Limits, trials: int, rng: Random) -> Iterator[_Trial]:
    shapes = [(item.p50_seconds, item.sigma) for item in expected]
    first_looks = [FIRST_LOOK * item.p50_seconds for item in expected]
    delay, exp, normals = look_delay_seconds(limits), math.exp, _normals(rng)
    for _ in range(trials):
        durations = [p50 * exp(sigma * normal) for (p50, sigma), normal in zip(shapes, normals, strict=False)]
        looks = zip(durations, first_looks, strict=True)
        run = schedule([(end if end > look else look) + delay for end, look in looks], limits)
        slot_seconds = limits.concurrency * run.finish_seconds
        yield _Trial(
            run.finish_seconds,
            lower_bound_seconds(durations, limits),
            run.idle_seconds / slot_seconds,
            math.fsum(durations) / slot_seconds,
        )


def _normals(rng: Random) -> Iterator[float]:
    """Draws from the standard normal distribution, those of `rng.gauss` one by one, in half the time."""
    random, log, sqrt, cos, sin = rng.random, math.log, math.sqrt, math.cos, math.sin
    while True:
        angle = random() * math.tau
        radius = sqrt(-2.0 * log(1.0 - random()))
        yield cos(angle) * radius
        yield sin(angle) * radius


def look_delay_seconds(limits: Limits) -> float:
    """How long after its end a job is seen to have ended, on average: half a round of looks.

    A round asks about the job itself and those of the other slots that are past their first look.
    """
    between_looks = limits.status.seconds * WINDOW_MARGIN / (FREE_SHARE * limits.status.limit)
    return between_looks * (1 + (1 - FIRST_LOOK) * (limits.concurrency - 1)) / 2


def lower_bound_seconds(durations: Sequence[float], limits: Limits) -> float:
    """What no order and no pacer can beat under the provider's own limits.

    The work spread evenly over the slots, the longest job, or the last start that the rate allows
    and the shortest job after it: whichever is the most.

    >>> lower_bound_seconds([4.0, 3.0, 5.0], Limits(concurrency=2))
    6.0
    """
    full_windows = (len(durations) - 1) // limits.run.limit
    return max(
        math.fsum(durations) / limits.concurrency,
        max(durations),
        full_windows * limits.run.seconds + min(durations),
    )


def _summary(trials: Iterable[_Trial]) -> Capacity:
    runs = list(trials)
    deciles = quantiles([run.finish_seconds for run in runs], n=10, method="inclusive")
    return Capacity(
        p50_seconds=deciles[4],
        p90_seconds=deciles[8],
        lower_bound_seconds=median(run.lower_bound_seconds for run in runs),
        limited_by="rate" if fmean(run.idle_share for run in runs) > RATE_BINDS else "concurrency",
        slots_busy=fmean(run.slots_busy for run in runs),
        method="simulated",
    )


def _grown(found: Capacity, growth: float, method: str) -> Capacity:
    """The figures of a batch `growth` times as large: totals add up, independent spreads in squares."""
    p50 = found.p50_seconds * growth
    return replace(
        found,
        p50_seconds=p50,
        p90_seconds=p50 + (found.p90_seconds - found.p50_seconds) * math.sqrt(growth),
        lower_bound_seconds=found.lower_bound_seconds * growth,
        method=method,
    )
