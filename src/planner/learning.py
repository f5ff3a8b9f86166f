"""What observed requests teach about service times: a latency profile fitted to them.

Here belong the fit and holding a profile against what was observed later. A profile as a value belongs to
`latency`, where observations come from to `history` and the ledger.

How it is fitted: each observation is compared with the profile it starts from, as the logarithm of their
ratio, because what makes a job slow multiplies. That is taken apart into the load of its hour of the day
and the part of its kind of job; a kind with few observations is believed less than the wider groups it
belongs to (the same mode, resolution and face; all with a face or all without; all), and the widest less
than the profile it starts from. What is left over is how far jobs spread.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from planner.latency import Z90, LatencyProfile, Row, Seconds
from planner.past import COMPLETED, PastRequest
from planner.prices import PriceBook
from planner.quoting import CELLS, price_cell

PRIOR_JOBS: Final = 20
"""What is believed beforehand weighs as much as this many observations."""

TAIL_JOBS: Final = 100
"""The same for how far jobs spread, which only the slowest tenth of them tells."""

LEAST_SIGMA: Final = 0.01
"""No job takes exactly as long as the one before it."""

LOAD_JOBS: Final = 480
"""Fewer observations than this, twenty for each hour of the day, say nothing about hours."""

LOAD_SHOWS: Final = 4.0
"""How many times more the hours must differ than chance would let them (the F statistic)."""

ROUNDS: Final = 5
"""Hours and kinds are told apart by turns; after this many the parts no longer move."""

LONGEST_RATIO: Final = 20.0
"""What took that many times as long, or as short, as expected was not a job but an accident."""

Group = Callable[[Row], Hashable]

_GROUPS: Final[tuple[Group, ...]] = (
    lambda row: None,
    lambda row: row[2],
    lambda row: row[:3],
    lambda row: row,
)
"""From the widest to the kind itself."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One request that completed: its kind, the hour of the day (UTC) it was sent in, how long it took."""

    row: Row
    hour: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many observations a profile's percentiles cover, of how many."""

    observations: int
    within_p50: int
    within_p90: int

    @property
    def p50_share(self) -> float:
        return self.within_p50 / self.observations

    @property
    def p90_share(self) -> float:
        return self.within_p90 / self.observations


def observed(past: Iterable[PastRequest], book: PriceBook) -> Iterator[Observation]:
    """What past requests teach: those that completed, and say when."""
    for one in past:
        if one.status != COMPLETED or one.completed_at is None:
            continue
        resolution, mode, face, images = CELLS[price_cell(one.request)]
        billed = mode or book.entry_at(one.submitted_at).omitted_mode[resolution]
        seconds = (one.completed_at - one.submitted_at).total_seconds()
        yield Observation((billed, resolution, face, images), one.submitted_at.hour, seconds)


def fit(observed: Iterable[Observation], prior: LatencyProfile, name: str) -> LatencyProfile:
    """A profile that has learned from what was observed; without observations it is `prior` renamed.

    >>> from planner.loading import shipped_latency
    >>> row = ("fast", "1k", False, 1)
    >>> slow = [Observation(row, 9, 28.0)] * 20
    >>> learned = fit(slow, shipped_latency(), "main@2026-11-23").rows[row]
    >>> round(learned.p50_seconds, 1), learned.basis, learned.observations
    (26.8, 'observed', 20)
    """
    ratios = [(one, _log_ratio(one, prior)) for one in observed]
    known = [(one, ratio) for one, ratio in ratios if abs(ratio) <= math.log(LONGEST_RATIO)]
    if not known:
        return LatencyProfile(name, prior.rows, prior.load)
    kinds, load = _parts(known)
    spread = _spread(known, prior, kinds, load)
    counts = Counter(one.row for one, _ in known)
    rows = {
        row: _learned(seconds, kinds(row), spread(row), counts[row]) for row, seconds in prior.rows.items()
    }
    return LatencyProfile(name, rows, load=tuple(map(math.exp, load)) if any(load) else ())


def cover(profile: LatencyProfile, observed: Iterable[Observation]) -> Coverage:
    """Hold a profile against observations it has not seen."""
    total = within_p50 = within_p90 = 0
    for one in observed:
        expected = profile.in_hour(one.row, one.hour)
        total += 1
        within_p50 += one.seconds <= expected.p50_seconds
        within_p90 += one.seconds <= expected.p90_seconds
    return Coverage(total, within_p50, within_p90)


def _log_ratio(one: Observation, prior: LatencyProfile) -> float:
    return math.log(max(one.seconds, 1e-3) / prior.rows[one.row].p50_seconds)


# -- hours and kinds -----------------------------------------------------------------------------


_Known = Sequence[tuple[Observation, float]]


def _parts(known: _Known) -> tuple[Callable[[Row], float], list[float]]:
    """The part of each kind of job, and that of each hour, which adds up to nothing over all jobs."""
    load = [0.0] * 24
    kinds = _kinds([(one.row, ratio) for one, ratio in known])
    if len(known) < LOAD_JOBS or not _load_shows(known, kinds):
        return kinds, load
    for _ in range(ROUNDS):
        load = _hours([(one.hour, ratio - kinds(one.row)) for one, ratio in known])
        kinds = _kinds([(one.row, ratio - load[one.hour]) for one, ratio in known])
    return kinds, load


def _kinds(parts: Sequence[tuple[Row, float]]) -> Callable[[Row], float]:
    """What each kind adds, believed as far as there is evidence for it."""
    levels = []
    for group in _GROUPS:
        sums: dict[Hashable, list[float]] = defaultdict(list)
        for row, part in parts:
            sums[group(row)].append(part)
        levels.append((group, {key: (fmean(found), len(found)) for key, found in sums.items()}))

    def part_of(row: Row) -> float:
        believed = 0.0
        for group, means in levels:
            mean, number = means.get(group(row), (0.0, 0))
            believed += (mean - believed) * number / (number + PRIOR_JOBS)
        return believed

    remembered: dict[Row, float] = {}
    return lambda row: remembered[row] if row in remembered else remembered.setdefault(row, part_of(row))


def _hours(parts: Sequence[tuple[int, float]]) -> list[float]:
    """What each hour of the day adds to the mean."""
    mean = fmean(part for _, part in parts)
    by_hour = _by_hour(parts)
    return [
        (fmean(found) - mean) * len(found) / (len(found) + PRIOR_JOBS)
        if (found := by_hour.get(hour))
        else 0.0
        for hour in range(24)
    ]


def _by_hour(parts: Sequence[tuple[int, float]]) -> Mapping[int, list[float]]:
    by_hour: dict[int, list[float]] = defaultdict(list)
    for hour, part in parts:
        by_hour[hour].append(part)
    return by_hour


def _load_shows(known: _Known, kinds: Callable[[Row], float]) -> bool:
    """Whether hours differ by more than chance: the F statistic of their means."""
    parts = [(one.hour, ratio - kinds(one.row)) for one, ratio in known]
    by_hour = _by_hour(parts)
    mean = fmean(part for _, part in parts)
    between = sum(len(found) * (fmean(found) - mean) ** 2 for found in by_hour.values())
    within = sum((part - fmean(found)) ** 2 for found in by_hour.values() for part in found)
    freedom = len(parts) - len(by_hour)
    if len(by_hour) < 2 or freedom <= 0 or within == 0.0:
        return False
    return between / (len(by_hour) - 1) > LOAD_SHOWS * within / freedom


# -- spread --------------------------------------------------------------------------------------


def _spread(
    known: _Known, prior: LatencyProfile, kinds: Callable[[Row], float], load: Sequence[float]
) -> Callable[[Row], float]:
    """The standard deviation of what is left of each kind, believed as far as there is evidence for it."""
    levels = []
    for group in _GROUPS[1:]:
        squares: dict[Hashable, list[float]] = defaultdict(list)
        for one, ratio in known:
            squares[group(one.row)].append((ratio - kinds(one.row) - load[one.hour]) ** 2)
        levels.append((group, {key: (fmean(found), len(found)) for key, found in squares.items()}))

    def spread_of(row: Row) -> float:
        believed = prior.rows[row].sigma ** 2
        for group, variances in levels:
            variance, number = variances.get(group(row), (believed, 0))
            believed += (variance - believed) * number / (number + TAIL_JOBS)
        return math.sqrt(believed)

    return spread_of


def _learned(before: Seconds, part: float, sigma: float, number: int) -> Seconds:
    p50 = before.p50_seconds * math.exp(part)
    basis = "observed" if number >= PRIOR_JOBS else before.basis
    return Seconds(p50, p50 * math.exp(Z90 * max(sigma, LEAST_SIGMA)), basis, number)
