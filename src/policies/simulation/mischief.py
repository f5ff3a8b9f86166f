"""What goes wrong in one life: drawn once, from the life's seed and from how much is to go wrong.

Here belong the odds and what they are drawn from. What the faults of the provider do belongs to the
sandbox, what a crash does to `process`, when the clock jumps and credits come to `life`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from policies.server.sandbox.faults import Faults

_NEVER_ENDING: Final = "stuck"


class Trouble(Enum):
    """What may happen to a process at one of its steps."""

    DIES_BEFORE = auto()
    DIES_AFTER = auto()
    INTERRUPTED = auto()
    """Somebody pressed Ctrl-C: nothing more is sent, and what is in flight is brought home."""
    CANCELLED = auto()
    """The host cancelled the run: whatever waits is cut off."""
    HANGS = auto()
    """The step takes minutes, as on a stuck disk or line, and the others of the process go on."""


@dataclass(frozen=True, slots=True)
class Mischief:
    """The misfortunes of one life; seconds are virtual and counted from its beginning."""

    seed: int
    starts_at: datetime
    processes: int = 1
    faults: Faults = field(default_factory=Faults)
    trouble_odds: float = 0.0
    """How likely trouble is at one step of one process."""
    jumps: tuple[tuple[float, float], ...] = ()
    """When the host's clock is set, and by how many seconds."""
    balance_credits: int | None = None
    """What is on the account at first; None: more than enough."""
    top_up_seconds: float = 0.0
    """When enough credits come, where there were too few."""

    @classmethod
    def of(
        cls,
        seed: int,
        rate: float,
        *,
        most_processes: int,
        workload_credits: int,
        after: datetime,
        zone: ZoneInfo,
    ) -> Mischief:
        """The life of that seed. `rate` is how likely it is that something befalls a call or a job.

        `after` is the earliest instant it may begin at: half of all lives begin shortly before a
        midnight of `zone`, so that windows end while they last.
        """
        chance = Random(f"life {seed}")
        processes = min(chance.randint(1, most_processes), chance.randint(1, most_processes))
        starts_at = _beginning(chance, after, zone)
        if rate == 0.0:
            return cls(seed, starts_at, processes)
        short = chance.random() < rate
        return cls(
            seed,
            starts_at,
            processes,
            _faults(chance, rate),
            trouble_odds=rate * chance.choice((0.0, 0.005, 0.02)),
            jumps=tuple(_jump(chance) for _ in range(3) if chance.random() < rate),
            balance_credits=int(workload_credits * chance.random()) if short else None,
            top_up_seconds=chance.uniform(60, 3600),
        )

    def calm(self) -> Mischief:
        """The same life without trouble, for its last run."""
        return replace(self, trouble_odds=0.0)


def _beginning(chance: Random, after: datetime, zone: ZoneInfo) -> datetime:
    begins = after + timedelta(seconds=chance.randint(0, 90 * 86_400))
    if chance.random() < 0.5:
        return begins
    day = begins.astimezone(zone).date() + timedelta(days=1)
    first = chance.random() < 0.5
    edge = (day + timedelta(days=31)).replace(day=1) if first else day
    midnight = datetime(edge.year, edge.month, edge.day, tzinfo=zone).astimezone(begins.tzinfo)
    return midnight - timedelta(seconds=chance.randint(1, 900))


def _faults(chance: Random, rate: float) -> Faults:
    """About half of all kinds of faults; together they strike a call, or a job, as often as the rate says."""
    names = [name for name in Faults.names() if chance.random() < 0.5]
    weights = {name: chance.random() for name in names}
    total = sum(weights.values()) or 1.0
    odds = {name: min(1.0, rate * weight / total) for name, weight in weights.items()}
    if chance.random() < 0.9:
        # A job that never ends is waited for a whole day, which finds little else in all that time.
        odds.pop(_NEVER_ENDING, None)
    return Faults(**odds)


def _jump(chance: Random) -> tuple[float, float]:
    by_seconds = chance.choice((-86_400.0, -3_600.0, -30.0, 30.0, 3_600.0, 86_400.0))
    return chance.uniform(0, 3_000), by_seconds
