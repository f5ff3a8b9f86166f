"""The queue of a batch in five forms that share no code: each starts every job at the same instant."""

from random import Random

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.latency import Seconds
from planner.pacing import WINDOW_MARGIN, Limits, Rate
from planner.queues import schedule, schedule_wide, side_by_side, step

USUAL = Seconds(36.0, 47.0, "estimated")

WHOLE_WINDOWS = [seconds for seconds in range(1_000, 90_001, 500) if (seconds * WINDOW_MARGIN).is_integer()]
"""Whole milliseconds are exact as floats, so that no queue can differ by rounding."""


@st.composite
def any_limits(draw):
    """From one slot to dozens, and rates that bind as often as they do not."""
    rate = Rate(draw(st.integers(1, 60)), float(draw(st.sampled_from(WHOLE_WINDOWS))))
    return Limits(concurrency=draw(st.integers(1, 40)), run=rate)


batches = st.lists(st.integers(1, 120_000).map(float), min_size=1, max_size=150)


def usual(durations):
    return [USUAL] * len(durations)


def recursion_starts(durations, limits):
    """The law itself, written down slowly: all jobs are there at 0, the slots are a list of ends."""
    rate, window = limits.run.limit, limits.run.seconds * WINDOW_MARGIN
    slots, starts, arrival = [0.0] * limits.concurrency, [], 0.0
    for place, duration in enumerate(durations):
        earliest = min(range(len(slots)), key=slots.__getitem__)
        bounds = [arrival, slots[earliest]]
        bounds += [starts[place - 1]] if place else []
        bounds += [starts[place - rate] + window] if place >= rate else []
        starts.append(max(bounds))
        slots[earliest] = starts[-1] + duration
    return starts


def simpy_starts(durations, limits):
    """The same batch by SimPy, which shares nothing with us: one dispatcher, slots as a resource."""
    world = simpy.Environment()
    slots = simpy.Resource(world, limits.concurrency)
    window = limits.run.seconds * WINDOW_MARGIN
    starts: list[float] = []

    def work(duration, slot):
        yield world.timeout(duration)
        slots.release(slot)

    def dispatch():
        for place, duration in enumerate(durations):
            slot = slots.request()
            yield slot
            if place >= limits.run.limit:
                yield world.timeout(max(0.0, starts[place - limits.run.limit] + window - world.now))
            starts.append(world.now)
            world.process(work(duration, slot))

    world.process(dispatch())
    world.run()
    return starts


@given(batches, any_limits())
@settings(max_examples=80, deadline=None)
def test_pacer_recursions_and_simpy_start_every_job_at_the_same_instant(durations, limits):
    """On the same service times, four queues written apart agree to the last bit."""
    found = schedule(durations, limits)
    stepped = step(usual(durations), durations, limits, polling=False)
    assert found.starts == recursion_starts(durations, limits)
    assert found.starts == simpy_starts(durations, limits)
    assert found.starts == stepped.starts
    assert found.finish_seconds == stepped.finish_seconds


@given(
    st.lists(st.floats(0.1, 120), min_size=1, max_size=150), st.integers(1, 12), st.floats(1, 90), st.data()
)
@settings(max_examples=60, deadline=None)
def test_pacer_and_recursions_agree_on_any_float(durations, slots, seconds, data):
    """They do the same arithmetic, so that even rounding is the same."""
    limits = Limits(slots, Rate(data.draw(st.integers(1, 60)), seconds))
    starts = schedule(durations, limits).starts
    assert step(usual(durations), durations, limits, polling=False).starts == starts
    assert recursion_starts(durations, limits) == starts


@given(st.integers(1, 20), st.integers(1, 120), any_limits(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_many_draws_side_by_side_are_each_what_the_recursion_finds(draws, jobs, limits, seed):
    """A table of draws gives, row by row, the starts and the last ends of each draw alone."""
    rng = Random(seed)
    table = [[rng.lognormvariate(10.0, 0.5) for _ in range(jobs)] for _ in range(draws)]
    starts, free = side_by_side(np.array(table), limits)
    alone = [schedule(durations, limits) for durations in table]
    assert starts.tolist() == [one.starts for one in alone]
    assert free[:, -1].tolist() == [one.finish_seconds for one in alone]
    lost = [sum(ends) - sum(durations) for ends, durations in zip(free.tolist(), table, strict=True)]
    assert lost == [one.idle_seconds for one in alone]


@given(batches, any_limits())
@settings(max_examples=40, deadline=None)
def test_jobs_of_width_one_are_the_plain_queue(durations, limits):
    """Taking one slot each, wide jobs start when plain ones do."""
    found, plain = schedule_wide(durations, [1] * len(durations), limits), schedule(durations, limits)
    assert (found.starts, found.finish_seconds) == (plain.starts, plain.finish_seconds)


@given(
    st.lists(st.tuples(st.integers(1, 500).map(float), st.integers(1, 4)), min_size=1, max_size=60),
    st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_wide_jobs_never_take_more_slots_than_there_are(jobs, slots):
    """Counted at every start, the widths of what runs stay within the slots, and nothing waits in vain."""
    durations, widths = [list(part) for part in zip(*jobs, strict=True)]
    found = schedule_wide(durations, widths, Limits(slots, Rate(1_000, 60.0)))
    taken = [min(width, slots) for width in widths]

    def running(at, until):
        done = zip(found.starts[:until], durations, taken, strict=False)
        return sum(width for start, lasts, width in done if start <= at < start + lasts)

    for place, start in enumerate(found.starts):
        assert running(start, place + 1) <= slots
        before = max((end for end in _ends(found, durations)[:place] if end < start), default=0.0)
        if start > (found.starts[place - 1] if place else 0.0):
            assert running(before, place) + taken[place] > slots


def _ends(found, durations):
    return [start + duration for start, duration in zip(found.starts, durations, strict=True)]


def test_a_batch_that_the_pacer_asks_about_takes_a_little_longer():
    """Ends that are seen only by asking are seen late: with polls no batch is done earlier than without."""
    rng = Random(5)
    durations = [USUAL.draw(rng) for _ in range(60)]
    asked = step(usual(durations), durations, Limits())
    at_once = step(usual(durations), durations, Limits(), polling=False)
    assert at_once.polls == 0 < asked.polls
    assert at_once.finish_seconds < asked.finish_seconds < 1.05 * at_once.finish_seconds


def test_the_law_by_hand():
    """Two slots and two starts in ten seconds: the third waits for the window, the fourth with it."""
    limits = Limits(2, Rate(2, 10.0))
    assert schedule([1.0, 1.0, 8.0, 8.0, 1.0], limits).starts == pytest.approx([0.0, 0.0, 10.2, 10.2, 20.4])
