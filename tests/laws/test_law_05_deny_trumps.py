"""Law 5: deny trumps needs_approval trumps allow."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from hypothesis import assume, given, settings

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest
from policies.budgets import Usage
from policies.decision import Decision, Verdict, worst
from policies.loading import parse_policy
from tests.laws.policy_strategies import instants, labels, policy_data, policy_of, text_of, usage_from
from tests.laws.strategies import requests

AT = datetime(2026, 11, 22, tzinfo=UTC)
ALLOW = {"name": "yes", "allow": True}
ASK = {"name": "maybe", "needs_approval": "finance"}
DENY = {"name": "no", "deny": "never"}
REWRITE = {"name": "smaller", "when": {"num_images": 4}, "rewrite": {"num_images": 3}}


def decide(rules: list[dict[str, Any]], otherwise: Any = "allow") -> Decision:
    data = {"policy": 1, "name": "order", "otherwise": otherwise, "rules": rules}
    policy = parse_policy(text_of(data), "order.yaml")
    return policy.decide({"prompt": "x"}, book=shipped_prices(), at=AT, usage=lambda allowance: Usage())


@pytest.mark.parametrize("rules", list(permutations([ALLOW, ASK, DENY, REWRITE])))
def test_a_deny_rule_wins_wherever_it_stands(rules: tuple[dict[str, Any], ...]) -> None:
    """The order of rules that judge makes no difference to the verdict."""
    assert decide(list(rules)).verdict is Verdict.DENY
    without = decide([rule for rule in rules if rule is not DENY])
    assert (without.verdict, without.approvers) == (Verdict.NEEDS_APPROVAL, ("finance",))


@pytest.mark.parametrize(
    ("otherwise", "rules", "verdict"),
    [
        ("allow", [], "allow"),
        ("deny", [], "deny"),
        ({"needs_approval": "lead"}, [], "needs_approval"),
        ("needs_approval: lead", [], "needs_approval"),
        ("deny", [ALLOW], "allow"),
        ("deny", [ASK], "needs_approval"),
        ("deny", [ALLOW, ASK], "needs_approval"),
        ({"needs_approval": "lead"}, [ALLOW], "allow"),
        ({"needs_approval": "lead"}, [ALLOW, DENY], "deny"),
    ],
)
def test_otherwise_speaks_where_no_rule_does(
    otherwise: Any, rules: list[dict[str, Any]], verdict: str
) -> None:
    """`otherwise` is the verdict of requests that no deny, approval or allow rule speaks about."""
    assert decide(rules, otherwise).verdict.value == verdict


@settings(max_examples=60, deadline=None)
@given(policy_data(), requests(), labels(), instants)
def test_the_verdict_is_the_strictest_finding(
    data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
) -> None:
    """Over random policies no finding is stricter than the verdict, and approvers are named for it only."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    found = policy.decide(request, given_labels, book=shipped_prices(), at=at, usage=usage_from(3))
    order = [Verdict.ALLOW, Verdict.NEEDS_APPROVAL, Verdict.DENY]
    strictest = max((order.index(finding.verdict) for finding in found.findings), default=0)
    assert order.index(found.verdict) == strictest == order.index(worst(found.findings))
    assert bool(found.approvers) == (found.verdict is Verdict.NEEDS_APPROVAL)
