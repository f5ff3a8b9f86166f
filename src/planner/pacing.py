"""When to start the next job and which running one to ask about: the pacer, which never does either.

Here belong the provider's limits as values, rate windows, slots and the timing of polls. The caller
owns time: every method takes an instant, as float seconds from any origin, and answers with instants.
The live runner drives it with a monotonic clock, `capacity` with a virtual one. What a job is, how it
is sent and what its answer means belongs to the caller.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import log
from typing import Final, Generic, TypeVar

from planner.latency import Seconds

Job = TypeVar("Job", bound=Hashable)

WINDOW_MARGIN: Final = 1.02
"""Our windows are 2 % longer than the provider's: it counts arrivals, we count departures, and a
request that travels faster than the one 50 before it must not arrive inside that one's window."""

FIRST_LOOK: Final = 0.7
"""The share of the expected time before which no job is asked about: one in twenty has ended by then."""

FREE_SHARE: Final = 0.6
"""The share of the status window that is spent evenly; the rest is for catching up after a pause."""

LIKELY: Final = 0.25
"""From this chance that a job has ended, asking about it is catching up and may use the reserve."""

OVERDUE: Final = 1.5
"""A job this many times its expected time old is late: the estimate says little about it any more."""

PATIENCE: Final = 0.03
"""A late job is asked about again after this share of its lateness, at most one status window."""

LEARNING_RATE: Final = 0.1
"""The weight of the latest job in the running ratio of actual to expected time: about ten jobs."""

MOST_RATIO: Final = 3.0
LEAST_RATIO: Final = 1 / MOST_RATIO
"""The ratio stays between 1/3 and 3: beyond that the jobs are not what the estimates are about."""

LONGEST_FIRST: Final = 36
"""The last jobs of a batch go longest first, so that no slot starts a long job when the others are
done. Six for each of six slots is enough for that; all earlier jobs keep the order of the file."""


CDN_SECONDS: Final = 72 * 3600
BASE64_SECONDS: Final = 3600
"""How long the provider keeps what it made. Source: the provider's documentation, read November 2026."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` events in any `seconds`."""

    limit: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows an account. Source: its documentation, read November 2026."""

    concurrency: int = 6
    run: Rate = Rate(50, 60.0)
    status: Rate = Rate(50, 10.0)

    def scaled(self, speed: float) -> Limits:
        """The limits of a stand-in that runs `speed` times as fast.

        >>> Limits().scaled(20).run
        Rate(limit=50, seconds=3.0)
        """
        run, status = self.run, self.status
        return Limits(
            self.concurrency,
            Rate(run.limit, run.seconds / speed),
            Rate(status.limit, status.seconds / speed),
        )


class RateWindow:
    """Remembers the last events of a rate and says when the next one fits.

    >>> window = RateWindow(Rate(2, 10.0))
    >>> window.take(0.0), window.take(4.0)
    (None, None)
    >>> window.ready_at(5.0)
    10.2
    """

    __slots__ = ("_taken", "limit", "rate", "seconds")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.seconds = rate.seconds * WINDOW_MARGIN
        self.limit = rate.limit
        self._taken: deque[float] = deque(maxlen=rate.limit)

    def share(self, share: float) -> None:
        """Keep to a share of the rate, at least one event a window: others spend the rest."""
        self.limit = min(self.rate.limit, max(1, math.floor(self.rate.limit * share + 1e-9)))

    def ready_at(self, now: float) -> float:
        """The earliest instant, `now` or later, at which one more event keeps to the rate."""
        taken, limit = self._taken, self.limit
        if len(taken) < limit:
            return now
        ready: float = taken[-limit] + self.seconds
        return ready if ready > now else now

    def take(self, now: float) -> None:
        """Count an event; instants never go back."""
        self._taken.append(now)


class _Flight:
    """One running job, as far as looking for its end is concerned."""

    __slots__ = ("_due_at", "expected", "looked_before", "looked_last", "started_at")

    def __init__(self, started_at: float, expected: Seconds) -> None:
        self.started_at = self.looked_before = self.looked_last = started_at
        self.expected = expected

    def looked(self, now: float, ratio: float, longest_silence: float) -> None:
        """The provider was asked; the later the job is, the longer until it is worth asking again."""
        self.looked_before, self.looked_last = self.looked_last, now
        late = now - self.started_at - OVERDUE * ratio * self.expected.p50_seconds
        self._due_at = now + min(max(0.0, PATIENCE * late), longest_silence)

    def due_at(self, ratio: float) -> float:
        """The instant before which asking is a waste."""
        if self.looked_last == self.started_at:
            return self.started_at + FIRST_LOOK * ratio * self.expected.p50_seconds
        return self._due_at

    def chance(self, now: float, ratio: float) -> float:
        """The probability that the job has ended by now, given that it had not at the last look."""
        usual = ratio * self.expected.p50_seconds
        spread = max(self.expected.sigma, 0.01) * math.sqrt(2.0)
        before = _survival((self.looked_last - self.started_at) / usual, spread)
        return 1.0 - _survival((now - self.started_at) / usual, spread) / before if before else 1.0

    def observed(self, now: float) -> float:
        """How many times its expected time the job took, as far as looks can tell.

        It ended between the last two looks. A job found done at its first look ended before that,
        who knows when: the guess is as far before it as the look was before the expected time, so
        that estimates which are much too long are unlearned within a few jobs.
        """
        if self.looked_last == self.started_at:
            ended_at = now
        elif self.looked_before == self.started_at:
            ended_at = self.started_at + FIRST_LOOK * (self.looked_last - self.started_at)
        else:
            ended_at = (self.looked_before + self.looked_last) / 2
        return (ended_at - self.started_at) / self.expected.p50_seconds


def _survival(elapsed: float, spread: float) -> float:
    """The share of jobs that take longer than `elapsed` medians; `spread` is sigma times root two."""
    return 0.5 * math.erfc(math.log(elapsed) / spread) if elapsed > 0.0 else 1.0


class Pacer(Generic[Job]):
    """Starts and polls of one account, as instants.

    >>> pacer: Pacer[str] = Pacer(Limits(concurrency=1))
    >>> pacer.start_at(0.0)
    0.0
    >>> pacer.started("look-1", 0.0, Seconds(50.0, 65.0, "estimated"))
    >>> pacer.start_at(1.0) is None
    True
    >>> pacer.next_poll(1.0)
    (35.0, 'look-1')
    >>> pacer.polled("look-1", 35.0)
    >>> pacer.finished("look-1", 35.0)
    >>> pacer.start_at(35.0)
    35.0
    """

    __slots__ = ("_flights", "_log_ratio", "_looked_at", "_looks", "_runs", "_slots", "limits")

    def __init__(self, limits: Limits, share: float = 1.0) -> None:
        self.limits = limits
        self._slots = limits.concurrency
        self._runs = RateWindow(limits.run)
        self._looks = RateWindow(limits.status)
        self._flights: dict[Job, _Flight] = {}
        self._log_ratio = 0.0
        self._looked_at = -math.inf
        self.share(share)

    def share(self, share: float) -> None:
        """Poll with a share of the status window; two live processes have 1/2 each."""
        self._looks.share(share)

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def ratio(self) -> float:
        """What actual times are of expected ones, learned from the jobs that ended."""
        return math.exp(self._log_ratio)

    def start_at(self, now: float, slots_elsewhere: int = 0) -> float | None:
        """The earliest instant at which one more job may start, or None while no slot is free.

        `slots_elsewhere` counts jobs of the same account that other processes have in flight.
        """
        if len(self._flights) + slots_elsewhere >= self._slots:
            return None
        return self._runs.ready_at(now)

    def started(self, job: Job, now: float, expected: Seconds) -> None:
        """A job was sent: it takes a slot, a place in the rate window, and is watched."""
        self._runs.take(now)
        self._flights[job] = _Flight(now, expected)

    def adopted(self, job: Job, started_at: float, expected: Seconds) -> None:
        """A job that an earlier process sent: it takes a slot and is watched."""
        self._flights[job] = _Flight(started_at, expected)

    def finished(self, job: Job, now: float, *, telling: bool = True) -> None:
        """A job was seen to have ended and its slot is free.

        `telling` is False for an end that says nothing about how long jobs take, such as a failure.
        """
        flight = self._flights.pop(job)
        if not telling:
            return
        observed = flight.observed(now)
        if observed > MOST_RATIO:
            observed = MOST_RATIO
        elif observed < LEAST_RATIO:
            observed = LEAST_RATIO
        self._log_ratio += LEARNING_RATE * (log(observed) - self._log_ratio)

    def next_poll(self, now: float) -> tuple[float, Job] | None:
        """When to ask next and about which job; None while nothing is in flight.

        Ask again after every start, poll and end. Asking is spread evenly over `FREE_SHARE` of the
        status window, unless the chance of an end is `LIKELY`.
        """
        if not self._flights:
            return None
        ratio = self.ratio
        first_due = min([flight.due_at(ratio) for flight in self._flights.values()])
        instant = max(self._looks.ready_at(now), first_due)
        evenly = self._looks.seconds / (FREE_SHARE * self._looks.limit)
        free_at = max(instant, self._looked_at + evenly)
        job, chance = self._most_idle(free_at, ratio)
        if free_at > instant and chance >= LIKELY:
            likely, chance = self._most_idle(instant, ratio)
            if chance >= LIKELY:
                return instant, likely
        return free_at, job

    def polled(self, job: Job, now: float) -> None:
        """The provider was asked about a job."""
        self._looks.take(now)
        self._looked_at = now
        self._flights[job].looked(now, self.ratio, self._looks.seconds)

    def look_at(self, now: float) -> float:
        """The earliest instant at which a status call about a job that is in no slot keeps to the rate."""
        return self._looks.ready_at(now)

    def looked(self, now: float) -> None:
        """The provider was asked about a job that is in no slot."""
        self._looks.take(now)

    def _most_idle(self, instant: float, ratio: float) -> tuple[Job, float]:
        """The job behind which most idle time is to be expected, and the chance that it has ended.

        The expected idle time is about the chance of an end times half the silence. Against the
        chance alone it asks a little less about jobs that are likely to end, which is the optimum
        for a fixed number of looks, and nobody starves because silence grows.
        """
        due = [(job, flight) for job, flight in self._flights.items() if flight.due_at(ratio) <= instant]
        weighed = [(flight.chance(instant, ratio), instant - flight.looked_last, job) for job, flight in due]
        chance, _, job = max(weighed, key=lambda item: item[0] * item[1])
        return job, chance


def order(expected_seconds: Sequence[float]) -> list[int]:
    """The order in which to start a batch, as positions: as given, the last jobs longest first.

    >>> order([5.0, 9.0, 7.0])
    [1, 2, 0]
    """
    cut = max(0, len(expected_seconds) - LONGEST_FIRST)
    tail = sorted(range(cut, len(expected_seconds)), key=lambda place: -expected_seconds[place])
    return [*range(cut), *tail]
