"""Rate windows and slots, at their edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.server.sandbox.limits import Limits, RateWindow


@given(
    calls=st.integers(1, 6),
    seconds=st.integers(1, 12),
    gaps=st.lists(st.integers(0, 8).map(lambda quarter: quarter / 4), max_size=80),
)
def test_a_window_agrees_with_a_naive_recount(calls, seconds, gaps):
    """A call is let through exactly when fewer than the limit were let through in the window before it."""
    window, taken, attempts, now, most = RateWindow(calls, float(seconds)), [], [], 0.0, 0
    for gap in gaps:
        now += gap
        attempts.append(now)
        most = max(most, sum(now - at < seconds for at in attempts))
        room = sum(now - at < seconds for at in taken) < calls
        assert window.take(now) is room
        if room:
            taken.append(now)
    assert window.most_attempts == most


@pytest.mark.parametrize(
    ("endpoint", "calls", "seconds"), [("run", 50, 60.0), ("status", 50, 10.0), ("credits", 30, 10.0)]
)
def test_the_documented_windows(endpoint, calls, seconds, machine):
    """The last call that fits, the first that does not, and the instant at which there is room again."""
    m = machine()
    call = {"run": lambda: m.run(resolution="none"), "status": lambda: m.status("x"), "credits": m.credits}
    first = {"run": 400, "status": 404, "credits": 200}[endpoint]
    for _ in range(calls):
        assert call[endpoint]().status == first
    m.at = seconds - 0.001
    refused = call[endpoint]()
    assert (refused.status, refused.json()["error"]) == (429, "RateLimitExceeded")
    m.at = seconds
    assert call[endpoint]().status == first


def test_six_at_once(machine):
    """The seventh prediction in flight is refused, and there is room the instant one has ended."""
    m = machine()
    ids = [m.run().accepted for _ in range(6)]
    refused = m.run()
    assert (refused.status, refused.json()["error"]) == (429, "ConcurrencyLimitExceeded")
    m.at = min(map(m.provider.ends_seconds, ids))
    assert m.run().status == 200
    assert m.run().json()["error"] == "ConcurrencyLimitExceeded"
    assert m.bill().most_in_flight == 6


def test_four_images_take_one_slot(machine):
    """Slots are counted per prediction, however many images it makes."""
    m = machine()
    assert [m.run(num_images=4).status for _ in range(7)] == [200] * 6 + [429]


def test_limits_are_values(machine):
    """Another profile of limits is only another argument."""
    m = machine(limits=Limits(concurrency=1, run=(2, 5.0)))
    assert [m.run().status for _ in range(3)] == [200, 429, 429]
    assert m.bill().refused == {"ConcurrencyLimitExceeded": 1, "RateLimitExceeded": 1}
