"""What conditions mean: every operator over every kind of attribute, one line each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from planner.loading import shipped_latency, shipped_prices
from planner.quoting import quote
from planner.request import closed_fields, parse_request
from policies.budgets import Usage
from policies.loading import parse_policy
from policies.rules import Facts, facts_of
from tests.laws.policy_strategies import text_of
from tests.laws.strategies import FACE

TUESDAY = "2026-11-17T10:00:00+01:00"
FACED = {"face_reference": FACE}


def holds(
    when: dict[str, Any], inputs: dict[str, Any], labels: dict[str, str], at: str = TUESDAY, used: int = 0
) -> bool:
    """Whether a condition holds, asked of a policy that denies for it."""
    data = {
        "policy": 1,
        "name": "p",
        "timezone": "Europe/Berlin",
        "otherwise": "allow",
        "credit_price": "on-demand",
        "latency_profile": shipped_latency().name,
        "labels": {"team": ["social", "brand"], "campaign": "any"},
        "budgets": [
            {"name": "month", "limit": "1000 credits", "per": "month"},
            {"name": "social", "limit": "1000 credits", "per": "month", "applies_to": {"team": "social"}},
        ],
        "rules": [{"name": "asked", "when": when, "deny": "because it holds"}],
    }
    found = parse_policy(text_of(data), "p.yaml").decide(
        {"prompt": "x", **inputs},
        labels,
        book=shipped_prices(),
        at=datetime.fromisoformat(at),
        usage=lambda allowance: Usage(settled=used),
    )
    return "asked" in [finding.rule for finding in found.findings]


@pytest.mark.parametrize(
    ("when", "inputs", "expected"),
    [
        # a value, a list, not
        ({"resolution": "4k"}, {"resolution": "4k"}, True),
        ({"resolution": "4k"}, {"resolution": "2k"}, False),
        ({"resolution": ["1k", "2k"]}, {"resolution": "2k"}, True),
        ({"resolution": {"not": "4k"}}, {"resolution": "2k"}, True),
        ({"resolution": {"not": ["1k", "2k"]}}, {"resolution": "2k"}, False),
        # an omitted field is read as its default, an omitted mode as the mode billed
        ({"resolution": "1k"}, {}, True),
        ({"num_images": 1}, {}, True),
        ({"seed": 42}, {}, True),
        ({"return_base64": False}, {}, True),
        ({"output_format": "png"}, {}, True),
        ({"generation_mode": "fast"}, {}, True),
        ({"generation_mode": "quality"}, {"resolution": "2k"}, True),
        # present and absent ask what was sent
        ({"resolution": "present"}, {}, False),
        ({"resolution": "present"}, {"resolution": "1k"}, True),
        ({"generation_mode": "absent"}, {"resolution": "2k"}, True),
        ({"generation_mode": {"not": "present"}}, {}, True),
        ({"face_reference": "present"}, FACED, True),
        ({"face_reference": "absent"}, FACED, False),
        ({"image_reference": {"any": ["present"]}}, {"image_reference": FACE}, True),
        # what does not apply satisfies no comparison; not is plain negation
        ({"aspect_ratio": "1:1"}, {}, True),
        ({"aspect_ratio": "1:1"}, {"image_reference": FACE}, False),
        ({"aspect_ratio": {"not": "1:1"}}, {"image_reference": FACE}, True),
        ({"face_reference_mode": "match_reference"}, {}, False),
        ({"face_reference_mode": "match_reference"}, FACED, True),
        # comparisons, also of closed lists by their order
        ({"num_images": {"above": 2}}, {"num_images": 2}, False),
        ({"num_images": {"at_least": 2}}, {"num_images": 2}, True),
        ({"num_images": {"at_least": 2, "below": 4}}, {"num_images": 4}, False),
        ({"resolution": {"at_least": "2k"}}, {"resolution": "4k"}, True),
        ({"generation_mode": {"below": "quality"}}, {"resolution": "4k"}, False),
        ({"seed": {"above": 7}}, {"seed": 7}, False),
        ({"seed": {"at_most": 7}}, {"seed": 7}, True),
        # credits, dollars, seconds
        ({"credits": {"at_least": 4}}, {"resolution": "2k"}, True),
        ({"credits": [4, 8]}, {"resolution": "2k"}, True),
        ({"usd": {"above": 0}}, {}, True),
        ({"usd": {"above": 1}}, {"resolution": "2k", "num_images": 4}, True),
        ({"seconds": {"above": 100}}, {"resolution": "4k"}, True),
        ({"seconds": {"above": 100}}, {}, False),
        # any, all and not, nested
        ({"any": [{"resolution": "4k"}, {"num_images": 4}]}, {"num_images": 4}, True),
        ({"all": [{"resolution": "4k"}, {"num_images": 4}]}, {"num_images": 4}, False),
        ({"not": {"resolution": "4k", "num_images": 4}}, {"num_images": 4}, True),
        ({"not": {"any": [{"resolution": "4k"}, {"num_images": 4}]}}, {"num_images": 4}, False),
        ({"credits": {"any": [{"below": 2}, {"above": 10}]}}, {"resolution": "2k"}, False),
        ({"credits": {"all": [{"above": 2}, {"not": 5}]}}, {"resolution": "2k"}, True),
        ({"resolution": "4k", "any": [{"face_reference": "present"}]}, {"resolution": "4k"}, False),
    ],
)
def test_conditions_over_the_request(when: dict[str, Any], inputs: dict[str, Any], expected: bool) -> None:
    """What the provider would act on is what a condition reads."""
    assert holds(when, inputs, {}) is expected


@pytest.mark.parametrize(
    ("when", "labels", "expected"),
    [
        ({"team": "social"}, {"team": "social"}, True),
        ({"team": "social"}, {}, False),
        ({"team": {"not": "social"}}, {}, True),
        ({"team": "absent"}, {}, True),
        ({"team": "present"}, {"team": "brand"}, True),
        ({"team": "absent"}, {"team": "  "}, True),
        ({"campaign": ["a", "b"]}, {"campaign": " a "}, True),
        ({"campaign": "A"}, {"campaign": "a"}, False),
        ({"campaign": "Café"}, {"campaign": "Cafe\u0301"}, True),
        ({"campaign": "present"}, {"sku": "1"}, False),
    ],
)
def test_conditions_over_labels(when: dict[str, Any], labels: dict[str, str], expected: bool) -> None:
    """Labels are trimmed and NFC-normalised, their case is kept, and an empty one is missing."""
    assert holds(when, {}, labels) is expected


@pytest.mark.parametrize(
    ("when", "at", "expected"),
    [
        ({"weekday": "tuesday"}, TUESDAY, True),
        ({"weekday": ["saturday", "sunday"]}, TUESDAY, False),
        ({"weekday": "monday"}, "2026-11-15T23:30:00+00:00", True),
        ({"time": {"from": "22:00", "to": "06:00"}}, "2026-11-17T22:00:00+01:00", True),
        ({"time": {"from": "22:00", "to": "06:00"}}, "2026-11-17T05:59:59+01:00", True),
        ({"time": {"from": "22:00", "to": "06:00"}}, "2026-11-17T06:00:00+01:00", False),
        ({"time": {"from": "09:00", "to": "17:00"}}, "2026-11-17T08:30:00+00:00", True),
        ({"time": {"not": {"from": "09:00", "to": "17:00"}}}, TUESDAY, False),
        ({"time": {"from": "00:00", "to": "24:00"}}, TUESDAY, True),
    ],
)
def test_time_is_that_of_the_policys_zone(when: dict[str, Any], at: str, expected: bool) -> None:
    """A span of the day includes its first minute, not its last, and may cross midnight."""
    assert holds(when, {}, {}, at) is expected


@pytest.mark.parametrize(
    ("when", "used", "labels", "expected"),
    [
        ({"used": {"month": {"at_least": "80%"}}}, 800, {}, True),
        ({"used": {"month": {"at_least": "80%"}}}, 799, {}, False),
        ({"used": {"month": {"above": "80%"}}}, 800, {}, False),
        ({"used": {"month": {"below": "12.5%"}}}, 124, {}, True),
        ({"used": {"social": "0%"}}, 0, {"team": "social"}, True),
        ({"used": {"social": "0%"}}, 0, {"team": "brand"}, False),
        ({"used": {"social": {"not": "0%"}}}, 0, {"team": "brand"}, True),
        ({"used": {"month": {"above": "10%"}, "social": {"above": "90%"}}}, 800, {"team": "social"}, False),
    ],
)
def test_the_used_share_of_a_budget(
    when: dict[str, Any], used: int, labels: dict[str, str], expected: bool
) -> None:
    """It is read before the request; a budget the request does not count in satisfies no comparison."""
    assert holds(when, {}, labels, used=used) is expected


def test_the_facts_of_an_entry_are_those_of_its_request() -> None:
    """What a ledger keeps of a job is enough to read all that conditions read."""
    at = datetime(2026, 11, 22, tzinfo=UTC)
    request = parse_request({"prompt": "secret", "resolution": "4k", "face_reference": FACE})
    found = quote(request, shipped_prices())
    live = facts_of(request, found, {"team": "social"}, at, 75_000)
    kept = Facts.of_entry(
        closed_fields(request), found.billed_mode, found.credits, 75_000, {"team": "social"}, at
    )
    assert (live.billed_mode, live.credits, live.at) == (kept.billed_mode, kept.credits, kept.at)
    assert "secret" not in repr(live) + repr(kept)
