"""The queue of a batch, four ways, against SimPy with one dispatcher: `python benchmarks/pacer.py [JOBS]`.

Answers come first: every way that sees ends at once must start each job at SimPy's instant, and the
one that polls must keep the limits. Then medians of a few rounds in one run, as ratios to SimPy; the
absolute figures depend on the machine and gate nothing. Times are whole milliseconds, which floats
hold exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from statistics import median
from time import perf_counter

import simpy

from planner.capacity import schedule, step
from planner.latency import Seconds
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import WINDOW_MARGIN, Limits, Pacer, Rate

LIMITS = Limits(run=Rate(50, 60_000.0), status=Rate(50, 10_000.0))
ROUNDS = 5


def batch(jobs: int) -> tuple[list[Seconds], list[float]]:
    """Random cells with their service times, expected and drawn, in milliseconds."""
    rng = Random(20261122)
    by_cell = [one.scaled(1000) for one in shipped_latency().by_cell(shipped_prices().entry_at())]
    expected = [by_cell[rng.randrange(len(by_cell))] for _ in range(jobs)]
    return expected, [float(round(seconds.draw(rng))) for seconds in expected]


def by_simpy(durations: Sequence[float]) -> list[float]:
    """One dispatcher, slots as a resource, each job a process."""
    world = simpy.Environment()
    slots = simpy.Resource(world, LIMITS.concurrency)
    window, limit = LIMITS.run.seconds * WINDOW_MARGIN, LIMITS.run.limit
    starts: list[float] = []

    def work(duration, slot):
        yield world.timeout(duration)
        slots.release(slot)

    def dispatch():
        for place, duration in enumerate(durations):
            slot = slots.request()
            yield slot
            if place >= limit and (wait := starts[place - limit] + window - world.now) > 0:
                yield world.timeout(wait)
            starts.append(world.now)
            world.process(work(duration, slot))

    world.process(dispatch())
    world.run()
    return starts


def by_pacer(expected: Sequence[Seconds], durations: Sequence[float]) -> list[float]:
    """The pacer driven directly: a heap of ends and nothing else around it."""
    pacer: Pacer[int] = Pacer(LIMITS)
    ends: list[tuple[float, int]] = []
    starts: list[float] = []
    now = 0.0
    for job, duration in enumerate(durations):
        while (start_at := pacer.start_at(now)) is None:
            now, ended = heappop(ends)
            pacer.finished(ended, now)
        pacer.started(job, start_at, expected[job])
        starts.append(start_at)
        heappush(ends, (start_at + duration, job))
    return starts


def check(expected: Sequence[Seconds], durations: Sequence[float]) -> None:
    """Stops the benchmark when a way gives another answer."""
    reference = by_simpy(durations)
    assert by_pacer(expected, durations) == reference, "the pacer differs from SimPy"
    assert step(expected, durations, LIMITS, polling=False).starts == reference, "the step machine differs"
    assert schedule(durations, LIMITS).starts == reference, "the recursion differs"
    polled = step(expected, durations, LIMITS)
    window = LIMITS.run.seconds
    assert all(
        later - first >= window for first, later in zip(polled.starts, polled.starts[50:], strict=False)
    )
    busy = sum(durations) / (LIMITS.concurrency * polled.finish_seconds)
    print(f"{len(durations):,} jobs: all starts equal SimPy's")
    print(f"with polling: {polled.polls / len(durations):.1f} polls a job, slots busy {busy:.1%}")


def median_seconds(run: Callable[[], object]) -> float:
    """The median of a few rounds."""
    rounds = []
    for _ in range(ROUNDS):
        before = perf_counter()
        run()
        rounds.append(perf_counter() - before)
    return median(rounds)


def main() -> None:
    expected, durations = batch(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
    check(expected, durations)
    ways: dict[str, Callable[[], object]] = {
        "SimPy, one dispatcher": lambda: by_simpy(durations),
        "pacer driven directly": lambda: by_pacer(expected, durations),
        "step machine": lambda: step(expected, durations, LIMITS, polling=False),
        "step machine with polling": lambda: step(expected, durations, LIMITS),
        "recursion": lambda: schedule(durations, LIMITS),
    }
    seconds = {name: median_seconds(run) for name, run in ways.items()}
    peer = seconds["SimPy, one dispatcher"]
    for name, taken in seconds.items():
        print(f"{name:<28}{len(durations) / taken:>12,.0f} jobs/s{peer / taken:>9.2f} x")


if __name__ == "__main__":
    main()
