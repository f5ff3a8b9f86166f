"""Reconciling: two readings of the balance, what they decide, and what they only propose."""

from __future__ import annotations

import pytest

from policies.guard.answers import Answer
from policies.guard.reconciling import Kind, reconciling
from policies.ledger.states import State
from policies.ledger.verify import verify
from policies.server.sandbox.faults import Faults
from tests.laws.world import KEY, OPEN_POLICY, World, policy_of, request


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path, policy_of(OPEN_POLICY))
    yield found
    assert not verify(found.store)
    found.close()


def reconcile(world, *, exclusive=True, wait=400):
    """One reading, after the slots of what is unknown have run out."""
    world.advance(wait)
    worker = world.worker()
    try:
        return worker.run(reconciling(worker.machine, "main", exclusive=exclusive))
    finally:
        worker.owner.close()


def submit(world, key, *, faults=None, finish=True, **fields):
    world.provider.faults = faults or Faults()
    worker = world.worker()
    found = worker.submit(world.ask(key, request(**fields)))
    world.provider.faults = Faults()
    if finish and getattr(found, "prediction_id", ""):
        worker.finish(found)
    worker.owner.close()
    return found


def state_of(world, key):
    entry = world.store.latest("main", "main", key)
    return entry.state, entry.credits


def test_the_first_reading_is_kept_and_compared_with_the_next(world):
    """What was booked between two readings is what the balance went down by."""
    first = reconcile(world)
    assert (first.balance.total, first.bracket, first.difference) == (100_000, None, 0)
    submit(world, "a", resolution="2k")
    second = reconcile(world)
    assert (second.bracket.charged_credits, second.bracket.booked_credits, second.difference) == (4, 4, 0)
    assert (second.findings, second.bracket.doubts) == ((), ())
    assert reconcile(world).bracket.charged_credits == 0


def test_a_bracket_settles_what_was_charged_without_an_answer(world):
    """Every unconfirmed job between the readings, where together they cost just the difference."""
    reconcile(world)
    submit(world, "lost", faults=Faults(lost_after=1.0), resolution="2k")
    submit(world, "also", faults=Faults(no_id=1.0))
    submit(world, "fine")
    assert state_of(world, "lost") == (State.UNKNOWN, 4)
    found = reconcile(world)
    assert [entry.key for entry in found.settled] == ["lost", "also"]
    assert (found.difference, found.findings) == (0, ())
    assert state_of(world, "lost") == (State.SETTLED, 4)
    assert world.counted() == world.billed()


def test_a_balance_never_says_that_a_job_was_not_charged(world):
    """It stays unconfirmed, and a person is told that the balance did not go down."""
    reconcile(world)
    submit(world, "lost", faults=Faults(lost_before=1.0), resolution="2k")
    found = reconcile(world)
    assert found.settled == ()
    [finding] = found.findings
    assert (finding.kind, finding.words) == (Kind.UNCONFIRMED, "the balance did not go down for them")
    assert state_of(world, "lost") == (State.UNKNOWN, 4)


def test_one_of_several_is_proposed_and_not_settled(world):
    """A difference that only one of them explains names that one."""
    reconcile(world)
    submit(world, "free", faults=Faults(lost_before=1.0))
    submit(world, "paid", faults=Faults(lost_after=1.0), resolution="2k")
    found = reconcile(world)
    [finding] = found.findings
    assert (finding.keys, found.settled, found.difference) == (("paid",), (), 4)


@pytest.mark.parametrize("doubt", ["shared", "shared before", "in flight", "in flight before", "filled"])
def test_nothing_is_settled_where_the_readings_leave_a_doubt(world, doubt):
    """Somebody else may spend, something was on its way, or credits were added."""
    if doubt == "in flight before":
        running = submit(world, "running", finish=False, resolution="4k", generation_mode="quality")
        assert reconcile(world, wait=0).open_jobs == 1
        assert running.prediction_id
    else:
        reconcile(world, exclusive=doubt != "shared before")
    submit(world, "lost", faults=Faults(lost_after=1.0))
    if doubt == "filled":
        world.provider.top_up(10, world.seconds)
    found = reconcile(world, exclusive=doubt != "shared", wait=0 if doubt == "in flight" else 400)
    assert found.bracket.doubts
    assert found.settled == ()
    assert state_of(world, "lost") == (State.UNKNOWN, 1)


def test_spending_past_the_ledger_is_told(world):
    """Another client under the same key: nothing in the ledger explains it."""
    reconcile(world)
    world.provider.run(request(resolution="2k").body(), KEY, world.seconds)
    found = reconcile(world)
    [finding] = found.findings
    assert (finding.kind, finding.words) == (Kind.BYPASSED, "4 credits were spent past this ledger")
    assert found.difference == 4


def test_what_others_left_is_brought_to_its_end_first(world):
    """An accepted job whose owner is gone is settled by its own header, and then nothing differs."""
    reconcile(world)
    submit(world, "left", finish=False, resolution="2k")
    found = reconcile(world)
    assert ([entry.key for entry in found.ended], found.open_jobs) == (["left"], 0)
    assert (found.difference, found.bracket.doubts) == (0, ())


def test_a_balance_that_is_not_told_changes_nothing(world, monkeypatch):
    """Without a reading nothing is kept, and nothing is compared."""
    reconcile(world)
    monkeypatch.setattr(world, "get", lambda effect: Answer(500, {}, b"{}"))
    found = reconcile(world)
    assert (found.balance, found.bracket, found.difference) == (None, None, 0)
    monkeypatch.undo()
    assert reconcile(world).bracket.before.balance.total == 100_000
