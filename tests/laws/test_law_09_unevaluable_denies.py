"""Law 9: a rule that cannot be evaluated denies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from planner.errors import ConfigError, InputError, OperatorError
from planner.loading import shipped_latency, shipped_prices
from policies.budgets import Allowance, Usage
from policies.decision import Outcome, Verdict
from policies.engine import Policy
from policies.loading import parse_policy
from policies.rules import facts_of
from tests.laws.policy_strategies import text_of

AT = datetime(2026, 11, 22, tzinfo=UTC)
MONTH = {"name": "month", "limit": "100 credits", "per": "month"}


def policy_with(*rules: dict[str, Any], **more: Any) -> Policy:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules, 1)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "rules": named, **more}
    return parse_policy(text_of(data), "p.yaml")


def broken(allowance: Allowance) -> Usage:
    raise ZeroDivisionError(allowance.budget)


def findings(policy: Policy, usage: Any = broken, **inputs: Any) -> list[tuple[str, str]]:
    found = policy.decide({"prompt": "x", **inputs}, book=shipped_prices(), at=AT, usage=usage)
    assert (found.verdict is Verdict.DENY) == any(
        finding.outcome is Outcome.NOT_EVALUABLE for finding in found.findings
    )
    return [(finding.rule, finding.outcome.value) for finding in found.findings]


@pytest.mark.parametrize(
    "action",
    [{"deny": "no"}, {"needs_approval": "finance"}, {"allow": "yes"}, {"rewrite": {"num_images": 1}}],
)
def test_a_rule_of_any_kind_that_cannot_be_judged_denies(action: dict[str, Any]) -> None:
    """Usage that cannot be read leaves the rule and the budget unjudged, and both say so."""
    policy = policy_with({"when": {"used": {"month": {"above": "50%"}}}, **action}, budgets=[MONTH])
    assert findings(policy) == [("rule-1", "not_evaluable"), ("month", "not_evaluable")]


def test_a_rule_that_fails_for_another_reason_is_no_doubt() -> None:
    """Where the resolution already rules it out, it does not matter that usage cannot be read."""
    when = {"resolution": "4k", "used": {"month": {"above": "50%"}}}
    policy = policy_with({"when": when, "deny": "no"}, budgets=[MONTH])
    assert findings(policy) == [("month", "not_evaluable")]
    assert findings(policy, resolution="4k")[0] == ("rule-1", "not_evaluable")


def test_a_rule_that_holds_for_another_reason_fires() -> None:
    """One side of an `any` is enough; the unreadable other side changes nothing."""
    when = {"any": [{"resolution": "4k"}, {"used": {"month": {"above": "50%"}}}]}
    policy = policy_with({"when": when, "needs_approval": "lead"}, budgets=[MONTH])
    assert findings(policy, resolution="4k")[0] == ("rule-1", "needs_approval")
    assert findings(policy)[0] == ("rule-1", "not_evaluable")


def test_the_negation_of_what_cannot_be_read_cannot_be_read_either() -> None:
    """`not` does not turn a missing answer into a yes."""
    policy = policy_with({"when": {"not": {"used": {"month": "0%"}}}, "deny": "no"}, budgets=[MONTH])
    assert findings(policy)[0] == ("rule-1", "not_evaluable")


def test_a_service_time_that_the_profile_does_not_have_denies() -> None:
    """A profile without a row for the request leaves a condition on seconds without an answer."""
    policy = policy_with(
        {"when": {"seconds": {"above": 60}}, "deny": "too slow"}, latency_profile=shipped_latency().name
    )
    assert findings(policy, usage=lambda allowance: Usage()) == []
    empty = Policy(
        name="p", digest="", text="", zone=policy.zone, labels=(), budgets=(), rules=policy.rules,
        otherwise=None, enforced=True, latency=replace(shipped_latency(), rows={}),
    )  # fmt: skip
    assert findings(empty) == [("rule-1", "not_evaluable")]


@pytest.mark.parametrize(
    ("rule", "more", "message"),
    [
        ({"when": {"usd": {"above": 1}}, "deny": "no"}, {}, "`usd` needs a credit price"),
        ({"when": {"seconds": {"above": 1}}, "deny": "no"}, {}, "`seconds` needs a latency profile"),
        ({"deny": "no"}, {"budgets": [{**MONTH, "limit": "5 USD"}]}, "a limit in USD needs a credit price"),
    ],
)
def test_what_can_be_known_at_load_is_refused_at_load(
    rule: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    """A policy that lacks what its conditions read does not get as far as a request."""
    with pytest.raises(ConfigError) as raised:
        policy_with(rule, **more)
    assert [fault.message for fault in raised.value.faults] == [message]


def test_a_ledger_that_cannot_be_reached_is_an_error_not_a_verdict() -> None:
    """The operator's trouble passes through, from a condition as from a budget."""

    def down(allowance: Allowance) -> Usage:
        raise OperatorError("the disk is full")

    for rules in ([], [{"when": {"used": {"month": "0%"}}, "deny": "no"}]):
        policy = policy_with(*rules, budgets=[MONTH])
        with pytest.raises(OperatorError):
            policy.decide({"prompt": "x"}, book=shipped_prices(), at=AT, usage=down)


def test_a_label_that_is_no_text_is_refused() -> None:
    """Labels are text; a number is the caller's mistake and is named."""
    policy = policy_with({"deny": "no"}, labels={"team": "any"})
    with pytest.raises(InputError, match="the label `team` is not text"):
        policy.decide({"prompt": "x"}, {"team": 7}, book=shipped_prices(), at=AT, usage=broken)  # type: ignore[dict-item]


def test_a_budget_that_may_count_an_entry_counts_it() -> None:
    """An entry without a rate cannot be judged by `usd`; its credits are not lost from sight."""
    policy = policy_with(budgets=[{**MONTH, "applies_to": {"usd": {"above": 1}}}], credit_price="on-demand")
    decision = policy.decide({"prompt": "x"}, book=shipped_prices(), at=AT, usage=lambda allowance: Usage())
    assert decision.allowances == ()
    facts = facts_of(decision.request, decision.quote, {}, AT, rate_microusd=None)
    assert [allowance.budget for allowance in policy.allowances(facts)] == ["month"]
