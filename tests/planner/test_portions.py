"""Pictures asked for in portions: nothing is lost, nothing costs more, and both readings of a slot hold."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.capacity import simulate
from planner.loading import shipped_latency, shipped_prices
from planner.portions import portions, split
from planner.quoting import CELLS, quotes

ENTRY = shipped_prices().entry_at()
BY_CELL = shipped_latency().by_cell(ENTRY)
FAST = CELLS.index(("1k", "fast", False, 1))
FOUR = CELLS.index(("1k", "fast", False, 4))

cells = st.lists(st.integers(0, len(CELLS) - 1), max_size=60)


def pictures(cells):
    """How many pictures of each kind are asked for."""
    counts = Counter()
    for cell in cells:
        counts[CELLS[cell][:3]] += CELLS[cell][3]
    return counts


@given(cells, st.integers(1, 4))
@settings(deadline=None)
def test_the_same_pictures_for_the_same_credits(cells, images):
    """No request asks for more than its portion, every picture is still asked for, and the price is equal."""
    found = split(cells, images)
    assert all(CELLS[cell][3] <= images for cell in found)
    assert pictures(found) == pictures(cells)
    credits = [sum(quotes(ENTRY)[cell].credits for cell in batch) for batch in (found, cells)]
    assert credits[0] == credits[1]
    assert split(cells, 4) == bytes(cells)


def test_one_request_for_four_saves_slot_time_only_if_it_takes_one_slot():
    """Four pictures in a request are sooner there in one slot, and later if they take four."""
    one, two, three, four = portions(bytes([FOUR] * 60), BY_CELL)
    assert [each.requests for each in (one, two, three, four)] == [240, 120, 120, 60]
    assert one.finish_seconds[0] == one.finish_seconds[1]
    assert one.slot_seconds[0] == pytest.approx(one.slot_seconds[1])
    assert four.finish_seconds[0] < 0.6 * one.finish_seconds[0] < one.finish_seconds[0]
    assert four.finish_seconds[1] > one.finish_seconds[1]
    assert four.slot_seconds == pytest.approx((four.slot_seconds[0], 4 * four.slot_seconds[0]))
    assert four.finish_seconds[0] == simulate(bytes([FOUR] * 60), BY_CELL).p50_seconds


def test_single_pictures_come_in_one_portion():
    """Where no job asks for two pictures there is nothing to compare; where there are no jobs neither."""
    assert [each.images_per_request for each in portions(bytes([FAST] * 9), BY_CELL)] == [1]
    assert portions(b"", BY_CELL) == ()
