"""Service times learned from past requests: exact where there is much to learn, careful elsewhere."""

import math
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import ConfigError
from planner.history import read_history
from planner.learning import LONGEST_RATIO, Observation, cover, fit, observed
from planner.loading import shipped_latency, shipped_prices
from planner.profiles import load_profile, profile_text

PRIOR = shipped_latency()
ROWS = [*PRIOR.rows]
HISTORY = Path(__file__).parents[1] / "data" / "history.csv"
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)


def drawn(number, *, factor=1.0, sigma=0.2, rows=ROWS, load=lambda hour: 1.0, seed=1):
    """Jobs that take `factor` times as long as documented, and longer in some hours."""
    chance = Random(seed)
    for _ in range(number):
        row, hour = chance.choice(rows), chance.randrange(24)
        usual = PRIOR.rows[row].p50_seconds * factor * load(hour)
        yield Observation(row, hour, usual * math.exp(sigma * chance.gauss(0, 1)))


def test_the_backtest_of_the_example_history_holds():
    """Fitted on August and September, October's requests lie where the percentiles say."""
    past, book = read_history(HISTORY).past, shipped_prices()
    before = fit(
        observed((one for one in past if one.submitted_at < OCTOBER), book), PRIOR, "main@2026-10-01"
    )
    found = cover(before, observed((one for one in past if one.submitted_at >= OCTOBER), book))
    assert found.observations == 5099
    assert 0.48 <= found.p50_share <= 0.52
    assert 0.88 <= found.p90_share <= 0.92
    assert [hour for hour, figure in enumerate(before.load) if figure > 1.05] == [14, 15, 16, 17, 18, 19]


def test_without_observations_the_profile_stays_as_it_is():
    """What was never seen is what is documented, to the last figure."""
    found = fit([], PRIOR, "main@never")
    assert (found.rows, found.load, found.name) == (PRIOR.rows, (), "main@never")


def test_much_that_was_observed_outweighs_what_is_documented():
    """Jobs that take twice as long are learned to take twice as long, each kind for itself."""
    found = fit(drawn(30_000, factor=2.0), PRIOR, "x")
    for row, seconds in found.rows.items():
        assert seconds.p50_seconds == pytest.approx(2 * PRIOR.rows[row].p50_seconds, rel=0.05)
        assert seconds.sigma == pytest.approx(0.2, rel=0.15)
        assert (seconds.basis, seconds.observations > 300) == ("observed", True)
    assert found.load == (), "hours that do not differ are not told apart"


def test_what_is_seen_of_one_kind_is_believed_a_little_of_its_neighbours():
    """A kind nobody has seen moves with the group it belongs to, keeps its basis, and moves less."""
    slow = ("quality", "2k", False, 1)
    found = fit(drawn(400, factor=1.5, rows=[slow]), PRIOR, "x").rows

    def factor(row):
        return found[row].p50_seconds / PRIOR.rows[row].p50_seconds

    near, far = ("quality", "2k", False, 4), ("fast", "1k", True, 1)
    assert 1.45 < factor(slow) < 1.55
    assert 1.3 < factor(near) <= factor(slow)
    assert 1.0 < factor(far) < factor(near)
    assert (found[near].basis, found[near].observations) == (PRIOR.rows[near].basis, 0)


def test_hours_are_told_apart_from_kinds():
    """A busy afternoon is found, and does not make the kinds sent in it look slow."""

    def load(hour):
        return 1.4 if 14 <= hour < 20 else 1.0

    found = fit(drawn(20_000, load=load), PRIOR, "x")
    quiet, busy = found.load[3], found.load[16]
    assert busy / quiet == pytest.approx(1.4, rel=0.03)
    row = ("fast", "1k", False, 1)
    assert found.in_hour(row, 16).p50_seconds == pytest.approx(1.4 * 14.0, rel=0.06)
    assert found.in_hour(row, 3).p50_seconds == pytest.approx(14.0, rel=0.06)


def test_an_accident_is_not_learned_from():
    """One job that was lost for a day moves nothing."""
    usual = [*drawn(500)]
    lost = Observation(ROWS[0], 3, PRIOR.rows[ROWS[0]].p50_seconds * LONGEST_RATIO * 10)
    assert fit([*usual, lost], PRIOR, "x").rows == fit(usual, PRIOR, "x").rows


@given(
    st.lists(
        st.builds(
            Observation, st.sampled_from(ROWS), st.integers(0, 23), st.floats(0.0, 1e6, allow_nan=False)
        ),
        max_size=40,
    )
)
def test_any_observations_make_a_sound_profile(seen):
    """The median is above 0 and below the 90th percentile, and a file keeps what there is."""
    found = fit(seen, PRIOR, "x@2026-11-23")
    assert found.rows.keys() == PRIOR.rows.keys()
    assert all(0 < one.p50_seconds < one.p90_seconds < math.inf for one in found.rows.values())
    assert len(found.load) in (0, 24)


def test_a_profile_survives_its_file(tmp_path):
    """What is written is read again, and written again as the same text."""
    found = fit(drawn(5_000, load=lambda hour: 1 + hour / 24), PRIOR, 'a "quoted" name')
    path = tmp_path / "latency.yaml"
    path.write_text(profile_text(found, 'who said "so"'))
    again = load_profile(path)
    assert profile_text(again, 'who said "so"') == path.read_text()
    for row, seconds in found.rows.items():
        assert again.rows[row].p50_seconds == pytest.approx(seconds.p50_seconds, abs=0.05)
        assert again.rows[row].observations == seconds.observations


def test_a_file_with_faults_says_all_of_them(tmp_path):
    """Each fault has its line, and nothing is guessed."""
    text = (
        profile_text(PRIOR, "x").replace("profile: ", "profil: ", 1).replace("[14.0, 20.0,", "[20.0, 14.0,")
    )
    path = tmp_path / "latency.yaml"
    path.write_text(text.replace("seconds:\n", "load: [1, 2]\nseconds:\n"))
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert [fault.message for fault in caught.value.faults] == [
        "`profile` has no name",
        "`load` is not 24 figures above 0",
        "`fast 1k alone 1` does not say [p50, p90, basis, observations]",
    ]
