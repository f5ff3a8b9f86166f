"""Service times: what is documented, what is an estimate, and draws that follow both."""

from itertools import product
from random import Random

import pytest

from planner.latency import Seconds
from planner.loading import shipped_latency, shipped_prices
from planner.quoting import CELLS, COUNTS, quotes
from planner.request import GENERATION_MODES, RESOLUTIONS

PROFILE = shipped_latency()
ENTRY = shipped_prices().entry_at()


def test_the_name_holds_the_day():
    """A policy can rely on a profile by name, because the name says from when it is."""
    assert PROFILE.name == "fashn-documented@2026-11-22"


def test_every_billed_cell_has_a_row():
    """There is one row for each billed mode, resolution, face and count, and no other."""
    assert set(PROFILE.rows) == set(product(GENERATION_MODES, RESOLUTIONS, (False, True), COUNTS))


def test_only_what_the_provider_says_is_called_documented():
    """Three rows stand in the documentation; every other one says that it is an estimate."""
    documented = {row for row, seconds in PROFILE.rows.items() if seconds.basis == "documented"}
    assert documented == {("fast", "1k", False, 1), ("quality", "4k", False, 1), ("fast", "1k", True, 1)}
    assert {seconds.basis for seconds in PROFILE.rows.values()} == {"documented", "estimated"}


def test_documented_figures_are_the_providers():
    """Fast at 1k is typically under 20 s, quality at 4k takes up to 120 s, a face adds 20 to 30 s."""
    assert PROFILE.rows["fast", "1k", False, 1].p90_seconds == 20
    assert PROFILE.rows["quality", "4k", False, 1].p90_seconds == 120
    for mode, resolution in product(GENERATION_MODES, RESOLUTIONS):
        alone, face = (PROFILE.rows[mode, resolution, with_face, 1] for with_face in (False, True))
        assert 20 <= face.p50_seconds - alone.p50_seconds <= 30
        assert 20 <= face.p90_seconds - alone.p90_seconds <= 30


def test_more_of_anything_takes_longer():
    """A higher mode, a higher resolution, a face and a further image each add time."""
    ladders = (GENERATION_MODES, RESOLUTIONS, (False, True), COUNTS)
    for row in PROFILE.rows:
        for place, ladder in enumerate(ladders):
            step = ladder.index(row[place]) + 1
            if step < len(ladder):
                higher = PROFILE.rows[(*row[:place], ladder[step], *row[place + 1 :])]
                assert higher.p50_seconds > PROFILE.rows[row].p50_seconds
                assert higher.p90_seconds > PROFILE.rows[row].p90_seconds


def test_an_omitted_mode_takes_as_long_as_the_one_it_is_billed_as():
    """By cell and by quote the answer is the row of the billed mode."""
    by_cell = PROFILE.by_cell(ENTRY)
    for index, (resolution, mode, face, images) in enumerate(CELLS):
        billed = mode or {"1k": "fast", "2k": "quality", "4k": "quality"}[resolution]
        assert by_cell[index] is PROFILE.rows[billed, resolution, face, images]
        assert PROFILE.of(quotes(ENTRY)[index]) is by_cell[index]


@pytest.mark.parametrize("row", [("fast", "1k", False, 1), ("quality", "4k", True, 4)])
def test_draws_follow_the_percentiles(row):
    """Half of many draws lie under the p50, nine of ten under the p90, and their mean is the mean."""
    seconds, rng = PROFILE.rows[row], Random(22)
    drawn = [seconds.draw(rng) for _ in range(20_000)]
    assert sum(one <= seconds.p50_seconds for one in drawn) / 20_000 == pytest.approx(0.5, abs=0.015)
    assert sum(one <= seconds.p90_seconds for one in drawn) / 20_000 == pytest.approx(0.9, abs=0.01)
    assert sum(drawn) / 20_000 == pytest.approx(seconds.mean_seconds, rel=0.01)


def test_a_seed_decides_every_draw():
    """The same seed gives the same service times."""
    seconds = PROFILE.rows["fast", "2k", False, 1]
    assert seconds.draw(Random(5)) == seconds.draw(Random(5)) != seconds.draw(Random(6))


def test_a_faster_stand_in_keeps_the_shape():
    """Scaled by 1/20, both percentiles are a twentieth and the spread is the same."""
    seconds = Seconds(40.0, 52.0, "estimated")
    fast = seconds.scaled(1 / 20)
    assert (fast.p50_seconds, fast.p90_seconds) == (2.0, 2.6)
    assert fast.sigma == pytest.approx(seconds.sigma)
