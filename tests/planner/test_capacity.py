"""How long a batch takes: percentiles over draws, what limits it, and what stands for polling."""

import csv
import math
from pathlib import Path
from random import Random
from statistics import fmean, median, quantiles

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.capacity import (
    MOST_JOBS,
    MOST_TRIALS,
    look_delay_seconds,
    lower_bound_seconds,
    simulate,
)
from planner.latency import Seconds
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import FIRST_LOOK, Limits, Rate, order
from planner.queues import schedule, step
from planner.quoting import CELLS, quote
from planner.request import FIELDS

LIMITS = Limits()
BY_CELL = shipped_latency().by_cell(shipped_prices().entry_at())
USUAL = Seconds(36.0, 47.0, "estimated")
FAST = CELLS.index(("1k", "fast", False, 1))


def lookbook_cells() -> bytes:
    with (Path(__file__).parents[1] / "data" / "lookbook.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: row[name] for name in FIELDS if row.get(name)} for row in csv.DictReader(file)]
    whole = ("seed", "num_images")
    requests = [{name: int(text) if name in whole else text for name, text in row.items()} for row in rows]
    return bytes(quote(request, shipped_prices()).cell for request in requests)


def in_order(cells):
    expected = [BY_CELL[cell] for cell in cells]
    return [expected[place] for place in order([seconds.p50_seconds for seconds in expected])]


def most_in_flight(starts, ends):
    """The largest number of jobs that ran at one instant."""
    changes = sorted([(end, -1) for end in ends] + [(start, 1) for start in starts])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def most_starts_in(starts, seconds):
    return max(sum(first <= start < first + seconds for start in starts) for first in starts)


def usual(durations):
    return [USUAL] * len(durations)


@given(st.lists(st.floats(0.1, 60), min_size=1, max_size=130), st.booleans())
@settings(max_examples=40, deadline=None)
def test_never_more_than_six_in_flight_nor_fifty_starts_a_minute(durations, polling):
    """Counted the slow way, with looking for ends and without it."""
    found = step(usual(durations), durations, LIMITS, polling=polling)
    ends = [start + duration for start, duration in zip(found.starts, durations, strict=True)]
    assert most_in_flight(found.starts, ends) <= 6
    assert most_starts_in(found.starts, 60.0) <= 50


@given(st.lists(st.floats(0.1, 200), min_size=1, max_size=120), st.integers(1, 12), st.integers(1, 30))
def test_no_schedule_beats_the_lower_bound(durations, slots, rate):
    """Whatever the limits, the bound lies at or under the schedule, in any order of the jobs."""
    limits = Limits(concurrency=slots, run=Rate(rate, 60.0))
    bound = lower_bound_seconds(durations, limits)
    for batch in (durations, sorted(durations), sorted(durations, reverse=True)):
        assert bound <= schedule(batch, limits).finish_seconds * (1 + 1e-12)


@pytest.mark.parametrize(
    ("durations", "limits", "bound"),
    [
        ([6.0] * 12, Limits(), 12.0),
        ([1.0, 90.0, 1.0], Limits(), 90.0),
        ([1.0] * 101, Limits(concurrency=200), 121.0),
    ],
    ids=["work over slots", "longest job", "rate"],
)
def test_each_bound_can_be_the_one_that_holds(durations, limits, bound):
    """Work, the longest job and the rate each decide the bound of a batch."""
    assert lower_bound_seconds(durations, limits) == pytest.approx(bound)


def test_slots_are_busy_for_98_percent_of_a_lookbook():
    """With ends seen only by polling, 240 looks leave less than 2 % of the slots' time empty."""
    expected, busy = in_order(lookbook_cells()), []
    for seed in range(6):
        rng = Random(seed)
        durations = [seconds.draw(rng) for seconds in expected]
        busy.append(math.fsum(durations) / (6 * step(expected, durations, LIMITS).finish_seconds))
    assert len(expected) == 240
    assert fmean(busy) >= 0.98
    assert min(busy) >= 0.97


@pytest.mark.parametrize(("actual", "least"), [(0.5, 0.955), (0.7, 0.97), (1.4, 0.98), (2.0, 0.98)])
def test_slots_stay_busy_when_estimates_are_off(actual, least):
    """Jobs that take half or twice what was expected cost a few points, because the pacer learns."""
    expected, rng = in_order(lookbook_cells()), Random(4)
    durations = [actual * seconds.draw(rng) for seconds in expected]
    found = step(expected, durations, LIMITS)
    assert math.fsum(durations) / (6 * found.finish_seconds) >= least


@pytest.mark.parametrize(
    ("cells", "limits"),
    [(lookbook_cells(), LIMITS), (lookbook_cells(), Limits(concurrency=12)), (bytes([FAST] * 240), LIMITS)],
    ids=["lookbook", "twelve slots", "short jobs"],
)
def test_the_recursion_with_a_delay_stands_for_polling(cells, limits):
    """The percentiles agree within 2 % with batches in which every end was really polled for."""
    expected, finishes = in_order(cells), []
    for seed in range(9):
        rng = Random(seed)
        durations = [seconds.draw(rng) for seconds in expected]
        finishes.append(step(expected, durations, limits).finish_seconds)
    assert simulate(cells, BY_CELL, limits).p50_seconds == pytest.approx(median(finishes), rel=0.02)


def test_percentiles_lie_above_the_bound_and_in_order():
    """The bound, the p50 and the p90 of a lookbook stand in this order, near one another."""
    found = simulate(lookbook_cells(), BY_CELL)
    assert found.lower_bound_seconds < found.p50_seconds < found.p90_seconds
    assert found.p90_seconds < 1.06 * found.lower_bound_seconds
    assert found.slots_busy > 0.97
    assert found.method == "simulated"


@pytest.mark.parametrize(
    ("limits", "limited_by"),
    [
        (LIMITS, "concurrency"),
        (Limits(concurrency=30), "rate"),
        (Limits(run=Rate(6, 60.0)), "rate"),
        (Limits(concurrency=30, run=Rate(1000, 60.0)), "concurrency"),
    ],
)
def test_what_limits_is_what_slots_wait_for(limits, limited_by):
    """Short jobs wait for slots by default, and for the rate when there are slots enough."""
    assert simulate(bytes([FAST] * 300), BY_CELL, limits).limited_by == limited_by


def test_a_seed_decides_the_answer():
    """The same seed gives the same figures, another one slightly different ones."""
    cells = lookbook_cells()
    assert simulate(cells, BY_CELL, seed=1) == simulate(cells, BY_CELL, seed=1)
    assert simulate(cells, BY_CELL, seed=1) != simulate(cells, BY_CELL, seed=2)


def test_no_jobs_take_no_time():
    """An empty batch is finished at once."""
    assert simulate(b"", BY_CELL).p90_seconds == 0.0


def test_one_job_takes_as_long_as_its_row_says():
    """A single job ends near its own percentiles, seen a moment later."""
    found, row = simulate(bytes([FAST]), BY_CELL), BY_CELL[FAST]
    assert found.p50_seconds == pytest.approx(row.p50_seconds, rel=0.1)
    assert found.p90_seconds == pytest.approx(row.p90_seconds, rel=0.1)


def test_the_draws_are_those_of_the_standard_library():
    """One job, drawn here with `Random.gauss` itself, ends at exactly the same percentiles."""
    row, draw, delay = BY_CELL[FAST], Random(0).gauss, look_delay_seconds(LIMITS)
    ends = [row.p50_seconds * math.exp(row.sigma * draw(0.0, 1.0)) for _ in range(MOST_TRIALS)]
    deciles = quantiles(
        [max(end, FIRST_LOOK * row.p50_seconds) + delay for end in ends], n=10, method="inclusive"
    )
    found = simulate(bytes([FAST]), BY_CELL)
    assert (found.p50_seconds, found.p90_seconds) == (deciles[4], deciles[8])


@pytest.mark.parametrize("limits", [LIMITS, Limits(concurrency=60)], ids=["concurrency", "rate"])
def test_a_large_batch_is_extrapolated_to_what_all_of_its_jobs_take(limits):
    """A file that repeats every three rows, three times too large to simulate, comes out right."""
    costly = CELLS.index(("4k", "quality", False, 1))
    cells = bytes([FAST, FAST, costly]) * MOST_JOBS
    found = simulate(cells, BY_CELL, limits)
    rng, delay = Random(0), look_delay_seconds(limits)
    drawn = [(BY_CELL[cell].draw(rng), FIRST_LOOK * BY_CELL[cell].p50_seconds) for cell in cells]
    whole = schedule([max(pair) + delay for pair in drawn], limits).finish_seconds
    assert found.method == "extrapolated from 20,000 jobs"
    assert found.p50_seconds == pytest.approx(whole, rel=0.01)
    assert found.lower_bound_seconds < found.p50_seconds < found.p90_seconds


def test_a_million_jobs_are_sampled_not_walked():
    """The relative spread of a million jobs is far smaller than that of a lookbook."""
    book = lookbook_cells()
    small, large = simulate(book, BY_CELL), simulate(book * 4167, BY_CELL)
    assert large.p50_seconds == pytest.approx(small.p50_seconds * 4167, rel=0.01)
    assert large.p90_seconds / large.p50_seconds - 1 < 0.001 < small.p90_seconds / small.p50_seconds - 1


@given(st.lists(st.integers(0, len(CELLS) - 1), min_size=1, max_size=40), st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_percentiles_stand_in_order_and_travel_moves_them_all(cells, slots):
    """From p1 to p99 none lies before an earlier one; what each job spends besides comes on top."""
    at_once, later = (
        simulate(cells, BY_CELL, Limits(slots), travel_seconds=seconds) for seconds in (0.0, 5.0)
    )
    figures = [
        [one.p1_seconds, one.p10_seconds, one.p50_seconds, one.p90_seconds, one.p99_seconds]
        for one in (at_once, later)
    ]
    assert figures == [sorted(one) for one in figures]
    assert all(after >= before + 4.999 for before, after in zip(*figures, strict=True))


def test_the_plan_document_gets_its_fields():
    """The JSON holds the finish, its bound and what limits it, rounded to a tenth of a second."""
    document = simulate(lookbook_cells(), BY_CELL).as_json()
    assert set(document["finish_seconds"]) == {
        "p1",
        "p10",
        "p50",
        "p90",
        "p99",
        "lower_bound",
    }
    assert document["limited_by"] == "concurrency"
    assert document["finish_seconds"]["p50"] == round(document["finish_seconds"]["p50"], 1)
