"""The queue of a batch, five ways, against SimPy with one dispatcher: `python benchmarks/pacer.py [JOBS]`.

Answers come first: every way that sees ends at once must start each job at SimPy's instant, each of 64
draws side by side at that of its draw alone, and the one that polls must keep the limits. Then medians of
a few rounds in one run, as ratios to SimPy for each job, beside what is aimed at; the absolute figures
depend on the machine and gate nothing. Times are whole milliseconds, which floats hold exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from time import perf_counter

import numpy as np
import simpy

from planner.latency import Seconds
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import WINDOW_MARGIN, Limits, Rate
from planner.queues import schedule, side_by_side, step

LIMITS = Limits(run=Rate(50, 60_000.0), status=Rate(50, 10_000.0))
ROUNDS = 5
SEEDS = 64


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


def draws(expected: Sequence[Seconds]) -> list[list[float]]:
    """The same jobs drawn with other seeds."""
    rngs = [Random(seed) for seed in range(SEEDS)]
    return [[float(round(seconds.draw(rng))) for seconds in expected] for rng in rngs]


def check(expected: Sequence[Seconds], durations: Sequence[float]) -> None:
    """Stops the benchmark when a way gives another answer."""
    reference = by_simpy(durations)
    assert step(expected, durations, LIMITS, polling=False).starts == reference, "the pacer differs"
    assert schedule(durations, LIMITS).starts == reference, "the recursion differs"
    table = draws(expected)
    starts, _ = side_by_side(np.array(table), LIMITS)
    assert starts[0].tolist() == by_simpy(table[0]), "side by side differs from SimPy"
    assert starts.tolist() == [schedule(one, LIMITS).starts for one in table], "side by side differs"
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
    table = np.array(draws(expected))
    ways: dict[str, tuple[Callable[[], object], int, str]] = {
        "SimPy, one dispatcher": (lambda: by_simpy(durations), 1, ""),
        "live pacer": (lambda: step(expected, durations, LIMITS, polling=False), 1, "5 x"),
        "live pacer, with polls": (lambda: step(expected, durations, LIMITS), 1, ""),
        "recursion": (lambda: schedule(durations, LIMITS), 1, "30 x"),
        f"across {SEEDS} seeds": (lambda: side_by_side(table, LIMITS), SEEDS, "80 x"),
    }
    print(f"\n{'':<28}{'jobs/s':>12}{'ratio':>11}   aimed at")
    peer = 0.0
    for name, (way, seeds, aim) in ways.items():
        taken = median_seconds(way) / (seeds * len(durations))
        peer = peer or taken
        print(f"{name:<28}{1 / taken:>12,.0f}{peer / taken:>9.2f} x   {aim}".rstrip())


if __name__ == "__main__":
    main()
