"""Law 11: shadow and enforce share one path; in shadow the request goes as asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.quoting import quote
from planner.request import ModelCreateRequest
from policies.decision import Decision, Verdict
from policies.rules import facts_of
from tests.laws.policy_strategies import instants, labels, policy_data, policy_of, usage_from
from tests.laws.strategies import requests


def comparable(decision: Decision) -> Decision:
    """A decision without what names its policy and whether its budgets block."""
    allowances = tuple(allowance._replace(blocks=False) for allowance in decision.allowances)
    return decision._replace(ruling=replace(decision.ruling, policy_digest=""), allowances=allowances)


@settings(max_examples=60, deadline=None)
@given(policy_data(), requests(), labels(), instants, st.booleans())
def test_shadow_decides_the_same_and_lets_it_go_as_asked(
    data: dict[str, Any],
    request: ModelCreateRequest,
    given_labels: dict[str, str],
    at: datetime,
    allow_rewrite: bool,
) -> None:
    """What stands beside the shadow's answer is the decision that the enforced policy makes."""
    enforced, shadow = policy_of(data), policy_of({**data, "enforcement": "shadow"})
    assume(enforced is not None)
    assert enforced is not None
    assert shadow is not None
    book, usage = shipped_prices(), usage_from(5)
    made = enforced.decide(request, given_labels, book=book, at=at, usage=usage, allow_rewrite=allow_rewrite)
    found = shadow.decide(request, given_labels, book=book, at=at, usage=usage, allow_rewrite=allow_rewrite)
    assert made.shadowed is None
    assert found.shadowed is not None
    assert comparable(found.shadowed) == comparable(made)
    assert (found.verdict, found.request, found.changes) == (Verdict.ALLOW, request, ())
    assert found.quote == found.asked_quote == quote(request, book, at)
    facts = facts_of(request, found.quote, found.labels, at, shadow.rate_microusd)
    assert found.allowances == shadow.allowances(facts)
    assert all(allowance.blocks for allowance in made.allowances)
    assert not any(allowance.blocks for allowance in found.allowances)
