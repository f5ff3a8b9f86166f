"""Deadlines: the least that keeps them does, one less does not, and what no limit changes is said."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.capacity import Draws, simulate
from planner.deadlines import least_concurrency, least_rate, longest_job_seconds, outlook
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import Limits, Rate
from planner.quoting import CELLS

BY_CELL = shipped_latency().by_cell(shipped_prices().entry_at())
FAST = CELLS.index(("1k", "fast", False, 1))
COSTLY = CELLS.index(("4k", "quality", False, 1))

small = st.lists(st.integers(0, len(CELLS) - 1), min_size=1, max_size=40)
limits = st.builds(
    Limits, concurrency=st.integers(1, 12), run=st.builds(Rate, st.integers(1, 20), st.just(60.0))
)


def draws_of(cells):
    """Few trials, for speed: what is searched over is the limits."""
    whole = Draws.of(cells, BY_CELL)
    return Draws(whole.trials[:25], None, whole.cells, whole.jobs, whole.growth)


def p90(draws, slots, rate):
    return draws.under(Limits(slots, Rate(rate, 60.0))).p90_seconds


@given(small, limits, st.floats(0.2, 3.0))
@settings(max_examples=30, deadline=None)
def test_one_less_does_not_keep_the_deadline(cells, limits, share):
    """What is found keeps it when simulated, one less does not, and where none is found none does."""
    draws = draws_of(cells)
    deadline = share * draws.under(limits).p90_seconds
    slots, starts = least_concurrency(draws, deadline, limits), least_rate(draws, deadline, limits)
    for figure, found in (
        (slots.figure, lambda figure: p90(draws, figure, limits.run.limit)),
        (starts.figure, lambda figure: p90(draws, limits.concurrency, figure)),
    ):
        if figure is None:
            assert all(found(tried) > deadline for tried in range(1, len(cells) + 1))
        else:
            assert found(figure) <= deadline
            assert figure == 1 or found(figure - 1) > deadline


@given(small, limits)
@settings(max_examples=30, deadline=None)
def test_a_deadline_that_is_kept_needs_nothing(cells, limits):
    """With the finish itself as the deadline nothing hinders, and no more is asked for than there is."""
    draws = draws_of(cells)
    found = outlook(draws, draws.under(limits).p90_seconds, limits)
    assert found.is_kept
    assert found.hindrance is None
    assert found.concurrency.figure <= limits.concurrency
    assert found.rate.figure <= limits.run.limit


@given(small, st.floats(0.1, 0.99))
@settings(max_examples=20, deadline=None)
def test_nothing_is_faster_than_the_longest_job(cells, share):
    """Under what the longest job alone takes there is no way out, and that is what is said."""
    draws = draws_of(cells)
    deadline = share * longest_job_seconds(draws)
    found = outlook(draws, deadline)
    assert (found.concurrency.figure, found.rate.figure, found.both) == (None, None, None)
    assert found.hindrance == "longest_job"
    assert found.concurrency.p90_seconds > deadline


def test_short_jobs_need_more_starts_and_then_both():
    """Fast jobs at a low rate: more slots are no help, more starts are, and a tighter deadline takes both."""
    draws = draws_of(bytes([FAST] * 300))
    slow = Limits(run=Rate(10, 60.0))
    found = outlook(draws, 20 * 60.0, slow)
    assert found.hindrance == "rate"
    assert found.concurrency.figure is None
    assert found.rate.figure > 10
    tight = outlook(draws, 2 * 60.0, slow)
    assert (tight.concurrency.figure, tight.rate.figure) == (None, None)
    slots, starts = tight.both
    both = Limits(slots.figure, Rate(starts.figure, 60.0))
    assert draws.under(both).p90_seconds <= 120.0
    assert draws.under(Limits(slots.figure - 1, Rate(300, 60.0))).p90_seconds > 120.0


@pytest.mark.parametrize("jobs", [240, 3_000, 60_000])
def test_a_large_batch_asks_for_what_its_simulation_says(jobs):
    """The answer holds for `simulate` itself, extrapolated batches too, with numpy and without it."""
    cells = bytes([FAST, FAST, COSTLY]) * (jobs // 3)
    often, plain = Draws.of(cells, BY_CELL, often=True), Draws.of(cells, BY_CELL)
    assert (often.table is not None) == (jobs < 6_000)
    assert often.under(Limits(9)) == plain.under(Limits(9)) == simulate(cells, BY_CELL, Limits(9))
    deadline = 0.6 * simulate(cells, BY_CELL).p90_seconds
    found = least_concurrency(often, deadline, Limits()).figure
    assert simulate(cells, BY_CELL, Limits(found)).p90_seconds <= deadline
    assert simulate(cells, BY_CELL, Limits(found - 1)).p90_seconds > deadline


def test_without_numpy_the_draws_are_walked(monkeypatch):
    """Where it is not installed there is no table, and the figures are the same."""
    cells = bytes([FAST, COSTLY]) * 120
    table = Draws.of(cells, BY_CELL, often=True)
    expected = table.under(Limits(7))
    monkeypatch.setitem(sys.modules, "numpy", None)
    plain = Draws.of(cells, BY_CELL, often=True)
    assert (table.table is None, plain.table) == (False, None)
    assert plain.under(Limits(7)) == expected


def test_no_jobs_keep_every_deadline():
    """An empty batch is done at once."""
    found = outlook(Draws.of(b"", BY_CELL), 1.0)
    assert found.is_kept
    assert (found.concurrency.figure, found.rate.figure, found.longest_seconds) == (1, 1, 0.0)


def test_the_document_says_the_way_out():
    """The JSON names the deadline, whether it is kept, what hinders and the least that helps."""
    document = outlook(Draws.of(bytes([FAST] * 240), BY_CELL), 450.0).as_json()
    assert document.pop("p90_seconds") > 450.0
    assert document.pop("longest_job_p90_seconds") < 60.0
    assert document == {
        "deadline_seconds": 450.0,
        "kept": False,
        "hindrance": "concurrency",
        "least_concurrency": 9,
        "least_rate": None,
        "least_of_both": None,
    }
