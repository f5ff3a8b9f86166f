"""By how much a workload does not fit: figures that are the least there are, and ways out that lead out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, event, given, settings

from planner.fitting import Group, Wish, fit
from planner.ladders import GiveUp
from planner.quoting import CELLS
from planner.relaxing import misfit
from planner.rungs import LADDERS

from .small_workloads import SHIPPED, every_assignment, in_time, worlds


def relaxed(demand, wish, way, step=0):
    """The workload and the wish after taking a way out; `step` short of it where it has a figure."""
    match way.kind:
        case "credits":
            return demand, replace(wish, at_most_credits=way.value - step)
        case "deadline":
            return demand, replace(wish, deadline_ms=way.value - step)
        case "both":
            return demand, replace(wish, at_most_credits=way.value[0] - step, deadline_ms=way.value[1])
        case "keep":
            return {Group(group.cell, group.rank): jobs for group, jobs in demand.items()}, wish
        case _:
            rung = LADDERS[way.name][LADDERS[way.name].index(way.value) + step]
            order = wish.give_up.order + ((way.name,) if way.kind == "field" else ())
            return demand, replace(wish, give_up=GiveUp(order, {**wish.give_up.floor, way.name: rung}))


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(worlds(percents=(-60, 10)))
def test_every_way_out_leads_out_and_less_does_not(world):
    """With each way taken alone everything fits; one credit, moment or step less, and it does not."""
    demand, wish, market = world
    if fit(demand, wish, market) is not None:
        return
    found = misfit(demand, wish, market)
    assert found.ways_out
    for way in found.ways_out:
        event(way.kind)
        eased, easier = relaxed(demand, wish, way)
        assert fit(eased, easier, market) is not None
        if way.kind != "keep":
            eased, harder = relaxed(demand, wish, way, step=1)
            assert fit(eased, harder, market) is None


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(worlds(percents=(-60, 10)))
def test_what_is_short_is_the_least_of_all_assignments(world):
    """The credits and the time that are needed with all given up are the least of everything there is."""
    demand, wish, market = world
    if fit(demand, wish, market) is not None:
        return
    found = misfit(demand, wish, market)
    states = every_assignment(demand, wish.give_up, market)
    assert found.least_credits == min(state[1] for state in states)
    jobs, moment = sum(demand.values()), Wish(wish.give_up, deadline_ms=found.least_bound_ms)
    assert any(in_time(state, jobs, moment, market) for state in states)
    earlier = replace(moment, deadline_ms=found.least_bound_ms - 1)
    assert not any(in_time(state, jobs, earlier, market) for state in states)


def test_a_field_that_is_not_named_is_a_way_out_and_so_is_a_lower_floor():
    """Each way stands with the least it takes: how far down, how many credits, which jobs."""
    pairs = Group(CELLS.index(("4k", "quality", False, 2)))
    kept = Group(CELLS.index(("4k", "quality", False, 1)), 0, ("stage=production",))
    wish = Wish(GiveUp(("resolution",), {"resolution": "2k"}), at_most_credits=25)
    found = misfit({pairs: 2, kept: 2}, wish, SHIPPED)
    assert (found.least_credits, found.short_credits, found.short_ms) == (26, 1, 0)
    assert [(way.kind, way.name, way.value) for way in found.ways_out] == [
        ("field", "num_images", 1),
        ("field", "generation_mode", "balanced"),
        ("floor", "resolution", "1k"),
        ("keep", "stage=production", None),
        ("credits", "", 26),
    ]
