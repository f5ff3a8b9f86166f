"""Law 12: scalar, columnar and proven evaluation agree; here the compiled engine and the tree walk."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest
from policies.decision import Decision
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
    from planner.request import closed_fields

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
