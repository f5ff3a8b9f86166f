"""Law 10: a denial lists what would pass, each alternative verified by the same engine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest, parse_request
from policies.alternatives import alternatives
from policies.budgets import Allowance, Usage
from policies.decision import Verdict
from policies.loading import parse_policy
from tests.laws.policy_strategies import instants, labels, policy_data, policy_of, text_of, usage_from
from tests.laws.strategies import FACE, requests

AT = datetime(2026, 11, 22, tzinfo=UTC)
LABELS = {"team": ["social", "brand"]}


def offered(
    rules: list[dict[str, Any]],
    inputs: dict[str, Any],
    usage: Any = lambda allowance: Usage(),
    allow_rewrite: bool = True,
    **more: Any,
) -> list[dict[str, Any]]:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules, 1)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "labels": LABELS, "rules": named, **more}
    policy, book = parse_policy(text_of(data), "p.yaml"), shipped_prices()
    decision = policy.decide(
        {"prompt": "x", **inputs}, book=book, at=AT, usage=usage, allow_rewrite=allow_rewrite
    )
    return [found.as_json() for found in alternatives(policy, decision, book=book, at=AT, usage=usage)]


LARGE = {"when": {"credits": {"above": 12}}, "deny": "too large"}


@pytest.mark.parametrize(
    ("rules", "inputs", "expected"),
    [
        ([LARGE], {"resolution": "4k"}, []),
        (
            [LARGE],
            {"resolution": "2k", "num_images": 4},
            [
                {"changes": {"num_images": 3}, "credits": 12},
                {"changes": {"generation_mode": "balanced"}, "credits": 12},
                {"changes": {"resolution": "1k"}, "credits": 4},
            ],
        ),
        (
            [{"when": {"resolution": "absent"}, "deny": "say how large"}],
            {},
            [{"changes": {"resolution": "1k"}, "credits": 1}],
        ),
        (
            [{"when": {"generation_mode": "fast"}, "deny": "no fast pictures"}],
            {"generation_mode": "fast"},
            [{"changes": {"generation_mode": "balanced"}, "credits": 2}],
        ),
        (
            [{"when": {"any": [{"resolution": "4k"}, {"num_images": 4}]}, "needs_approval": "lead"}],
            {"resolution": "4k", "generation_mode": "fast", "num_images": 4},
            [{"changes": {"num_images": 3, "resolution": "2k"}, "credits": 6}],
        ),
        ([{"when": {"team": "absent"}, "deny": "name your team"}], {}, []),
    ],
)
def test_the_fewest_changes_that_would_pass(
    rules: list[dict[str, Any]], inputs: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    """Alternatives change as few fields as can be and stay as near in price as can be."""
    found = offered(rules, inputs)
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_a_full_budget_offers_what_still_fits() -> None:
    """With 5 credits left, four pictures at 2 become two at 2, or four at 1."""
    budget = {"name": "month", "limit": "105 credits", "per": "month"}
    found = offered(
        [],
        {"generation_mode": "balanced", "num_images": 4},
        usage=lambda allowance: Usage(settled=100),
        budgets=[budget],
    )
    assert {"changes": {"num_images": 2}, "credits": 4} in found
    assert {"changes": {"generation_mode": "fast"}, "credits": 4} in found


def test_a_caller_who_refuses_rewriting_is_told_what_the_policy_would_have_made() -> None:
    """The rewritten request stands as the one alternative, with every field that changes."""
    rule = {"when": {"face_reference": "present"}, "rewrite": {"resolution": "1k", "output_format": "jpeg"}}
    inputs = {"resolution": "4k", "generation_mode": "fast", "face_reference": FACE}
    assert offered([rule], inputs, allow_rewrite=False) == [
        {"changes": {"resolution": "1k", "output_format": "jpeg"}, "credits": 4}
    ]


def test_in_shadow_the_alternatives_are_those_of_the_denial_beside_it() -> None:
    """What would be denied once the policy is enforced can be prepared for."""
    inputs = {"resolution": "2k", "num_images": 4}
    assert offered([LARGE], inputs, enforcement="shadow") == offered([LARGE], inputs)


def test_usage_is_asked_once_for_all_alternatives() -> None:
    """A ledger is not asked again for each candidate."""
    asked: list[Allowance] = []

    def usage(allowance: Allowance) -> Usage:
        asked.append(allowance)
        return Usage(settled=100)

    budget = {"name": "month", "limit": "100 credits", "per": "month"}
    assert offered([], {}, usage=usage, budgets=[budget]) == []
    assert len(asked) == 2  # once for the decision, once for its alternatives


@settings(max_examples=30, deadline=None)
@given(policy_data(), requests(), labels(), instants)
def test_each_alternative_is_allowed_as_it_stands(
    data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
) -> None:
    """Sent instead of what was asked, it is allowed unchanged at the price that was named."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    book, usage = shipped_prices(), usage_from(3)
    decision = policy.decide(request, given_labels, book=book, at=at, usage=usage)
    found = alternatives(policy, decision, book=book, at=at, usage=usage)
    assert not (found and decision.verdict is Verdict.ALLOW)
    for alternative in found:
        changes = {k: v for k, v in alternative.changes.items() if not k.endswith("_reference")}
        inputs = {**request.inputs(), **changes}
        inputs = {k: v for k, v in inputs.items() if alternative.changes.get(k, v) and v is not None}
        again = policy.decide(parse_request(inputs), given_labels, book=book, at=at, usage=usage)
        assert (again.verdict, again.changes, again.credits) == (Verdict.ALLOW, (), alternative.credits)
