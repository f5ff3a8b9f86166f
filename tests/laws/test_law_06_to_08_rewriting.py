"""Laws 6 to 8: a rewritten request is valid and priced again, not dearer unasked, and comes to rest."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings

from planner.documents import read_yaml
from planner.errors import ConfigError
from planner.loading import price_book, shipped_prices
from planner.quoting import quote
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import Allowance, Usage
from policies.decision import Decision, Outcome, Verdict
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.policy_strategies import instants, labels, policy_data, policy_of, text_of, usage_from
from tests.laws.strategies import FACE, requests

AT = datetime(2026, 11, 22, tzinfo=UTC)
LABELS = {"team": ["social", "brand"], "stage": ["draft", "production"], "campaign": "any"}


def policy_with(*rules: dict[str, Any], **more: Any) -> Policy:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules, 1)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "labels": LABELS, "rules": named, **more}
    return parse_policy(text_of(data), "p.yaml")


def decide(policy: Policy, labels: dict[str, str] | None = None, **inputs: Any) -> Decision:
    request = {"prompt": "x", **inputs}
    return policy.decide(request, labels, book=shipped_prices(), at=AT, usage=lambda allowance: Usage())


@settings(max_examples=60, deadline=None)
@given(policy_data(), requests(), labels(), instants)
def test_06_after_every_rewrite_the_request_is_valid_and_quoted_again(
    data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
) -> None:
    """The final request parses, its quote is its price, and the receipts lead from the one to the other."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    found = policy.decide(request, given_labels, book=shipped_prices(), at=at, usage=usage_from(3))
    assert parse_request(found.request.inputs()) == found.request
    assert found.quote == quote(found.request, shipped_prices(), at)
    saved = sum(change.credits_saved for change in found.changes)
    assert found.asked_quote.credits - saved == found.credits
    left = dict(request.inputs())
    for change in found.changes:
        if change.field != "face_reference":
            assert left.get(change.field) == change.before
        left[change.field] = change.after or None
    assert {name: value for name, value in left.items() if value is not None} == found.request.inputs()


@settings(max_examples=60, deadline=None)
@given(policy_data(), requests(), labels(), instants)
def test_07_a_rewrite_never_raises_the_price_unless_its_rule_says_so(
    data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
) -> None:
    """No rule's receipts add up to more than nothing, except of one that says `may_cost_more`."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    found = policy.decide(request, given_labels, book=shipped_prices(), at=at, usage=usage_from(3))
    dearer = {rule["name"] for rule in data["rules"] if rule.get("may_cost_more")}
    for name in {change.rule for change in found.changes} - dearer:
        assert sum(change.credits_saved for change in found.changes if change.rule == name) >= 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [{"rewrite": {"resolution": "2k"}}],
            "`rule-1` would raise the price from 1 to 4 credits for a plain request",
        ),
        (
            [{"when": {"stage": "draft"}, "rewrite": {"generation_mode": "balanced"}}],
            "`rule-1` would raise the price from 1 to 2 credits for `stage: draft`",
        ),
        (
            [
                {"when": {"stage": "draft"}, "rewrite": {"generation_mode": "fast"}},
                {"when": {"stage": "production"}, "rewrite": {"generation_mode": "quality"}},
            ],
            "`rule-2` would raise the price from 1 to 3 credits for `stage: production`",
        ),
        (
            [{"when": {"generation_mode": "balanced"}, "rewrite": {"generation_mode": "absent"}}],
            "`rule-1` would raise the price from 3 to 4 credits"
            " for `resolution: 2k, generation_mode: balanced`",
        ),
    ],
)
def test_07_a_rule_that_can_raise_the_price_is_refused_when_loaded(
    rules: list[dict[str, Any]], message: str
) -> None:
    """The fault names the rule, the prices and a request; `may_cost_more` lets the policy in."""
    with pytest.raises(ConfigError) as raised:
        policy_with(*rules)
    assert message in [fault.message for fault in raised.value.faults]
    assert raised.value.faults[0].where == "p.yaml:1"
    policy_with(*({**rule, "may_cost_more": True} for rule in rules))


@pytest.mark.parametrize(
    "rules",
    [
        [{"when": {"resolution": {"above": "1k"}}, "rewrite": {"resolution": "1k"}}],
        [
            {"when": {"stage": "draft"}, "rewrite": {"resolution": "1k"}},
            {
                "when": {"stage": "draft", "resolution": "4k"},
                "rewrite": {"generation_mode": "quality"},
            },
        ],
        [{"rewrite": {"face_reference": "absent", "output_format": "jpeg"}}],
    ],
)
def test_07_a_rule_that_never_raises_it_where_it_is_reached_is_fine(rules: list[dict[str, Any]]) -> None:
    """What an earlier rule makes impossible is not held against a later one."""
    assert policy_with(*rules).settled


DEARER = """
price_book: fashn
checked: 2027-02-01
entries:
  - from: 2027-01-01
    source: a price list that turns the modes around
    credits:
      fast:     {1k: 9, 2k: 9, 4k: 9}
      balanced: {1k: 2, 2k: 3, 4k: 4}
      quality:  {1k: 3, 2k: 4, 4k: 5}
    face_reference: 3
    omitted_mode: {1k: balanced, 2k: quality, 4k: quality}
"""


def test_07_under_a_price_nobody_foresaw_the_rewrite_is_denied() -> None:
    """A book that was not known at load is watched at run time: the request stays and is denied."""
    policy = policy_with({"rewrite": {"generation_mode": "fast"}})
    book = shipped_prices().extended(price_book(read_yaml(DEARER)).entries)
    at = datetime(2027, 1, 2, tzinfo=UTC)
    found = policy.decide({"prompt": "x"}, book=book, at=at, usage=lambda allowance: Usage())
    assert (found.verdict, found.request, found.changes) == (Verdict.DENY, found.asked, ())
    assert found.findings[0].outcome is Outcome.COSTS_MORE
    assert found.findings[0].because == "it would cost 9 credits instead of 2"


@settings(max_examples=40, deadline=None)
@given(policy_data(), requests(), labels(), instants)
def test_08_deciding_the_outcome_again_changes_nothing(
    data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
) -> None:
    """What may go, or may go with an approval, is left as it is by the same policy."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    book, usage = shipped_prices(), usage_from(3)
    first = policy.decide(request, given_labels, book=book, at=at, usage=usage)
    assume(first.verdict is not Verdict.DENY)
    second = policy.decide(first.request, given_labels, book=book, at=at, usage=usage)
    assert (second.verdict, second.request, second.changes) == (first.verdict, first.request, ())


def test_08_rules_that_never_come_to_rest_are_refused_naming_both_and_a_request() -> None:
    """The first rule would fire again on what the second leaves."""
    with pytest.raises(ConfigError) as raised:
        policy_with(
            {"when": {"team": "social", "num_images": {"above": 1}}, "rewrite": {"generation_mode": "fast"}},
            {
                "when": {"generation_mode": "fast", "num_images": 4},
                "rewrite": {"generation_mode": "balanced", "num_images": 2},
            },
        )
    assert "`rule-1` changes again what `rule-2` leaves, for `" in raised.value.faults[0].message
    assert "num_images: 4" in raised.value.faults[0].message


def test_08_a_rule_may_not_change_its_own_result() -> None:
    """Leaving the mode out at 2k is billed as quality, which the rule would take for a reason again."""
    with pytest.raises(ConfigError) as raised:
        policy_with(
            {"when": {"generation_mode": "quality", "num_images": 4}, "rewrite": {"num_images": 2}},
            {"when": {"num_images": {"at_least": 2}}, "rewrite": {"generation_mode": "quality"},
             "may_cost_more": True},
            {"when": {"num_images": 4}, "rewrite": {"num_images": 3}},
            {"when": {"num_images": 3}, "rewrite": {"num_images": 4}, "may_cost_more": True},
        )  # fmt: skip
    assert any("changes again what" in fault.message for fault in raised.value.faults)


def test_08_rules_that_depend_on_what_is_used_are_examined_as_well() -> None:
    """Below half of the month the first rule would change again what the second leaves."""
    fresh = {"used": {"month": {"below": "50%"}}}
    rules = [
        {"when": {**fresh, "num_images": 3}, "rewrite": {"num_images": 2}},
        {"when": {**fresh, "num_images": 4}, "rewrite": {"num_images": 3}},
    ]
    with pytest.raises(ConfigError) as raised:
        policy_with(*rules, budgets=[{"name": "month", "limit": "100 credits", "per": "month"}])
    assert [fault.message for fault in raised.value.faults] == [
        "`rule-1` changes again what `rule-2` leaves, for `num_images: 4`"
    ]
    assert policy_with(*reversed(rules), budgets=[{"name": "month", "limit": 100, "per": "month"}]).settled


def test_08_under_a_price_nobody_foresaw_a_restless_result_is_denied() -> None:
    """Fast is cheap today; under a book that turns it around the first rule would fire again."""
    policy = policy_with(
        {"when": {"credits": {"at_least": 9}}, "rewrite": {"num_images": 1}},
        {"rewrite": {"generation_mode": "fast"}, "may_cost_more": True},
    )
    assert policy.settled
    book = shipped_prices().extended(price_book(read_yaml(DEARER)).entries)
    found = policy.decide(
        {"prompt": "x", "num_images": 2}, book=book, at=datetime(2027, 1, 2, tzinfo=UTC), usage=empty
    )
    assert found.verdict is Verdict.DENY
    assert [finding.outcome for finding in found.findings] == [Outcome.REWRITE, Outcome.NOT_EVALUABLE]


def empty(allowance: Allowance) -> Usage:
    return Usage()


def test_a_receipt_shows_that_a_face_was_dropped_but_not_whose() -> None:
    """References stand as true and false, and the price falls by what the face cost."""
    policy = policy_with({"when": {"stage": "draft"}, "rewrite": {"face_reference": "absent"}})
    found = decide(policy, {"stage": "draft"}, face_reference=FACE)
    assert [change.as_json() for change in found.changes] == [
        {"field": "face_reference", "before": True, "after": False, "rule": "rule-1", "credits_saved": 3}
    ]
    assert FACE not in repr(found.changes) + str(found.as_json())


def test_a_rewrite_to_what_the_provider_does_anyway_changes_nothing() -> None:
    """1k is the default and an omitted mode at 1k is fast, so there is nothing to write out."""
    policy = policy_with({"rewrite": {"resolution": "1k", "generation_mode": "fast"}})
    assert decide(policy).changes == ()
    assert decide(policy, resolution="2k").credits == 1


def test_rewriting_can_be_refused_by_the_caller() -> None:
    """Then the request stays as it is and is denied with the rule that would have changed it."""
    policy = policy_with({"rewrite": {"resolution": "1k"}})
    found = policy.decide(
        {"prompt": "x", "resolution": "2k", "generation_mode": "fast"},
        book=shipped_prices(),
        at=AT,
        usage=lambda allowance: Usage(),
        allow_rewrite=False,
    )
    assert (found.verdict, found.request.resolution, found.changes) == (Verdict.DENY, "2k", ())
    assert [finding.outcome for finding in found.findings] == [Outcome.REWRITE_REFUSED]


def test_money_in_receipts_is_whole_credits() -> None:
    """Receipts of two fields of one rule add up to what the rule saves."""
    policy = policy_with(
        {"rewrite": {"resolution": "1k", "generation_mode": "fast"}}, credit_price=Decimal("0.05")
    )
    found = decide(policy, resolution="4k", generation_mode="quality", num_images=2)
    assert [change.credits_saved for change in found.changes] == [4, 4]
    assert found.credits == 2
