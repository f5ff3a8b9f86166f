"""A batch under the provider's limits in virtual time: when each job starts, and when all are done.

Here belongs the queue, in three forms that start every job at the same instant. What durations are drawn
and what many runs come to belongs to `capacity`; the timing rules themselves to `pacing`.

`step` drives the live pacer event by event, polls included: exact, used to check the others. `schedule`
is the recursion

    start[i] = max(start[i - 1], start[i - 50] + window, earliest free slot)

ten times as fast when ends are seen at once, and `side_by_side` the same for many draws of one batch at a
time, by numpy. The jobs of a plan are all there from the start, so none has an arrival of its own.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from itertools import chain, repeat
from typing import TYPE_CHECKING

from planner.latency import Seconds
from planner.pacing import WINDOW_MARGIN, Limits, Pacer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run of a batch: when each job started, and when the last one was seen to have ended."""

    starts: list[float]
    finish_seconds: float
    idle_seconds: float = 0.0
    """Slot-seconds for which a slot was free and a job waited because the rate window was full."""
    polls: int = 0


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
    free.sort()
    return Schedule(starts, free[-1], sum(free) - sum(durations))


def schedule_wide(durations: Sequence[float], widths: Sequence[int], limits: Limits) -> Schedule:
    """The batch where a job takes several slots at once, as many as its width, or all there are.

    >>> schedule_wide([5.0, 1.0, 1.0], [1, 2, 1], Limits(concurrency=2)).starts
    [0.0, 5.0, 6.0]
    """
    rate, window = limits.run.limit, limits.run.seconds * WINDOW_MARGIN
    free = [0.0] * limits.concurrency
    starts: list[float] = []
    start = finish = 0.0
    windows = chain(repeat(-window, rate), starts)
    for duration, width, opened in zip(durations, widths, windows, strict=False):
        taken = min(width, limits.concurrency)
        start = max(start, opened + window, free[taken - 1])
        starts.append(start)
        end = start + duration
        at = bisect(free, end, taken)
        free[:at] = free[taken:at] + [end] * taken
        finish = max(finish, end)
    return Schedule(starts, finish)


def side_by_side(durations: Table, limits: Limits) -> tuple[Table, Table]:
    """Many draws of one batch, each as `schedule` does it: a row for each draw, a column for each job.

    Gives the starts in the same shape, and for each draw when its slots fell free for the last time, in
    ascending order. Every number is the one that `schedule` finds, to the last bit.
    """
    import numpy as np

    rate, window = limits.run.limit, limits.run.seconds * WINDOW_MARGIN
    draws, jobs = durations.shape
    free = np.zeros((draws, limits.concurrency))
    earliest = free[:, 0]
    starts = np.zeros((rate + jobs, draws))
    starts[:rate] = -window
    add, maximum = np.add, np.maximum
    # Neither the earliest free slot nor the window ever goes back, so no start is before the one before it.
    for opened, now, taken in zip(starts, starts[rate:], np.ascontiguousarray(durations.T), strict=False):
        add(opened, window, out=now)
        maximum(now, earliest, out=now)
        add(now, taken, out=earliest)
        free.sort(axis=1)
    return starts[rate:].T, free


def step(
    expected: Sequence[Seconds], durations: Sequence[float], limits: Limits, *, polling: bool = True
) -> Schedule:
    """The same batch driven through the pacer; with `polling`, an end is seen only by asking.

    `expected` is what the pacer believes, `durations` is what happens.
    """
    return (_asked if polling else _seen_at_once)(Pacer(limits), expected, durations)


def _seen_at_once(pacer: Pacer[int], expected: Sequence[Seconds], durations: Sequence[float]) -> Schedule:
    starts: list[float] = []
    ends: list[tuple[float, int]] = []
    now = 0.0
    for job, (seconds, duration) in enumerate(zip(expected, durations, strict=True)):
        while (start_at := pacer.start_at(now)) is None or (ends and ends[0][0] <= start_at):
            now, ended = heappop(ends)
            pacer.finished(ended, now)
        now = start_at
        pacer.started(job, now, seconds)
        starts.append(now)
        heappush(ends, (now + duration, job))
    while ends:
        now, ended = heappop(ends)
        pacer.finished(ended, now)
    return Schedule(starts, now)


def _asked(pacer: Pacer[int], expected: Sequence[Seconds], durations: Sequence[float]) -> Schedule:
    starts: list[float] = []
    now, polls = 0.0, 0
    while len(starts) < len(durations) or pacer.in_flight:
        job = len(starts)
        start_at = pacer.start_at(now) if job < len(durations) else None
        look = pacer.next_poll(now)
        if start_at is not None and (look is None or start_at < look[0]):
            now = start_at
            pacer.started(job, now, expected[job])
            starts.append(now)
        elif look is not None:
            now, seen = look
            pacer.polled(seen, now)
            polls += 1
            if starts[seen] + durations[seen] <= now:
                pacer.finished(seen, now)
    return Schedule(starts, now, polls=polls)
