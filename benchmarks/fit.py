"""How fast a million jobs in fifty groups are fitted into credits and a deadline, and what greed would lose.

    python benchmarks/fit.py [--jobs N] [--workloads N]

Every fit is checked before its time is shown: each job takes one form, credits and work are added up again
from the price book and the service times, the limits are kept, and every loss equals the bound that the
solver proved, rounded up. The peer in the same run is greedy: from the least important jobs and the first
field to give up, it takes the steps that save most until everything fits. It is right about the limits and
wrong about the losses; how much it loses beyond the optimum is counted. No time is a pass or a failure.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from itertools import product
from random import Random

from planner.fitting import Fit, Group, Market, Wish, as_asked, fit
from planner.ladders import LADDERS, GiveUp, options, work_ms
from planner.loading import shipped_latency, shipped_prices
from planner.quoting import CELLS, quotes

GROUPS = 50
ORDER = ("num_images", "generation_mode", "resolution")
CREDITS_PERCENT, TIME_PERCENT = 60, 60


def market() -> Market:
    entry = shipped_prices().entry_at()
    return Market(entry, shipped_latency().by_cell(entry))


def workload(jobs: int, seed: int) -> dict[Group, int]:
    """That many jobs in fifty groups of two classes, a tenth of which are kept as they are."""
    random = Random(seed)
    groups: dict[Group, int] = {}
    while len(groups) < GROUPS:
        kept_by = ("stage=production",) if random.random() < 0.1 else ()
        groups[Group(random.randrange(len(CELLS)), random.randrange(2), kept_by)] = random.randrange(1, 100)
    weight = sum(groups.values())
    demand = {group: jobs * share // weight for group, share in groups.items()}
    demand[min(demand)] += jobs - sum(demand.values())
    return demand


def check(found: Fit, demand: dict[Group, int], wish: Wish, place: Market) -> None:
    """Add everything up again and hold it against the limits and the proof."""
    taken, credits, work, longest = Counter[Group](), 0, 0, 0
    for share in found.shares:
        taken[share.group] += share.jobs
        credits += quotes(place.entry)[share.option.cell].credits * share.jobs
        each = work_ms(place.by_cell[share.option.cell], place.limits)
        work, longest = work + each * share.jobs, max(longest, each)
        assert not share.group.kept_by or not share.is_change
    assert taken == demand
    assert (credits, work) == (found.credits, found.work_ms)
    assert wish.at_most_credits is not None
    assert credits <= wish.at_most_credits
    slots = place.limits.concurrency
    assert wish.deadline_ms is not None
    assert work + slots * longest <= slots * wish.deadline_ms
    for loss in found.losses:
        assert loss.steps == math.ceil(loss.proof.bound - 1e-6)
        assert loss.proof.gap == 0.0


Cells = dict[Group, Counter[int]]
"""How many jobs of each group have which form."""


def greedy(demand: dict[Group, int], wish: Wish, place: Market) -> tuple[int, ...] | None:
    """The losses of taking steps one kind after the other, in the order of `Fit.losses`; None if it fails."""
    cells = {group: Counter({group.cell: jobs}) for group, jobs in demand.items()}
    lost = Counter[tuple[int, str]]()
    for rank, name in product((1, 0), ORDER):
        for _ in LADDERS[name]:
            for group, cell, lower in steps_down(cells, rank, name, place):
                if not (needed := jobs_needed(cells, cell, lower, wish, place)):
                    return tuple(lost[rank, name] for rank in (0, 1) for name in reversed(ORDER))
                jobs = min(cells[group][cell], needed)
                cells[group][cell] -= jobs
                cells[group][lower] += jobs
                lost[rank, name] += jobs
    return None


def steps_down(cells: Cells, rank: int, name: str, place: Market) -> list[tuple[Group, int, int]]:
    """One step down a field for every form there is in a class, the one that saves most first."""
    steps = []
    for group, forms in cells.items():
        for cell, jobs in forms.items():
            rungs = options(cell, GiveUp((name,)), place.entry, place.by_cell, place.limits)
            if jobs and group.rank == rank and not group.kept_by and len(rungs) > 1:
                steps.append((group, cell, rungs[1].cell))
    return sorted(steps, key=lambda step: -saves(*step[1:], place)[0])


def saves(cell: int, lower: int, place: Market) -> tuple[int, int]:
    """The credits and the milliseconds of work that a step saves."""
    credits = quotes(place.entry)[cell].credits - quotes(place.entry)[lower].credits
    return credits, work_of(cell, place) - work_of(lower, place)


def work_of(cell: int, place: Market) -> int:
    return work_ms(place.by_cell[cell], place.limits)


def jobs_needed(cells: Cells, cell: int, lower: int, wish: Wish, place: Market) -> int:
    """How many jobs have to take a step so that everything fits by it alone; 0 if it fits."""
    forms = Counter[int]()
    for taken in cells.values():
        forms.update(taken)
    credits = sum(quotes(place.entry)[cell].credits * jobs for cell, jobs in forms.items())
    work = sum(work_of(cell, place) * jobs for cell, jobs in forms.items())
    longest = max(work_of(cell, place) for cell, jobs in forms.items() if jobs)
    assert wish.at_most_credits is not None
    assert wish.deadline_ms is not None
    over = credits - wish.at_most_credits, work - place.limits.concurrency * (wish.deadline_ms - longest)
    if max(over) <= 0:
        return 0
    return max(-(-more // max(1, saved)) for more, saved in zip(over, saves(cell, lower, place), strict=True))


def told(losses: tuple[int, ...]) -> str:
    names = [f"{name}" for _ in (0, 1) for name in reversed(ORDER)]
    return ", ".join(f"{lost:,} {name}" for lost, name in zip(losses, names, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Times fitting a workload; see the top of this file.")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="jobs of each workload (1,000,000)")
    parser.add_argument("--workloads", type=int, default=5, help="how many are fitted (5)")
    asked = parser.parse_args()
    place, slowest = market(), 0.0
    for seed in range(asked.workloads):
        demand = workload(asked.jobs, seed)
        whole = as_asked(demand, place)
        limits = whole.credits * CREDITS_PERCENT // 100, whole.bound_ms * TIME_PERCENT // 100
        wish = Wish(GiveUp(ORDER), *limits)
        begin = time.perf_counter()
        found = fit(demand, wish, place)
        took = time.perf_counter() - begin
        slowest = max(slowest, took)
        if found is None:
            raise SystemExit("the limits of the benchmark cannot be kept")
        check(found, demand, wish, place)
        begin = time.perf_counter()
        peer = greedy(demand, wish, place)
        took_peer = time.perf_counter() - begin
        best = tuple(loss.steps for loss in found.losses)
        if peer is not None and peer < best:
            raise SystemExit("greed found less to give up than the optimum")
        print(f"workload {seed}: {took:.2f} s, {took / took_peer:.1f} x greedy (checked)")
        print(f"  loses, most important first: {told(best)}")
        print(f"  greedy loses                 {told(peer) if peer else 'everything, and does not fit'}")
    print(f"{asked.jobs:,} jobs in {GROUPS} groups: at most {slowest:.2f} s for a fit")


if __name__ == "__main__":
    main()
