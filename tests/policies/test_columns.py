"""Rows in columns: what may stand in them, and what is told about them. Law 12 says what becomes of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from planner.errors import InputError, InvalidRequest, OperatorError
from planner.loading import shipped_prices
from policies.budgets import Allowance, Usage
from policies.columns import Decided, decide_columns
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.policy_strategies import text_of

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
NO_4K = {"name": "no-4k", "when": {"resolution": "4k", "team": "social"}, "deny": "no"}


def policy_of(*rules: dict[str, Any], **more: Any) -> Policy:
    labels = {"team": ["social", "brand"], "sku": "any"}
    said = {
        "policy": 1,
        "name": "p",
        "otherwise": "allow",
        "labels": labels,
        "rules": rules or [NO_4K],
        **more,
    }
    return parse_policy(text_of({**said, "rules": list(said["rules"])}), "p.yaml")


def decide(policy: Policy, fields: Any, labels: Any = None, usage: Any = lambda allowance: Usage(),
           **more: Any) -> Decided:  # fmt: skip
    return decide_columns(policy, fields, labels, book=shipped_prices(), at=AT, usage=usage, **more)


def test_columns_that_are_not_there_are_omitted_fields_and_missing_labels() -> None:
    """Any columns will do, and other labels than the declared ones are not looked at."""
    found = decide(
        policy_of(), {"resolution": ["4k", "4k", None]}, {"team": ["social", None, "social"], "x": [1]}
    )
    assert [verdict.value for verdict in found.verdicts] == ["deny", "allow", "allow"]
    assert found.credits == [5, 5, 1]
    assert (dict(found.jobs()), found.allowed_credits()) == ({"allow": 2, "deny": 1}, 6)


def test_no_columns_are_no_rows() -> None:
    """Nothing is decided about nothing."""
    for fields in ({}, {"resolution": []}):
        found = decide(policy_of(), fields)
        assert (found.places, found.rulings, found.verdicts, found.allowed_credits()) == ([], [], [], 0)


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"resolution": ["1k", "8k", "9k"]}, "row 1", "`8k` is not a resolution"),
        ({"resolution": ["1k", 2]}, "row 1", "`2` is not a resolution"),
        ({"resolution": ["1k", ["2k"]]}, "row 1", '`["2k"]` is not a resolution'),
        ({"num_images": [1, 1, True]}, "row 2", "`true` is not a whole number"),
        ({"num_images": [1, 1.0]}, "row 1", "`1.0` is not a whole number"),
        ({"num_images": [1, 5, 0]}, "row 1", "`5` is more than 4"),
        ({"seed": [1, None, -1]}, "row 2", "`-1` is less than 0"),
        ({"seed": [1, "7"]}, "row 1", "`7` is not a whole number"),
        ({"output_format": ["png", None, "gif"]}, "row 2", "`gif` is not an output format"),
        ({"return_base64": [True, 1]}, "row 1", "`1` is not true or false"),
        ({"face_reference": [True, 1]}, "row 1", "the face reference is not text"),
        ({"prompt": ["x"]}, "", "`prompt` is not a column that rules read"),
        ({"colour": ["x"]}, "", "`colour` is not a column that rules read"),
    ],
)
def test_what_the_provider_would_refuse_is_refused_with_its_row(
    fields: dict[str, list[Any]], where: str, message: str
) -> None:
    """The first wrong row of each column is told, also where a rule has not heard that column."""
    for policy in (
        policy_of(),
        policy_of({"name": "seeds", "when": {"seed": 1, "return_base64": True}, "deny": "x"}),
    ):
        with pytest.raises(InvalidRequest) as raised:
            decide(policy, fields)
        assert [(fault.where, fault.message) for fault in raised.value.faults] == [(where, message)]


def test_every_wrong_column_is_told_at_once() -> None:
    """One fault for each."""
    with pytest.raises(InvalidRequest) as raised:
        decide(policy_of(), {"seed": [-1], "aspect_ratio": ["5:3"], "resolution": ["2k"]})
    assert [fault.field for fault in raised.value.faults] == ["seed", "aspect_ratio"]


@pytest.mark.parametrize("name", ["team", "sku"])
@pytest.mark.parametrize("value", [1, ["social"], "\ud800"])
def test_a_label_that_is_no_text_is_refused(name: str, value: Any) -> None:
    """Also one that no rule reads."""
    with pytest.raises(InputError, match=f"the label `{name}` is not text"):
        decide(policy_of(), {"resolution": ["1k", "1k"]}, {name: [None, value]})


def test_columns_have_to_be_equally_long() -> None:
    """Rows with holes are no rows."""
    with pytest.raises(InputError, match="not equally long"):
        decide(policy_of(), {"resolution": ["1k"]}, {"team": []})


def test_an_unknown_floor_is_refused() -> None:
    """As a single decision refuses it."""
    with pytest.raises(InputError):
        decide(policy_of(), {"resolution": ["1k"]}, floor={"seed": 1})


def test_usage_is_asked_once_for_each_allowance() -> None:
    """The ledger says what is used before the first row; the rows themselves are added up."""
    asked: list[tuple[Any, ...]] = []

    def usage(allowance: Allowance) -> Usage:
        asked.append(allowance.scope)
        return Usage(settled=1, held=1, granted=2)

    policy = policy_of(budgets=[{"name": "b", "limit": 10, "per": "day", "for_each": ["team"]}])
    found = decide(policy, {"num_images": [1] * 40}, {"team": ["social", "brand"] * 20}, usage)
    assert sorted(asked) == [(("team", "brand"),), (("team", "social"),)]
    assert [verdict.value for verdict in found.verdicts] == ["allow"] * 20 + ["deny"] * 20
    assert sorted(found.held.values()) == [10, 10]


def test_rows_that_are_alike_share_a_ruling() -> None:
    """Seeds and labels that nobody reads make no difference, so a million rows have few rulings."""
    found = decide(policy_of(), {"seed": list(range(1000))}, {"sku": [str(number) for number in range(1000)]})
    assert (len(found.rulings), set(found.places)) == (1, {0})
    assert found.ruling(999).verdict.value == "allow"


def test_a_ledger_that_cannot_be_asked_is_told() -> None:
    """Its error passes through."""

    def gone(allowance: Allowance) -> Usage:
        raise OperatorError("the ledger is gone")

    with pytest.raises(OperatorError):
        decide(policy_of(budgets=[{"name": "b", "limit": 10, "per": "day"}]), {"seed": [1]}, usage=gone)
