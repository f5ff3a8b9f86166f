"""The pacer: rate windows that hold under every recount, and looks that are worth their place."""

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.latency import Seconds
from planner.pacing import FIRST_LOOK, LONGEST_FIRST, WINDOW_MARGIN, Limits, Pacer, Rate, RateWindow, order

USUAL = Seconds(36.0, 47.0, "estimated")


def most_in_any(instants, seconds):
    """The largest number of events in any half-open window, counted the slow way."""
    return max((sum(first <= one < first + seconds for one in instants) for first in instants), default=0)


def look_until_done(pacer, durations, expected, now=0.0):
    """Keeps all slots of a pacer busy with these jobs and returns every poll as (instant, job)."""
    waiting, ends, polls = dict(enumerate(durations)), {}, []
    while waiting or pacer.in_flight:
        start_at = pacer.start_at(now) if waiting else None
        look = pacer.next_poll(now)
        if start_at is not None and (look is None or start_at < look[0]):
            job = min(waiting)
            now = start_at
            ends[job] = now + waiting.pop(job)
            pacer.started(job, now, expected)
        else:
            now, job = look
            polls.append(look)
            pacer.polled(job, now)
            if ends[job] <= now:
                pacer.finished(job, now)
    return polls


@given(
    st.integers(1, 8),
    st.floats(0.5, 60),
    st.lists(st.floats(0, 20), max_size=60),
    st.sampled_from([1.0, 0.5, 0.2]),
)
def test_a_rate_window_holds_under_a_recount(limit, seconds, pauses, share):
    """However events are asked for, no window of the provider's length holds more than the share."""
    window, now, taken = RateWindow(Rate(limit, seconds)), 0.0, []
    window.share(share)
    for pause in pauses:
        now = window.ready_at(now + pause)
        window.take(now)
        taken.append(now)
    allowed = max(1, math.floor(limit * share))
    assert most_in_any(taken, seconds) <= allowed
    assert most_in_any(taken, seconds * WINDOW_MARGIN * (1 - 1e-9)) <= allowed


def test_a_rate_window_waits_no_longer_than_it_must():
    """The event that fills a window may go at once; the next waits for the first to leave it."""
    window = RateWindow(Rate(2, 10.0))
    window.take(0.0)
    assert window.ready_at(1.0) == 1.0
    window.take(1.0)
    assert window.ready_at(2.0) == 10.0 * WINDOW_MARGIN
    assert window.ready_at(50.0) == 50.0


def test_no_start_without_a_free_slot():
    """With all slots taken there is no instant to name; an end gives one back."""
    pacer = Pacer(Limits(concurrency=2))
    for job in "ab":
        assert pacer.start_at(0.0) == 0.0
        pacer.started(job, 0.0, USUAL)
    assert pacer.start_at(1.0) is None
    pacer.finished("a", 30.0)
    assert pacer.start_at(30.0) == 30.0


def test_slots_elsewhere_are_slots_taken():
    """What other processes have in flight counts like our own."""
    pacer = Pacer(Limits())
    pacer.started("ours", 0.0, USUAL)
    assert pacer.start_at(0.0, slots_elsewhere=4) == 0.0
    assert pacer.start_at(0.0, slots_elsewhere=5) is None


def test_an_adopted_job_takes_a_slot_but_no_start():
    """A job that an earlier process sent fills a slot, is due by its own start and spends no rate."""
    pacer = Pacer(Limits(concurrency=2, run=Rate(1, 60.0)))
    pacer.adopted("theirs", -20.0, USUAL)
    assert pacer.start_at(0.0) == 0.0
    assert pacer.next_poll(0.0) == (pytest.approx(FIRST_LOOK * 36 - 20), "theirs")
    pacer.started("ours", 0.0, USUAL)
    assert pacer.start_at(0.0) is None


def test_nothing_in_flight_is_nothing_to_ask():
    """Without a running job there is no poll."""
    assert Pacer(Limits()).next_poll(0.0) is None


@given(st.lists(st.floats(0.05, 4.0), min_size=1, max_size=40), st.sampled_from([1.0, 0.5, 1 / 3]))
@settings(max_examples=40, deadline=None)
def test_polls_never_exceed_the_status_window(ratios, share):
    """Jobs of any length, ours alone or with a share: a recount finds at most 50 looks in any 10 s."""
    pacer = Pacer(Limits(), share)
    polls = look_until_done(pacer, [ratio * 36 for ratio in ratios], USUAL)
    instants = [instant for instant, _ in polls]
    assert instants == sorted(instants)
    assert most_in_any(instants, 10.0) <= math.floor(50 * share)
    assert most_in_any(instants, 10.2 - 1e-6) <= math.floor(50 * share)


def test_catching_up_keeps_to_the_window_too():
    """Jobs that all ended during a pause are found at the full rate and no faster."""
    pacer = Pacer(Limits(concurrency=120))
    for job in range(120):
        pacer.adopted(job, 0.0, USUAL)
    instants, now = [], 500.0
    while (look := pacer.next_poll(now)) is not None:
        now, job = look
        instants.append(now)
        pacer.polled(job, now)
        pacer.finished(job, now)
    assert instants[:50] == [500.0] * 50
    assert instants[50:100] == [500.0 + 10.2] * 50
    assert most_in_any(instants, 10.0) == 50


def test_no_job_is_asked_about_too_early():
    """While estimates are right, no look comes before 0.78 of the expected time."""
    pacer = Pacer(Limits())
    for job in range(6):
        pacer.started(job, float(job), USUAL)
    now, job = pacer.next_poll(5.0)
    assert (now, job) == (pytest.approx(FIRST_LOOK * 36), 0)


def test_free_looks_leave_a_reserve():
    """Six jobs that do not end are asked about evenly, with at most 60 % of the window."""
    pacer = Pacer(Limits())
    for job in range(6):
        pacer.started(job, 0.0, USUAL)
    instants, now = [], 0.0
    while now < 45.0:
        now, job = pacer.next_poll(now)
        instants.append(now)
        pacer.polled(job, now)
    assert most_in_any(instants, 10.2 - 1e-6) <= 30
    assert len(instants) > 30


def test_a_late_job_is_asked_about_ever_more_rarely_but_never_forgotten():
    """Far beyond its time a job is asked about at longer intervals, at most one window apart."""
    pacer = Pacer(Limits())
    pacer.started("stuck", 0.0, USUAL)
    instants, now = [], 0.0
    while now < 3600.0:
        now, _ = pacer.next_poll(now)
        instants.append(now)
        pacer.polled("stuck", now)
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    assert gaps == sorted(gaps, key=lambda gap: round(gap, 6))
    assert gaps[-1] == pytest.approx(10.2)
    assert gaps[0] < 0.5


def test_a_late_job_does_not_starve_among_busy_slots():
    """While five slots turn over, the sixth, ten times its expected time, is still asked about."""
    pacer, rng = Pacer(Limits()), Random(1)
    durations = [360.0, *(USUAL.draw(rng) for _ in range(40))]
    asked = [instant for instant, job in look_until_done(pacer, durations, USUAL) if job == 0]
    assert asked[-1] >= 360.0
    assert max(later - earlier for earlier, later in pairwise(asked)) < 12.0


@pytest.mark.parametrize("actual", [0.5, 0.7, 1.0, 1.4, 2.0])
def test_wrong_estimates_are_learned(actual):
    """After sixty jobs the running ratio is near what jobs really take."""
    pacer, rng = Pacer(Limits()), Random(3)
    look_until_done(pacer, [actual * USUAL.draw(rng) for _ in range(60)], USUAL)
    assert pacer.ratio == pytest.approx(actual, rel=0.2)


def test_the_learned_ratio_is_bounded():
    """Jobs that take a hundred times as long, or no time at all, move the ratio to 3 or 1/3 at most."""
    for duration, bound in ((3600.0, 3.0), (0.01, 1 / 3)):
        pacer = Pacer(Limits(concurrency=1))
        for number in range(80):
            pacer.started(number, number * 1e4, USUAL)
            pacer.finished(number, number * 1e4 + duration)
        assert pacer.ratio == pytest.approx(bound, rel=0.01)


def test_a_failure_teaches_nothing_about_time():
    """An end that does not tell how long jobs take leaves the ratio alone."""
    pacer = Pacer(Limits())
    pacer.started("refused", 0.0, USUAL)
    pacer.finished("refused", 1.0, telling=False)
    assert pacer.ratio == 1.0


def test_speed_divides_every_wait():
    """Against a stand-in that runs 16 times as fast, the same jobs are asked about 16 times as early."""
    rng = Random(9)
    durations = [USUAL.draw(rng) for _ in range(12)]
    real = look_until_done(Pacer(Limits()), durations, USUAL)
    fast = look_until_done(
        Pacer(Limits().scaled(16)), [duration / 16 for duration in durations], USUAL.scaled(1 / 16)
    )
    assert [(instant * 16, job) for instant, job in fast] == real


@given(st.lists(st.floats(1, 200), max_size=120))
def test_a_batch_keeps_the_order_of_the_file_but_for_its_end(seconds):
    """Everything starts once; all but the last jobs in file order, those longest first."""
    found = order(seconds)
    cut = max(0, len(seconds) - LONGEST_FIRST)
    assert sorted(found) == list(range(len(seconds)))
    assert found[:cut] == list(range(cut))
    tail = [seconds[place] for place in found[cut:]]
    assert tail == sorted(tail, reverse=True)
