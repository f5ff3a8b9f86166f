"""What has to be done while a batch runs: asking about jobs, and fetching pictures before they are gone.

Here belong the share of the status limit that asking uses, and the instants by which the first pictures
must be home. When a job is asked about is `pacing`'s; fetching itself needs a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from planner.capacity import Draws
from planner.latency import Seconds
from planner.pacing import BASE64_SECONDS, CDN_SECONDS, Limits
from planner.queues import step

MOST_WATCHED: Final = 240
"""Jobs whose polls are simulated one by one: dozens for each, ten times as slow as all the rest."""


@dataclass(frozen=True, slots=True)
class Polls:
    """How often a batch is asked about."""

    per_job: float
    total: int
    status_share: float
    """Of what the status limit allows in that time."""

    def as_json(self) -> dict[str, Any]:
        """The `polls` in the `timing` of the `plan` document."""
        return {
            "per_job": round(self.per_job, 1),
            "total": self.total,
            "status_share": round(self.status_share, 3),
        }


@dataclass(frozen=True, slots=True)
class Expiry:
    """When the first pictures are gone if nobody fetches any, in seconds from the start."""

    first_output_seconds: float
    finish_seconds: float
    """When nine of ten runs are done."""

    @property
    def cdn_seconds(self) -> float:
        return self.first_output_seconds + CDN_SECONDS

    @property
    def private_seconds(self) -> float:
        return self.first_output_seconds + BASE64_SECONDS

    @property
    def outlasts_cdn(self) -> bool:
        """Whether the first pictures are gone before the last are made."""
        return self.finish_seconds > self.cdn_seconds

    @property
    def outlasts_private(self) -> bool:
        return self.finish_seconds > self.private_seconds

    def as_json(self) -> dict[str, Any]:
        """The `outputs_expire` in the `timing` of the `plan` document."""
        return {
            "first_output_seconds": round(self.first_output_seconds, 1),
            "cdn_seconds": round(self.cdn_seconds, 1),
            "private_seconds": round(self.private_seconds, 1),
            "before_the_end": {"cdn": self.outlasts_cdn, "private": self.outlasts_private},
        }


def polls(draws: Draws, by_cell: Sequence[Seconds], limits: Limits | None = None) -> Polls:
    """How often the pacer would ask, from the first of the jobs, each asked about until it is seen to end.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> by_cell = shipped_latency().by_cell(shipped_prices().entry_at())
    >>> found = polls(Draws.of(bytes([8] * 60), by_cell), by_cell)
    >>> 1 < found.per_job < 20, 0.1 < found.status_share < 0.7
    (True, True)
    """
    limits = limits or Limits()
    if not draws.jobs:
        return Polls(0.0, 0, 0.0)
    watched = draws.cells[:MOST_WATCHED]
    durations = draws.trials[0].seen_seconds[:MOST_WATCHED]
    run = step([by_cell[cell] for cell in watched], durations, limits)
    per_job = run.polls / len(watched)
    allowed = limits.status.limit * run.finish_seconds / limits.status.seconds
    return Polls(per_job, round(per_job * draws.jobs), run.polls / allowed)


def expiry(draws: Draws, finish_seconds: float, limits: Limits | None = None) -> Expiry:
    """When the first pictures would be gone, of a batch that takes `finish_seconds`.

    >>> Expiry(20.0, 4 * 86400.0).outlasts_cdn
    True
    """
    slots = (limits or Limits()).concurrency
    first = [min(trial.seen_seconds[:slots]) for trial in draws.trials]
    return Expiry(median(first) if first else 0.0, finish_seconds)
