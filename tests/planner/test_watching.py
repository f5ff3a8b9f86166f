"""What has to be done while a batch runs: how often jobs are asked about, and when pictures are gone."""

import pytest

from planner.capacity import Draws, look_delay_seconds
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import Limits
from planner.quoting import CELLS
from planner.watching import MOST_WATCHED, expiry, polls

BY_CELL = shipped_latency().by_cell(shipped_prices().entry_at())
FAST = CELLS.index(("1k", "fast", False, 1))


def test_polls_are_those_of_the_pacer():
    """A small batch is asked about as the pacer says; a large one as often for each job."""
    draws = Draws.of(bytes([FAST] * 60), BY_CELL)
    found = polls(draws, BY_CELL)
    assert found.total == pytest.approx(60 * found.per_job)
    assert 2 < found.per_job < 12
    assert 0.2 < found.status_share < 1.0
    large = polls(Draws.of(bytes([FAST] * 20 * MOST_WATCHED), BY_CELL), BY_CELL)
    assert large.total == pytest.approx(20 * MOST_WATCHED * large.per_job, abs=1)
    assert large.per_job == pytest.approx(found.per_job, rel=0.2)
    assert polls(Draws.of(b"", BY_CELL), BY_CELL).total == 0


def test_the_first_pictures_expire_after_the_first_job():
    """72 hours after the first job ends, or one hour: what outlasts that loses pictures nobody fetches."""
    draws = Draws.of(bytes([FAST] * 60), BY_CELL)
    found = expiry(draws, 73 * 3600.0)
    assert found.first_output_seconds < BY_CELL[FAST].p50_seconds + look_delay_seconds(Limits())
    assert found.cdn_seconds - found.first_output_seconds == 72 * 3600
    assert found.private_seconds - found.first_output_seconds == 3600
    assert (found.outlasts_cdn, found.outlasts_private) == (True, True)
    assert not expiry(draws, 3600.0).outlasts_private
    assert expiry(draws, 2 * 3600.0).as_json()["before_the_end"] == {"cdn": False, "private": True}
