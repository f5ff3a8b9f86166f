"""How long a request takes: a dated profile of percentiles, one for each price cell.

Here belong service times as values: percentiles, where each comes from, and draws for the simulator.
The figures stand in `data/latency.yaml`, read by `loading`. When a job may start and when to look for
its end belongs to `pacing`; how long a batch takes belongs to `capacity`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from planner.quoting import CELLS

if TYPE_CHECKING:
    from random import Random

    from planner.prices import PriceEntry
    from planner.quoting import Quote

Basis = Literal["documented", "estimated", "observed"]
Row = tuple[str, str, bool, int]
"""(billed mode, resolution, face reference, number of images): what a service time depends on."""

Z90: Final = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long one kind of job takes, as a lognormal distribution through its two percentiles.

    Service times cannot be negative and have a longer tail late than early; the lognormal is the
    simplest distribution of that form, and two percentiles determine it.
    """

    p50_seconds: float
    p90_seconds: float
    basis: Basis
    observations: int = 0
    """How many requests of this very kind the figures have learned from."""

    @property
    def sigma(self) -> float:
        """The standard deviation of the logarithm."""
        return math.log(self.p90_seconds / self.p50_seconds) / Z90

    @property
    def mean_seconds(self) -> float:
        """The mean, which lies above the median because late is later than early is early."""
        return self.p50_seconds * math.exp(self.sigma**2 / 2)

    def draw(self, rng: Random) -> float:
        """One service time in seconds.

        >>> from random import Random
        >>> round(Seconds(14.0, 20.0, "documented").draw(Random(7)), 3)
        13.038
        """
        return self.p50_seconds * math.exp(self.sigma * rng.gauss(0.0, 1.0))

    def scaled(self, factor: float) -> Seconds:
        """The same shape, `factor` times as long; a stand-in at `speed` 20 takes 1/20."""
        return Seconds(self.p50_seconds * factor, self.p90_seconds * factor, self.basis, self.observations)

    def as_json(self) -> dict[str, Any]:
        """The `seconds` object of the `quote` document."""
        return {"p50": round(self.p50_seconds, 1), "p90": round(self.p90_seconds, 1), "basis": self.basis}


@dataclass(frozen=True, slots=True, eq=False)
class LatencyProfile:
    """Service times by what they depend on, under a name that holds their day.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> from planner.quoting import quote
    >>> profile = shipped_latency()
    >>> profile.name
    'fashn-documented@2026-11-22'
    >>> profile.of(quote({"prompt": "x", "resolution": "4k"}, shipped_prices())).as_json()
    {'p50': 95.0, 'p90': 120.0, 'basis': 'documented'}
    """

    name: str
    rows: Mapping[Row, Seconds]
    load: tuple[float, ...] = ()
    """How many times as long as usual a request takes by the hour of the day (UTC) it is sent in: 24
    figures, or none where that is not known."""

    def in_hour(self, row: Row, hour: int) -> Seconds:
        """The service time of a kind of request that is sent in that hour of the day, UTC."""
        found = self.rows[row]
        return found.scaled(self.load[hour]) if self.load else found

    def of(self, quote: Quote) -> Seconds:
        """The service time of a quoted request; an omitted mode takes as long as the billed one."""
        resolution, _, face, images = CELLS[quote.cell]
        return self.rows[quote.billed_mode, resolution, face, images]

    def by_cell(self, entry: PriceEntry) -> tuple[Seconds, ...]:
        """The service times of all 96 price cells of an entry, in the order of `CELLS`."""
        return tuple(
            self.rows[mode or entry.omitted_mode[resolution], resolution, face, images]
            for resolution, mode, face, images in CELLS
        )
