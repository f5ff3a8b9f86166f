"""Law 17: a missing cost is never 0: the entry stands at its quote, estimated, until an actual comes."""

import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.quoting import quote
from policies.guard.answers import Answer, Completed, read_status
from policies.guard.machine import HEADER_READS_MOST, Job
from policies.ledger.rows import report
from policies.ledger.states import Happened, State
from policies.ledger.verify import verify
from policies.server.sandbox.faults import Faults
from tests.laws.strategies import requests
from tests.laws.world import OPEN_POLICY, World, policy_of, request

OPEN = policy_of(OPEN_POLICY)


def finished(world, asked, key="look-1"):
    """A job of a new worker, at its end."""
    worker = world.worker()
    job = worker.submit(world.ask(key, asked))
    assert isinstance(job, Job)
    worker.finish(job)
    return worker, job


@settings(max_examples=40, deadline=None)
@given(asked=requests(), fault=st.sampled_from(["missing_header", "malformed_header"]))
def test_law_17_without_a_header_an_entry_stands_at_its_quote(asked, fault):
    """Whatever was asked, three silent answers settle it at its quote, estimated, and so it is reported."""
    expected = quote(asked, shipped_prices()).credits
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), OPEN, faults=Faults(**{fault: 1.0}))
        _, job = finished(world, asked)
        assert job.header_reads == HEADER_READS_MOST
        assert (job.entry.state, job.entry.credits, job.entry.estimated) == (State.SETTLED, expected, True)
        total = report(world.store, (), None, ZoneInfo("UTC")).total
        assert (total.settled, total.estimated) == (expected, expected)
        assert total.usd_micro == expected * 75_000
        assert verify(world.store) == []
        world.close()


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_law_17_an_actual_that_comes_later_is_an_adjustment(tmp_path, drift):
    """The header that was missing is asked for again; the difference is booked beside the entry."""
    world = World(tmp_path, OPEN, faults=Faults(missing_header=1.0, drift=drift))
    worker, job = finished(world, request(resolution="2k"))
    assert (job.entry.credits, job.entry.estimated) == (4, True)
    world.provider.faults = Faults(drift=drift)
    worker.run(worker.machine.revisiting(job))
    entry = world.store.entry(job.entry.id)
    assert entry.credits == world.billed()
    assert (entry.credits != 4) == bool(drift)
    assert (entry.state, entry.estimated) == (State.SETTLED, False)
    happened = [event.happened for event in world.store.events()]
    assert happened[-2:] == [Happened.ESTIMATED, Happened.ADJUSTED]
    assert verify(world.store) == []
    world.close()


def test_law_17_a_header_that_comes_at_the_third_read_is_no_estimate(tmp_path):
    """An answer without the header is asked for again before anything is estimated."""
    world = World(tmp_path, OPEN, faults=Faults(missing_header=1.0))
    worker = world.worker()
    job = worker.submit(world.ask("look-1", request()))
    reads = 0

    def get(effect, ask=world.get):
        nonlocal reads
        reply = ask(effect)
        reads += b"completed" in reply.body
        if reads == HEADER_READS_MOST - 1:
            world.provider.faults = Faults()
        return reply

    world.get = get
    worker.finish(job)
    assert reads == HEADER_READS_MOST
    assert (job.ended, job.entry.credits, job.entry.estimated) == (Happened.CHARGED, 1, False)
    world.close()


@pytest.mark.parametrize("fault", ["canceled", "time_out", "unknown_status", "vanished"])
def test_law_17_an_end_without_a_cost_and_without_a_picture_is_unknown(tmp_path, fault):
    """Nothing says that it was free, so its credits stay counted."""
    world = World(tmp_path, OPEN, faults=Faults(**{fault: 1.0}))
    _, job = finished(world, request(resolution="2k"))
    assert (job.entry.state, job.entry.credits) == (State.UNKNOWN, 4)
    assert report(world.store, (), None, ZoneInfo("UTC")).total.unknown == 4
    world.close()


@given(header=st.none() | st.text(max_size=8) | st.integers(-10, 10**7).map(str))
def test_law_17_what_is_no_whole_number_is_no_cost(header):
    """Only a text of digits is a cost; everything else is missing, and missing is not 0."""
    headers = {} if header is None else {"x-fashn-credits-used": header}
    completed = read_status(Answer(200, headers, b'{"status": "completed", "output": ["u"]}'), "p")
    assert isinstance(completed, Completed)
    digits = (header or "").strip()
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 6
    assert completed.credits == (int(digits) if is_number else None)
