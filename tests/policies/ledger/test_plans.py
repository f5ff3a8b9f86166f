"""What a plan does not hold is not admitted, and what is said to one is kept; on both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from planner.loading import shipped_prices
from policies.guard.machine import Job
from policies.ledger.entries import Planned, TurnedDown
from policies.ledger.states import State
from tests.laws.world import World, policy_of, request

pytestmark = pytest.mark.usefixtures("each_engine")

BOOK = shipped_prices()
TEXT = """
policy: 1
name: test
timezone: UTC
otherwise: allow
budgets:
  - name: month
    limit: 5 credits
    per: month
    when_exhausted: {downgrade: {give_up_in_order: [resolution]}}
rules:
  - {name: mine, when: {seed: 7}, needs_approval: finance}
"""


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path, policy_of(TEXT))
    yield found
    found.close()


def planned(world, key, **fields):
    """An ask whose plan was made while the budget was empty."""
    ask = world.ask(key, request(**fields))
    decision = world.policy.decide(
        ask.request, {}, book=BOOK, at=world.store.now(), usage=world.store.usage(world.policy)
    )
    held = Planned(world.policy.digest, world.store.mac(decision.request), decision.credits)
    return replace(ask, planned=held)


def refused(found):
    """Why a plan did not let a job go; nothing is held for it."""
    assert isinstance(found, TurnedDown)
    assert (found.entry.state, found.entry.credits) == (State.DENIED, 0)
    last = found.decision.findings[-1]
    assert last.rule == "plan"
    return last.because


def test_a_budget_that_filled_up_since_sends_nothing_else(world):
    """The policy would go down to a smaller picture by now; the plan holds the large one."""
    worker = world.worker()
    asked = planned(world, "second", resolution="2k", generation_mode="fast")
    assert isinstance(worker.submit(world.ask("first", request(resolution="2k"))), Job)
    assert "another request would be sent" in refused(worker.submit(asked))
    assert isinstance(worker.submit(replace(asked, key="third", planned=None)), Job)


def test_another_text_of_the_policy_sends_nothing(world):
    """Whatever it says: the plan was decided by another one."""
    asked = planned(world, "look")
    world.store.bring_in_force(policy_of(TEXT.replace("5 credits", "6 credits")))
    assert "another text of the policy" in refused(world.worker().submit(asked))


def test_another_price_sends_nothing(world):
    """One credit more or less than the plan says is not what somebody agreed to."""
    asked = planned(world, "look")
    for more in (1, -1):
        dearer = replace(asked.planned, credits=asked.planned.credits + more)
        assert "credits now" in refused(world.worker().submit(replace(asked, planned=dearer)))
    assert isinstance(world.worker().submit(asked), Job)


def test_a_plan_answers_no_rule(world):
    """What needs an approval still waits for it: a plan only takes away."""
    found = world.worker().submit(planned(world, "look", seed=7))
    assert isinstance(found, TurnedDown)
    assert found.entry.state is State.WAITING


def test_the_last_word_counts_and_ends(world):
    """Approved until an instant, denied, approved again; one that was begun in time goes on."""
    plans, now = world.store.plans, world.store.now()
    assert plans.standing("d" * 64) == plans.standing("e" * 64)
    assert not plans.standing("d" * 64).is_approved(now)
    for approved in (True, False, True):
        plans.answer("d" * 64, approved=approved, who="Ana", because="so", until=now + timedelta(hours=1))
        standing = plans.standing("d" * 64)
        assert standing.is_approved(now) is approved
        assert (standing.answer.who, standing.answer.because) == ("Ana", "so")
    assert not plans.standing("d" * 64).is_approved(now + timedelta(hours=1))
    plans.begin("d" * 64, "main", "main")
    assert plans.standing("d" * 64).is_approved(now + timedelta(hours=2))
    assert not plans.standing("e" * 64).is_approved(now)


def test_it_is_begun_and_ended_once(world):
    """A second beginning or end changes neither instant."""
    plans = world.store.plans
    plans.begin("d" * 64, "main", "main")
    begun = plans.standing("d" * 64)
    assert begun.begun is not None
    assert begun.ended is None
    plans.begin("d" * 64, "main", "main")
    assert plans.standing("d" * 64) == begun
    plans.end("d" * 64)
    ended = plans.standing("d" * 64)
    plans.end("d" * 64)
    assert plans.standing("d" * 64) == ended
    assert ended.ended is not None
