"""Small workloads and everything that can become of them, for the tests of what fits.

Here the options of a job, the bound and the losses are written down once more, from the sentences of
docs/planning.md and not from the code.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

from hypothesis import assume
from hypothesis import strategies as st

from planner.capacity import look_delay_seconds
from planner.fitting import Group, Market, Wish, as_asked
from planner.ladders import GiveUp
from planner.latency import Seconds
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import Limits, Rate
from planner.quoting import CELLS, quotes
from planner.request import GENERATION_MODES, RESOLUTIONS

ENTRY = shipped_prices().entry_at()
BY_CELL = shipped_latency().by_cell(ENTRY)
SHIPPED = Market(ENTRY, BY_CELL)
VALUES = {"num_images": (1, 2, 3, 4), "generation_mode": GENERATION_MODES, "resolution": RESOLUTIONS}
ALL_FIELDS = ("num_images", "generation_mode", "resolution")

# -- every assignment -----------------------------------------------------------------------------


def forms(group, give_up, market):
    """What a job of a group may become, written down once more: losses by field, credits, milliseconds."""
    resolution, mode, face, images = CELLS[group.cell]
    billed = mode or market.entry.omitted_mode[resolution]
    asked = {"num_images": images, "generation_mode": billed, "resolution": resolution}
    found = [(dict.fromkeys(give_up.order, 0), group.cell)]
    for number, form_mode, tier in product(*VALUES.values()) if not group.kept_by else ():
        form = {"num_images": number, "generation_mode": form_mode, "resolution": tier}
        if form == asked or not all(allowed(name, asked[name], form[name], give_up) for name in form):
            continue
        drop = {name: rung(name, asked[name]) - rung(name, form[name]) for name in give_up.order}
        if face and asked["resolution"] == "4k" and drop.get("resolution"):
            drop["resolution"] -= 1
        found.append((drop, CELLS.index((tier, form_mode, face, number))))
    return [(drop, quotes(market.entry)[cell].credits, slot_ms(cell, market)) for drop, cell in found]


def rung(name, value):
    return VALUES[name].index(value)


def allowed(name, before, after, give_up):
    if before == after:
        return True
    floor = rung(name, give_up.floor[name]) if name in give_up.floor else 0
    return name in give_up.order and floor <= rung(name, after) < rung(name, before)


def slot_ms(cell, market):
    seconds = market.by_cell[cell].p90_seconds + look_delay_seconds(market.limits)
    tenths = int(seconds * 10)
    return 100 * (tenths + (tenths < seconds * 10))


def every_assignment(demand, give_up, market):
    """All that the jobs can come to, one job after the other: losses in order, credits, work, the longest."""
    ranks = sorted({group.rank for group in demand})
    states = {((0,) * (len(ranks) * len(give_up.order)), 0, 0, 0)}
    for group, jobs in demand.items():
        steps = [
            (
                tuple(
                    drop[name] * (rank == group.rank) for rank in ranks for name in reversed(give_up.order)
                ),
                credits,
                work,
            )
            for drop, credits, work in forms(group, give_up, market)
        ]
        for _ in range(jobs):
            states = {
                (
                    tuple(map(sum, zip(lost, more, strict=True))),
                    credits + c,
                    work + w,
                    max(longest, w),
                )
                for lost, credits, work, longest in states
                for more, c, w in steps
            }
    return states


def in_time(state, jobs, wish, market):
    """The stated bound, as a sentence says it, multiplied by the slots."""
    if wish.deadline_ms is None:
        return True
    work, longest, slots = state[2], state[3], market.limits.concurrency
    last_start = (jobs - 1) // market.limits.run.limit * round(market.limits.run.seconds * 1020)
    return work + slots * longest <= slots * wish.deadline_ms and last_start + longest <= wish.deadline_ms


def best_by_hand(demand, wish, market):
    """The least vector among all assignments that fit, or None."""
    jobs = sum(demand.values())
    return min(
        (
            (*state[0], *state[1:3])
            for state in every_assignment(demand, wish.give_up, market)
            if (wish.at_most_credits is None or state[1] <= wish.at_most_credits)
            and in_time(state, jobs, wish, market)
        ),
        default=None,
    )


# -- random small worlds --------------------------------------------------------------------------

prices = st.fixed_dictionaries(
    {
        mode: st.fixed_dictionaries({tier: st.integers(1, 9) for tier in RESOLUTIONS})
        for mode in GENERATION_MODES
    }
)


@st.composite
def markets(draw):
    """Prices, times and limits that nobody would think of."""
    if draw(st.booleans()):
        return SHIPPED
    entry = replace(
        ENTRY,
        credits=draw(prices),
        omitted_mode={tier: draw(st.sampled_from(GENERATION_MODES)) for tier in RESOLUTIONS},
        face_reference=draw(st.integers(0, 4)),
    )
    times = {mode: draw(st.integers(1, 40)) for mode in GENERATION_MODES}
    limits = Limits(draw(st.integers(1, 6)), Rate(draw(st.integers(1, 50)), 60.0))
    return Market(entry, timed(entry, times), limits)


def timed(entry, times):
    """Service times of all cells from those of each mode, more for each image and for a face."""
    return tuple(
        Seconds(seconds, seconds * 1.3, "observed")
        for tier, mode, face, images in CELLS
        for seconds in [times[mode or entry.omitted_mode[tier]] + 7.0 * images + 9.0 * face]
    )


@st.composite
def worlds(draw, percents=(-5, 95)):
    """A small workload, what may be given up, and limits between the least that is needed and all of it."""
    order = tuple(draw(st.permutations(ALL_FIELDS))[: draw(st.integers(1, 3))])
    floored = draw(st.sampled_from([(), (), (), ("resolution",), ALL_FIELDS]))
    give_up = GiveUp(order, {name: draw(st.sampled_from(VALUES[name][:-1])) for name in floored})
    kept = st.sampled_from([(), (), (), (), ("stage=production",)])
    groups = st.builds(Group, st.integers(24, 95), st.integers(0, 1), kept)
    demand = draw(st.dictionaries(groups, st.integers(1, 3), min_size=1, max_size=4 - len(order) // 2))
    market = draw(markets())
    assume(math.prod(len(forms(group, give_up, market)) ** jobs for group, jobs in demand.items()) < 10**7)
    asked = as_asked(demand, market)
    least = [min(place) for place in zip(*every_end(demand, give_up, market), strict=True)]
    limited = draw(st.sampled_from(["credits", "time", "both"]))
    credits = None if limited == "time" else draw(limits(least[0], asked.credits, percents))
    deadline = None if limited == "credits" else draw(limits(least[1], asked.bound_ms, percents))
    return demand, Wish(give_up, credits, deadline), market


def every_end(demand, give_up, market):
    """Credits and the bound where every job takes its n-th form, for all n that some job has."""
    ladders = [(forms(group, give_up, market), jobs) for group, jobs in demand.items()]
    for place in range(max(len(ladder) for ladder, _ in ladders)):
        taken = [(ladder[min(place, len(ladder) - 1)], jobs) for ladder, jobs in ladders]
        work = sum(form[2] * jobs for form, jobs in taken)
        longest = max(form[2] for form, _ in taken)
        yield sum(form[1] * jobs for form, jobs in taken), market.bound_ms(len(demand), work, longest)


def limits(least, most, percents):
    return st.integers(*percents).map(lambda percent: max(0, least + (most - least) * percent // 100))
