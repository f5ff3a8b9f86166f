"""How long a batch takes under the provider's limits, over many draws of its service times.

Here belong the draws, the percentiles over them, and what the batch waits for. The queue itself is
`queues`', the service times are `latency`'s; which limits would meet a deadline is `deadlines`'.

The queue knows no polls, so each job is given what polling would add: a job that ends before its first
look is seen at that look, and every end half a round of looks later. What is left out unless it is given:
the time a request travels. What is left out always: failed jobs, other processes, and that the pacer
learns when estimates are off.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, median, quantiles
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from planner.latency import Seconds
from planner.pacing import FIRST_LOOK, FREE_SHARE, WINDOW_MARGIN, Limits, order
from planner.queues import schedule, side_by_side

if TYPE_CHECKING:
    from planner.queues import Table

MOST_JOBS: Final = 20_000
"""A larger batch is extrapolated from this many of its jobs."""

RUN_JOBS: Final = 100
"""Sampled jobs stand in runs of this many: two rate windows, and enough runs to cover a file."""

MOST_DRAWS: Final = 400_000
"""Service times drawn for one answer, over all trials: about a third of a second."""

FEWEST_TRIALS: Final = 20
MOST_TRIALS: Final = 1_000
"""With fewer the band from p1 to p99 of a small batch is now too narrow, now too wide, by a tenth."""

RATE_BINDS: Final = 0.01
"""The rate limits a batch when slots stand empty because of it for more than this share of the time."""

LEAST_ABREAST: Final = 64
"""Fewer trials than this take no less time side by side, by numpy, than one after the other."""

WORTH_AN_IMPORT: Final = 100_000
"""Fewer service times than this are walked before numpy is imported, even for a dozen limits."""


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
    p1_seconds: float = 0.0
    p10_seconds: float = 0.0
    p99_seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The part of the `plan` document that speaks of time."""
        return {
            "finish_seconds": {
                "p1": round(self.p1_seconds, 1),
                "p10": round(self.p10_seconds, 1),
                "p50": round(self.p50_seconds, 1),
                "p90": round(self.p90_seconds, 1),
                "p99": round(self.p99_seconds, 1),
                "lower_bound": round(self.lower_bound_seconds, 1),
            },
            "limited_by": self.limited_by,
            "slots_busy": round(self.slots_busy, 3),
            "method": self.method,
        }


def simulate(
    cells: Sequence[int],
    by_cell: Sequence[Seconds],
    limits: Limits | None = None,
    *,
    seed: int = 0,
    travel_seconds: float = 0.0,
) -> Capacity:
    """How long a batch takes, over many draws of its service times.

    `cells` are the jobs in file order as price cells (`Quote.cell`; `bytes` is the compact form),
    `by_cell` the service time of each cell (`LatencyProfile.by_cell`). The same seed gives the same
    answer. Up to `MOST_JOBS` jobs are simulated; of more, a run from each stretch of the file is. The
    time in which they start is taken to grow with the work (where the rate limits: with the jobs), its
    spread with the square root of that. `travel_seconds` is what a slot spends on each job besides
    running it, where that has been measured: on the way there, and between an end and the next start.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> by_cell = shipped_latency().by_cell(shipped_prices().entry_at())
    >>> found = simulate(bytes([8] * 240), by_cell)
    >>> found.limited_by, 560 < found.lower_bound_seconds < found.p50_seconds < 660
    ('concurrency', True)
    """
    return Draws.of(cells, by_cell, seed=seed).under(limits or Limits(), travel_seconds=travel_seconds)


@dataclass(frozen=True, slots=True)
class Draws:
    """The service times of a batch, drawn many times, so that different limits can meet the same luck."""

    trials: Sequence[Trial]
    table: Table | None
    """What `trials` have in `seen_seconds` as one array, a row for each; None where that does not pay."""
    cells: Sequence[int]
    """The jobs that were drawn for, in the order of starting."""
    jobs: int
    """Those of the whole batch, which may be more."""
    growth: float
    """How many times the work of the jobs that were drawn for the whole batch is."""

    @classmethod
    def of(
        cls, cells: Sequence[int], by_cell: Sequence[Seconds], *, seed: int = 0, often: bool = False
    ) -> Draws:
        """Draws for a batch as `simulate` describes it; `often` where many limits will be asked about."""
        if not cells:
            return cls((), None, b"", 0, 1.0)
        rng = Random(seed)
        sample = _sample(cells, rng)
        drawn = [sample[place] for place in order([by_cell[cell].p50_seconds for cell in sample])]
        expected = [by_cell[cell] for cell in drawn]
        number = min(MOST_TRIALS, max(FEWEST_TRIALS, MOST_DRAWS // len(sample)))
        trials = [*_trials(expected, number, rng)]
        growth = 1.0
        if len(sample) < len(cells):
            work = sum(by_cell[cell].mean_seconds * jobs for cell, jobs in Counter(cells).items())
            growth = work / math.fsum(item.mean_seconds for item in expected)
        found = cls(trials, None, drawn, len(cells), growth)
        return found.tabled() if often else found

    def tabled(self) -> Draws:
        """The same draws, made ready for many limits to be asked about."""
        return replace(self, table=_table(self.trials)) if self.trials else self

    def under(self, limits: Limits, *, travel_seconds: float = 0.0) -> Capacity:
        """How long the batch takes under these limits."""
        if not self.jobs:
            return Capacity(0.0, 0.0, 0.0, "concurrency", 0.0, "simulated")
        runs = self._runs(limits, look_delay_seconds(limits) + travel_seconds)
        found = _summary(self.trials, runs, limits)
        if (drawn := len(self.cells)) == self.jobs:
            return found
        growth = self.growth if found.limited_by == "concurrency" else self.jobs / drawn
        at_once = min(limits.concurrency, limits.run.limit, drawn - 1)
        steady = median(run.last_start for run in runs) * drawn / (drawn - at_once)
        return _grown(found, growth, steady, f"extrapolated from {drawn:,} jobs")

    def _runs(self, limits: Limits, delay_seconds: float) -> list[_Run]:
        if self.table is not None:
            taken = self.table + delay_seconds
            starts, free = side_by_side(taken, limits)
            return [
                _Run(last_start, slots[-1], sum(slots) - sum(durations))
                for last_start, slots, durations in zip(
                    starts[:, -1].tolist(), free.tolist(), taken.tolist(), strict=True
                )
            ]
        delayed = ([end + delay_seconds for end in trial.seen_seconds] for trial in self.trials)
        found = (schedule(durations, limits) for durations in delayed)
        return [_Run(run.starts[-1], run.finish_seconds, run.idle_seconds) for run in found]


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
class Trial:
    """One draw of the service times, in the order of starting."""

    seen_seconds: Sequence[float]
    """How long each job runs, and at least until its first look."""
    work_seconds: float
    longest_seconds: float
    shortest_seconds: float

    def lower_bound_seconds(self, limits: Limits) -> float:
        jobs = len(self.seen_seconds)
        return _bound_seconds(jobs, self.work_seconds, self.longest_seconds, self.shortest_seconds, limits)


def _trials(expected: Sequence[Seconds], number: int, rng: Random) -> Iterator[Trial]:
    shapes = [(item.p50_seconds, item.sigma) for item in expected]
    first_looks = [FIRST_LOOK * item.p50_seconds for item in expected]
    exp, normals = math.exp, _normals(rng)
    for _ in range(number):
        durations = [p50 * exp(sigma * normal) for (p50, sigma), normal in zip(shapes, normals, strict=False)]
        seen = [end if end > look else look for end, look in zip(durations, first_looks, strict=True)]
        yield Trial(seen, math.fsum(durations), max(durations), min(durations))


def _table(trials: Sequence[Trial]) -> Table | None:
    """The durations as one array, where numpy is installed and makes a difference."""
    if len(trials) < LEAST_ABREAST or len(trials) * len(trials[0].seen_seconds) < WORTH_AN_IMPORT:
        return None
    try:
        import numpy as np
    except ImportError:
        return None
    return np.array([trial.seen_seconds for trial in trials])


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
    return _bound_seconds(len(durations), math.fsum(durations), max(durations), min(durations), limits)


def _bound_seconds(jobs: int, work: float, longest: float, shortest: float, limits: Limits) -> float:
    full_windows = (jobs - 1) // limits.run.limit
    return max(work / limits.concurrency, longest, full_windows * limits.run.seconds + shortest)


class _Run(NamedTuple):
    """One trial under some limits."""

    last_start: float
    finish_seconds: float
    idle_seconds: float
    """Slot-seconds lost to the rate."""


def _summary(trials: Sequence[Trial], runs: Sequence[_Run], limits: Limits) -> Capacity:
    finishes = [run.finish_seconds for run in runs]
    deciles = quantiles(finishes, n=10, method="inclusive")
    # One in a hundred lies beyond the few trials at either end: taking those for the ends themselves
    # would make the band from p1 to p99 too narrow.
    centiles = quantiles(finishes, n=100, method="exclusive")
    idle_share = fmean(run.idle_seconds / (limits.concurrency * run.finish_seconds) for run in runs)
    work = [trial.work_seconds for trial in trials]
    return Capacity(
        p50_seconds=deciles[4],
        p90_seconds=deciles[8],
        lower_bound_seconds=median(trial.lower_bound_seconds(limits) for trial in trials),
        limited_by="rate" if idle_share > RATE_BINDS else "concurrency",
        slots_busy=fmean(
            done / (limits.concurrency * finish) for done, finish in zip(work, finishes, strict=True)
        ),
        method="simulated",
        p1_seconds=centiles[0],
        p10_seconds=deciles[0],
        p99_seconds=centiles[98],
    )


def _grown(found: Capacity, growth: float, steady_seconds: float, method: str) -> Capacity:
    """The figures of a batch `growth` times as large: totals add up, independent spreads in squares.

    What grows is the time in which so many jobs start; slots fill once, and run empty once.
    """
    p50 = found.p50_seconds + (growth - 1.0) * steady_seconds

    def spread(seconds: float) -> float:
        return p50 + (seconds - found.p50_seconds) * math.sqrt(growth)

    return replace(
        found,
        p50_seconds=p50,
        p90_seconds=spread(found.p90_seconds),
        lower_bound_seconds=found.lower_bound_seconds * growth,
        method=method,
        p1_seconds=spread(found.p1_seconds),
        p10_seconds=spread(found.p10_seconds),
        p99_seconds=spread(found.p99_seconds),
    )
