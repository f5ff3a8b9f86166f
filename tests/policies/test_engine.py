"""Decisions: budgets, labels, receipts, digests, and what reaches `--json`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from planner.errors import InvalidRequest, NoPrice
from planner.loading import shipped_prices
from policies.budgets import Allowance, Usage
from policies.decision import Decision, Outcome
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.policy_strategies import text_of
from tests.laws.strategies import FACE

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
LABELS = {"team": ["social", "brand"], "stage": ["draft", "production"], "campaign": "any"}


def policy_with(**more: Any) -> Policy:
    data = {"policy": 1, "name": "p", "otherwise": "allow", "labels": LABELS, **more}
    return parse_policy(text_of(data), "folder/p.yaml")


def decide(
    policy: Policy,
    labels: dict[str, str] | None = None,
    usage: Any = lambda allowance: Usage(),
    **inputs: Any,
) -> Decision:
    return policy.decide({"prompt": "x", **inputs}, labels, book=shipped_prices(), at=AT, usage=usage)


def budget(**more: Any) -> dict[str, Any]:
    return {"name": "month", "limit": "100 credits", "per": "month", **more}


@pytest.mark.parametrize(
    ("usage", "images", "verdict", "outcomes"),
    [
        (Usage(), 1, "allow", []),
        (Usage(settled=96), 4, "allow", []),
        (Usage(settled=97), 4, "deny", ["budget_full"]),
        (Usage(held=97), 4, "deny", ["budget_full"]),
        (Usage(unknown=97), 4, "deny", ["budget_full"]),
        (Usage(settled=40, held=40, unknown=17), 4, "deny", ["budget_full"]),
        (Usage(settled=97, granted=1), 4, "allow", []),
        (Usage(settled=150), 1, "deny", ["budget_full"]),
    ],
)
def test_a_budget_lets_through_what_fits(
    usage: Usage, images: int, verdict: str, outcomes: list[str]
) -> None:
    """Settled, held and unknown count against the limit, and a grant raises it."""
    found = decide(policy_with(budgets=[budget()]), usage=lambda allowance: usage, num_images=images)
    assert (found.verdict.value, [item.outcome.value for item in found.findings]) == (verdict, outcomes)


@pytest.mark.parametrize(
    ("settled", "warned"),
    [
        (48, []),
        (49, ["50 of 100 credits are used with this"]),
        (79, ["80 of 100 credits are used with this"]),
    ],
)
def test_a_budget_warns_once_at_the_highest_level_reached(settled: int, warned: list[str]) -> None:
    """The level counts with this request in it."""
    policy = policy_with(budgets=[budget(warn_at=["50%", "80%"])])
    found = decide(policy, usage=lambda allowance: Usage(settled=settled))
    assert found.verdict.value == "allow"
    assert [item.because for item in found.findings] == warned


def test_all_budgets_are_tried_at_once_and_the_strictest_wins() -> None:
    """A full budget that denies beats one that asks; both are told."""
    asking = budget(name="asks", when_exhausted={"needs_approval": "finance"})
    full = Usage(settled=100)
    both = decide(policy_with(budgets=[asking, budget()]), usage=lambda allowance: full)
    assert (both.verdict.value, both.approvers) == ("deny", ())
    assert [finding.rule for finding in both.findings] == ["asks", "month"]
    one = decide(policy_with(budgets=[asking]), usage=lambda allowance: full)
    assert (one.verdict.value, one.approvers) == ("needs_approval", ("finance",))


def test_budgets_count_the_final_request() -> None:
    """After a rewrite the smaller price has to fit, and only allowances that apply to it are asked for."""
    rewrite = {"name": "small", "when": {"num_images": 4}, "rewrite": {"num_images": 1}}
    many = budget(name="many", applies_to={"num_images": {"above": 1}})
    asked: list[str] = []

    def usage(allowance: Allowance) -> Usage:
        asked.append(allowance.budget)
        return Usage(settled=99)

    found = decide(policy_with(budgets=[budget(), many], rules=[rewrite]), usage=usage, num_images=4)
    assert (found.verdict.value, found.credits, found.asked_quote.credits) == ("allow", 1, 4)
    assert asked == ["month"] == [allowance.budget for allowance in found.allowances]


def test_a_budget_in_usd_counts_whole_micro_dollars() -> None:
    """A dollar at 7.5 cents a credit lets 13 credits through, and not 14."""
    policy = policy_with(budgets=[budget(limit="1 USD")], credit_price="on-demand")
    spent = Usage(settled=12 * 75_000)
    assert decide(policy, usage=lambda allowance: spent).verdict.value == "allow"
    found = decide(policy, usage=lambda allowance: spent, num_images=2)
    assert found.findings[0].because == "0.90 of 1.00 USD are used, this needs 0.15"
    assert policy.rate_microusd == 75_000


def test_usage_is_read_once_for_each_allowance() -> None:
    """Within one decision, conditions and budgets see the same figures."""
    calls: list[Allowance] = []

    def usage(allowance: Allowance) -> Usage:
        calls.append(allowance)
        return Usage(settled=len(calls))

    rule = {"name": "r", "when": {"used": {"month": {"above": "50%"}}}, "deny": "no"}
    decide(policy_with(budgets=[budget()], rules=[rule]), usage=usage)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("labels", "verdict", "rules"),
    [
        ({"team": "social"}, "allow", []),
        ({"team": " social "}, "allow", []),
        ({"team": "Social"}, "deny", ["label team"]),
        ({"team": "x", "stage": "y"}, "deny", ["label team", "label stage"]),
        ({"campaign": "anything", "sku": "travels along"}, "allow", []),
        ({"team": ""}, "allow", []),
    ],
)
def test_a_value_that_a_listed_label_does_not_have_is_denied(
    labels: dict[str, str], verdict: str, rules: list[str]
) -> None:
    """Only declared labels are read; their case counts, their blanks do not."""
    found = decide(policy_with(), labels)
    assert (found.verdict.value, [finding.rule for finding in found.findings]) == (verdict, rules)
    assert set(found.labels) <= set(LABELS)


def test_the_document_of_a_decision_has_its_documented_keys() -> None:
    """One element of `decisions`: closed fields only, receipts, and findings with file and line."""
    rule = {
        "name": "small",
        "when": {"resolution": "4k"},
        "rewrite": {"resolution": "2k"},
        "because": "enough",
    }
    found = decide(policy_with(rules=[rule]), resolution="4k", face_reference=FACE, prompt="secret words")
    shown = found.as_json()
    assert list(shown) == ["verdict", "credits", "fields", "changes", "findings", "alternatives"]
    assert shown["changes"] == [
        {"field": "resolution", "before": "4k", "after": "2k", "rule": "small", "credits_saved": 1}
    ]
    assert shown["findings"] == [
        {"rule": "small", "outcome": "rewrite", "because": "enough", "where": "p.yaml:1"}
    ]
    assert (shown["fields"]["face_reference"], shown["fields"]["resolution"]) == (True, "2k")
    assert "secret words" not in str(shown) + repr(found)
    assert FACE not in str(shown) + repr(found)


def test_in_shadow_the_document_shows_what_would_have_been_decided() -> None:
    """The answer is allow, as asked; the denial stands beside it."""
    policy = policy_with(rules=[{"name": "no", "deny": "never"}], enforcement="shadow")
    shown = decide(policy).as_json()
    assert (shown["verdict"], shown["findings"]) == ("allow", [])
    assert shown["shadowed"]["verdict"] == "deny"


def test_the_digest_is_that_of_the_values() -> None:
    """Comments, order of keys and layout do not change it; a limit does."""
    plain = "policy: 1\nname: p\notherwise: allow\nbudgets: [{name: b, limit: 5, per: day}]\n"
    block = "# a comment\nname: p\npolicy: 1\notherwise: allow\n"
    block += "budgets:\n  - per: day\n    limit: 5\n    name: b\n"
    digests = [parse_policy(text, "p.yaml").digest for text in (plain, block, plain.replace("5", "6"))]
    assert digests[0] == digests[1] != digests[2]
    assert decide(parse_policy(plain, "p.yaml")).policy_digest == digests[0]


def test_what_the_provider_would_refuse_is_no_decision() -> None:
    """A bad request and an instant without a price are errors, not verdicts."""
    with pytest.raises(InvalidRequest):
        decide(policy_with(), resolution="8k")
    with pytest.raises(NoPrice):
        policy_with().decide(
            {"prompt": "x"},
            book=shipped_prices(),
            at=AT - timedelta(days=3650),
            usage=lambda allowance: Usage(),
        )


@pytest.mark.parametrize(
    ("rule", "because"),
    [
        ({"deny": "too large"}, "too large"),
        ({"deny": "too large", "because": "ask first"}, "too large; ask first"),
        ({"deny": True}, "this rule denies such requests"),
        ({"needs_approval": "finance"}, "finance has to approve such requests"),
        ({"needs_approval": "finance", "because": "it is large"}, "it is large"),
        ({"allow": True, "because": "known"}, "known"),
    ],
)
def test_a_finding_says_why_in_the_words_of_the_rule(rule: dict[str, Any], because: str) -> None:
    """The author's reason, or the plainest that can be said."""
    found = decide(policy_with(rules=[{"name": "r", **rule}]))
    assert found.findings[0].because == because
    assert found.findings[0].outcome in (Outcome.DENY, Outcome.NEEDS_APPROVAL, Outcome.ALLOW)
