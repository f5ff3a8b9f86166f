"""Law 12: scalar, columnar and proven evaluation agree.

Here the compiled engine and the tree walk, what is remembered and what is heard anew, and rows in columns
and the same requests one after another.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest, closed_fields
from policies.budgets import Allowance, AskUsage, Usage
from policies.columns import decide_columns
from policies.decision import Decision, Ruling
from policies.downgrading import Floor
from policies.engine import Policy
from policies.moments import Moments
from policies.rules import Facts
from tests.laws.naive import Answer
from tests.laws.policy_strategies import instants, labels, oracle_for, policy_data, policy_of, usage_from
from tests.laws.strategies import requests


def told(decision: Decision) -> Answer:
    """A decision in the plain values of the oracle."""
    return Answer(
        decision.verdict.value,
        decision.request.inputs(),
        decision.credits,
        [(c.field, c.before, c.after, c.rule, c.credits_saved) for c in decision.changes],
        [(finding.rule, finding.outcome.value) for finding in decision.findings],
        [(a.budget, a.scope, a.start, a.end, a.limit, a.unit) for a in decision.allowances],
        list(decision.approvers),
    )


@settings(max_examples=150, deadline=None)
@given(policy_data(), st.lists(st.tuples(requests(), labels()), min_size=1, max_size=6), instants,
       st.integers(0, 1000), st.booleans(), st.booleans())  # fmt: skip
def test_the_compiled_engine_agrees_with_the_tree_walk(
    data: dict[str, Any],
    asked: list[tuple[ModelCreateRequest, dict[str, str]]],
    at: datetime,
    seed: int,
    broken: bool,
    allow_rewrite: bool,
) -> None:
    """Verdict, request, price, receipts, findings, allowances and approvers are the same."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    usage = usage_from(seed, broken)
    for request, given_labels in asked:
        decision = policy.decide(
            request, given_labels, book=shipped_prices(), at=at, usage=usage, allow_rewrite=allow_rewrite
        )
        event(decision.verdict.value)
        event("rewritten" if decision.rewritten else "as asked")
        naive = oracle_for(data, given_labels, at, usage).decide(request.inputs(), allow_rewrite)
        assert told(decision) == naive


@settings(max_examples=50, deadline=None)
@given(policy_data(), requests(), labels(), instants)
def test_an_entry_counts_where_its_request_did(
    data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
) -> None:
    """The allowances derived from what a ledger keeps of a job are those of its decision."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    decision = policy.decide(request, given_labels, book=shipped_prices(), at=at, usage=usage_from(1))
    facts = Facts.of_entry(
        closed_fields(decision.request),
        decision.quote.billed_mode,
        decision.credits,
        policy.rate_microusd,
        decision.labels,
        at,
    )
    assert policy.allowances(facts) == decision.allowances


Asked = tuple[ModelCreateRequest, dict[str, str]]
NEAR = [None, 0, 6, 7, 8, 41, 42, 43, 44, 2**32 - 1]
"""Seeds at and beside the ones that conditions name."""


def asked_for() -> st.SearchStrategy[Asked]:
    """A request with labels, and with a seed between which and its neighbours conditions may tell."""
    near = st.builds(lambda request, seed: replace(request, seed=seed), requests(), st.sampled_from(NEAR))
    return st.tuples(near, labels())


def forgetful(policy: Policy) -> Policy:
    """The same compiled policy, which remembers nothing."""
    found = copy(policy)
    found.moments = Moments(policy.compiled)
    return found


@settings(max_examples=150, deadline=None)
@given(policy_data(), st.lists(asked_for(), min_size=2, max_size=12), instants,
       st.integers(0, 1000))  # fmt: skip
def test_what_is_remembered_is_what_is_heard_anew(
    data: dict[str, Any], asked: list[Asked], at: datetime, seed: int
) -> None:
    """A policy that has decided other requests before decides like one that has just been loaded."""
    new = policy_of(data)
    assume(new is not None)
    assert new is not None
    old, usage = forgetful(new), usage_from(seed)
    for request, given_labels in (*asked, *asked):
        found, anew = (
            policy.decide(request, given_labels, book=shipped_prices(), at=at, usage=usage)
            for policy in (old, forgetful(new))
        )
        assert found == anew


@st.composite
def rows(draw: st.DrawFn) -> list[Asked]:
    """Rows of a few kinds that come again and again, as in a file."""
    kinds = draw(st.lists(asked_for(), min_size=1, max_size=6))
    return draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=40))


class Ledger:
    """What is used of allowances, and on top of it what was held since."""

    def __init__(self, usage: AskUsage) -> None:
        self.usage = usage
        self.held: dict[Allowance, int] = {}

    def __call__(self, allowance: Allowance) -> Usage:
        before = self.usage(allowance)
        return before._replace(held=before.held + self.held.get(allowance, 0))

    def hold(self, decision: Decision, rate_microusd: int | None) -> None:
        for allowance in decision.allowances:
            more = allowance.amount(decision.credits, rate_microusd)
            self.held[allowance] = self.held.get(allowance, 0) + more


def one_after_another(
    policy: Policy, asked: list[Asked], at: datetime, usage: AskUsage, allow_rewrite: bool, floor: Floor
) -> tuple[list[Decision], dict[Allowance, int]]:
    """Single decisions, each after the holds of those before it."""
    ledger, found = Ledger(usage), []
    for request, given_labels in asked:
        decision = policy.decide(
            request, given_labels, book=shipped_prices(), at=at, usage=ledger,
            allow_rewrite=allow_rewrite, floor=floor,
        )  # fmt: skip
        if decision.verdict == "allow":
            ledger.hold(decision, policy.rate_microusd)
        found.append(decision)
    return found, ledger.held


floors = st.sampled_from([{}, {}, {"resolution": "2k"}, {"num_images": 2}])


def said(ruling: Ruling) -> tuple[Any, ...]:
    """A ruling without the words of its findings, which name amounts."""
    findings = [(finding.rule, finding.outcome, finding.approver) for finding in ruling.findings]
    return ruling.verdict, ruling.quote, ruling.asked_quote, ruling.changes, ruling.final, findings


@settings(max_examples=300, deadline=None)
@given(policy_data(), st.sampled_from(["on", "on", "on", "shadow"]), rows(), instants, st.integers(0, 1000),
       st.booleans(), st.booleans(), floors, st.sampled_from([1, 5, 2**16]))  # fmt: skip
def test_rows_in_columns_are_decided_like_single_requests(
    data: dict[str, Any],
    enforcement: str,
    asked: list[Asked],
    at: datetime,
    seed: int,
    broken: bool,
    allow_rewrite: bool,
    floor: Floor,
    at_once: int,
) -> None:
    """Every row has the verdict, price, changes and findings that it has alone, after the rows before it."""
    policy = policy_of({**data, "enforcement": enforcement})
    assume(policy is not None)
    assert policy is not None
    usage = usage_from(seed, broken and enforcement == "on")
    closed = [closed_fields(request) for request, _ in asked]
    fields = {name: [row[name] for row in closed] for name in closed[0]}
    told = {name: [own.get(name) for _, own in asked] for name in ("team", "stage", "campaign")}
    with patch("policies.rows.AT_ONCE", at_once):
        found = decide_columns(
            policy, fields, told,
            book=shipped_prices(), at=at, usage=usage, allow_rewrite=allow_rewrite, floor=floor,
        )  # fmt: skip
    singles, held = one_after_another(policy, asked, at, usage, allow_rewrite, floor)
    assert [said(found.ruling(row)) for row in range(len(asked))] == [said(one.ruling) for one in singles]
    shadowed = [said(found.rulings[place]) for place in found.shadowed]
    assert shadowed == [said(one.shadowed.ruling) for one in singles if one.shadowed]
    assert found.held == {allowance: amount for allowance, amount in held.items() if amount}
    assert found.verdicts == [one.verdict for one in singles]
    assert found.credits == [one.credits for one in singles]
    assert found.allowed_credits() == sum(one.credits for one in singles if one.verdict == "allow")
    for one in singles:
        event(one.verdict.value)
        for outcome in {finding.outcome.value for finding in one.findings}:
            event(outcome)
