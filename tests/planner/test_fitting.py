"""Settings that fit: the true optimum, held against every assignment there is, and true when simulated."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from planner.capacity import simulate
from planner.errors import InputError
from planner.fitting import Fit, Group, Market, Wish, as_asked, fit
from planner.ladders import GiveUp
from planner.latency import Seconds
from planner.pacing import Limits, Rate
from planner.quoting import CELLS, quotes
from planner.request import RESOLUTIONS

from .small_workloads import ALL_FIELDS, BY_CELL, ENTRY, SHIPPED, best_by_hand, slot_ms, timed, worlds


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_the_fit_is_the_best_of_all_assignments(world):
    """Losses, credits and work are the least there are in their order; where nothing fits, nothing does."""
    demand, wish, market = world
    found, asked = fit(demand, wish, market), as_asked(demand, market)
    if wish.allows(asked):
        event("as asked")
        assert found == asked
        return
    event("nothing fits" if found is None else "something is given up")
    assert (found and found.vector) == best_by_hand(demand, wish, market)
    assert found is None or wish.allows(found)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_the_figures_are_those_of_the_settings(world):
    """Every job takes one form, and credits, work and losses add up again from the shares."""
    demand, wish, market = world
    found = fit(demand, wish, market)
    if found is None:
        return
    for group, jobs in demand.items():
        assert sum(share.jobs for share in found.shares if share.group == group) == jobs
    credits = sum(quotes(market.entry)[share.option.cell].credits * share.jobs for share in found.shares)
    work = sum(slot_ms(share.option.cell, market) * share.jobs for share in found.shares)
    assert (found.credits, found.work_ms) == (credits, work)
    assert all(not share.group.kept_by for share in found.changes)


def test_a_span_that_promises_as_much_is_not_forgotten():
    """Two lengths of the longest job lose the same at first; which is better shows at a later loss."""
    prices = {"fast": (9, 1, 9), "balanced": (9, 1, 9), "quality": (4, 9, 2)}
    credits = {mode: dict(zip(RESOLUTIONS, each, strict=True)) for mode, each in prices.items()}
    entry = replace(
        ENTRY, credits=credits, omitted_mode=dict.fromkeys(RESOLUTIONS, "quality"), face_reference=0
    )
    times = {"fast": 19, "balanced": 26, "quality": 14}
    market = Market(entry, timed(entry, times), Limits(5, Rate(6, 60.0)))
    demand = {Group(27): 2, Group(94, 1): 1}
    wish = Wish(GiveUp(ALL_FIELDS), at_most_credits=33, deadline_ms=66_659)
    assert fit(demand, wish, market).vector == best_by_hand(demand, wish, market)


# -- what people rely on --------------------------------------------------------------------------

PAIRS_2K = Group(CELLS.index(("2k", "quality", False, 2)))


def at_most(credits, *order, floor=None, demand=None):
    return fit(demand or {PAIRS_2K: 10}, Wish(GiveUp(order, floor or {}), credits), SHIPPED)


def settings_of(found: Fit):
    return [(CELLS[share.option.cell], share.jobs) for share in found.shares]


def test_what_is_named_first_goes_first():
    """80 credits into 60: images go where they are named first, the resolution where that is."""
    assert settings_of(at_most(60, "num_images", "resolution")) == [
        (("2k", "quality", False, 2), 5),
        (("2k", "quality", False, 1), 5),
    ]
    assert settings_of(at_most(60, "resolution", "num_images")) == [(("1k", "quality", False, 2), 10)]


def test_the_least_important_jobs_go_first():
    """Drafts lose everything before production loses anything, whatever production could save."""
    draft = replace(PAIRS_2K, rank=1)
    found = at_most(100, *ALL_FIELDS, demand={PAIRS_2K: 10, draft: 10})
    assert all(share.group == draft for share in found.changes)
    assert found.credits == 100


def test_floors_hold_and_what_lies_below_stays():
    """Nothing falls below the floor; a job that is below it already is left alone."""
    single = Group(CELLS.index(("2k", "fast", False, 1)))
    found = at_most(70, "num_images", floor={"num_images": 2}, demand={PAIRS_2K: 10, single: 2})
    assert found is None
    quads = Group(CELLS.index(("2k", "quality", False, 4)))
    found = at_most(8, "num_images", floor={"num_images": 2}, demand={quads: 1})
    assert settings_of(found) == [(("2k", "quality", False, 2), 1)]


def test_an_omitted_mode_is_written_where_it_is_given_up():
    """Left out at 2k it is billed as quality; one step down is `balanced`, and that is written."""
    omitted = Group(CELLS.index(("2k", None, False, 1)))
    found = at_most(3, "generation_mode", demand={omitted: 1})
    assert settings_of(found) == [(("2k", "balanced", False, 1), 1)]
    assert [loss.steps for loss in found.losses] == [1]


def test_an_omitted_mode_is_written_where_another_would_be_billed():
    """At 1k an omitted mode is fast: who gives up the resolution alone keeps quality by writing it."""
    omitted = Group(CELLS.index(("2k", None, False, 1)))
    found = at_most(3, "resolution", demand={omitted: 1})
    assert settings_of(found) == [(("1k", "quality", False, 1), 1)]


def test_what_a_face_caps_is_no_loss():
    """4k with a face is made at 2k: asking for 2k gives up nothing, and is taken before anything else."""
    capped, plain = (Group(CELLS.index(("4k", "quality", face, 1))) for face in (True, False))
    found = at_most(24, "resolution", demand={capped: 2, plain: 2})
    assert settings_of(found) == [(("4k", "quality", False, 1), 2), (("2k", "quality", True, 1), 2)]
    assert [loss.steps for loss in found.losses] == [0]


def test_of_a_group_the_last_of_the_file_give_up():
    """Which jobs change is not left open: of equal ones, those that come last."""
    single = Group(CELLS.index(("1k", "fast", False, 1)))
    found = at_most(14, "num_images", demand={PAIRS_2K: 2, single: 2})
    cells = found.cells([PAIRS_2K, single, PAIRS_2K, single])
    assert [CELLS[cell][3] for cell in cells] == [2, 1, 1, 1]


def test_no_jobs_fit_into_nothing():
    """An empty workload costs nothing and is done at once."""
    found = fit({}, Wish(at_most_credits=0, deadline_ms=0), SHIPPED)
    assert (found.shares, found.credits, found.bound_ms) == ((), 0, 0)


@pytest.mark.parametrize(
    ("order", "floor", "codes"),
    [
        (("num_image",), {}, ["bad_order"]),
        (("num_images", "num_images"), {}, ["bad_order"]),
        (("seed",), {"resolution": "8k", "num_images": True}, ["bad_order", "bad_floor", "bad_floor"]),
    ],
)
def test_what_cannot_be_given_up_is_told_at_once(order, floor, codes):
    """Every wrong field and floor is a fault of its own, with what would be right."""
    with pytest.raises(InputError) as caught:
        GiveUp(order, floor)
    assert [fault.code for fault in caught.value.faults] == codes
    assert all(fault.hint for fault in caught.value.faults)


# -- simulated ------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(25, 100), st.booleans())
def test_the_simulation_keeps_the_deadline(seed, jobs, percent, observed):
    """Nine of ten runs of what fits are done by the deadline, for any mix of jobs, however they spread."""
    random = Random(seed)
    market = SHIPPED
    if observed:  # a profile learned from requests that hardly differ: the bound has little to give away
        times = [Seconds(one.p50_seconds, one.p50_seconds * 1.02, "observed") for one in BY_CELL]
        market = Market(ENTRY, tuple(times))
    groups = [Group(random.choice(cells)) for cells in [random.sample(range(96), 5)] for _ in range(jobs)]
    demand = {group: groups.count(group) for group in groups}
    deadline_ms = as_asked(demand, market).bound_ms * percent // 100
    found = fit(demand, Wish(GiveUp(ALL_FIELDS), deadline_ms=deadline_ms), market)
    if found is not None:
        cells = bytes(found.cells(groups))
        assert simulate(cells, market.by_cell).p90_seconds * 1000 <= found.bound_ms <= deadline_ms
