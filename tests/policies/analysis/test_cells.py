"""What changes between two policies, over everything that either of them can tell apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.prices import PriceBook
from policies.analysis.cells import CellDiff, diff_cells
from policies.analysis.diff import Difference, FieldDifference, compare
from policies.budgets import Allowance, Usage
from policies.engine import Policy
from policies.loading import load_policy, parse_policy, shipped_policies
from policies.space import ABSENT_OR_OTHER, ANY_OTHER
from tests.laws.policy_strategies import policy_of, text_of
from tests.laws.small_policies import NOW, PLAIN, POSES, TEAMS, small_policies

BOOK = shipped_prices()
SMALLER = {"when": {"resolution": "4k"}, "rewrite": {"resolution": "2k"}}
NO_4K = {"when": {"resolution": "4k"}, "deny": "no"}
ASK_4K = {"when": {"resolution": "4k"}, "needs_approval": "finance"}


def policy_with(*rules: dict[str, Any], **more: Any) -> Policy:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "rules": named, **more}
    return parse_policy(text_of(data), "p.yaml")


def diff(before: Policy, after: Policy, book: PriceBook = BOOK) -> CellDiff:
    found = diff_cells(before, after, book, NOW)
    assert found is not None
    return found


def told(found: CellDiff) -> list[tuple[str, int, tuple[int, int]]]:
    """Each way in which cells differ, how many they are, and what changes for one of them in credits."""
    return [
        (str(changed.difference), changed.cells, (changed.least_credits, changed.most_credits))
        for changed in found.changed
    ]


@pytest.mark.parametrize(
    ("before", "after", "there", "back"),
    [
        ([], [NO_4K], [("allowed → denied by `rule-0`", 40, (-32, -3))],
         [("denied by `rule-0` → allowed", 40, (3, 32))]),
        ([ASK_4K], [NO_4K], [("needs approval by `rule-0` → denied by `rule-0`", 40, (0, 0))],
         [("denied by `rule-0` → needs approval by `rule-0`", 40, (0, 0))]),
        ([], [SMALLER], [("resolution 4k → 2k by `rule-0`", 40, (-4, -1))],
         [("resolution 2k → 4k without `rule-0`", 40, (1, 4))]),
        ([], [{**NO_4K, "shadow": True}], [], []),
        ([NO_4K], [{**NO_4K, "when": {"resolution": {"above": "2k"}}}], [], []),
    ],
)  # fmt: skip
def test_what_changes_is_told_in_both_directions(
    before: list[dict[str, Any]], after: list[dict[str, Any]], there: Any, back: Any
) -> None:
    """In words and in credits, with the number of cells."""
    one, other = policy_with(*before), policy_with(*after)
    assert told(diff(one, other)) == there
    assert told(diff(other, one)) == back
    assert diff(one, other).changed_cells == sum(cells for _, cells, _ in there)


@pytest.mark.parametrize("name", shipped_policies())
def test_a_policy_does_not_differ_from_itself(name: str) -> None:
    """No cell changes, and no budget."""
    policy = load_policy(name)
    found = diff(policy, policy)
    assert (found.changed, found.budgets) == ((), ())
    assert found.cells >= 160


def test_labels_of_both_are_told_apart() -> None:
    """A value that only one of the two lists is denied by the other, under its own words."""
    one = policy_with(labels={"team": ["a"]})
    two = policy_with({"when": {"team": "b"}, "deny": "no"}, labels={"team": ["a", "b", "c"]})
    found = diff(one, two)
    assert told(found) == [("denied by `label team` → allowed", 160, (1, 32))]
    assert found.changed[0].example == "team: c"
    assert found.cells == 4 * 160  # absent or a, b, c, any other
    three = policy_with(otherwise="deny", labels={"team": ["a"]})
    assert {text for text, _, _ in told(diff(one, three))} == {"allowed → denied by `otherwise`"}
    named = {"when": {"team": "present"}, "allow": "x"}
    four = policy_with(named, otherwise="deny", labels={"team": ["a", "z"]})
    assert {text for text, _, _ in told(diff(policy_with(labels={"team": "any"}), four))} == {
        "allowed → denied by `otherwise`", "allowed → denied by `label team`"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"limit": 100}, {"limit": 50}, []),
        ({"limit": 100}, {"limit": 30}, [("allowed → denied by `m`", 2, (-32, -32))]),
        ({"limit": 100}, {"limit": 30, "when_exhausted": {"needs_approval": "finance"}},
         [("allowed → needs approval by `m`", 2, (-32, -32))]),
        ({"limit": 100}, {"limit": 30, "when_exhausted": {"downgrade": {"give_up_in_order": ["num_images"]}}},
         [("generation_mode absent → quality, num_images 4 → 3 by `m`", 1, (-8, -8)),
          ("num_images 4 → 3 by `m`", 1, (-8, -8))]),
        ({"limit": 0}, {"limit": 1}, [("denied by `m` → allowed", 8, (1, 1))]),
        ({"limit": {"denim": 0, "otherwise": 50}, "for_each": ["campaign"]}, {"limit": 50},
         [("denied by `m` → allowed", 160, (1, 32))]),
    ],
)  # fmt: skip
def test_what_is_larger_than_a_whole_budget_changes_although_nothing_is_spent(
    before: dict[str, Any], after: dict[str, Any], expected: Any
) -> None:
    """The answer of the full budget counts, under the label that has the limit."""
    policies = [
        policy_with(labels={"campaign": "any"}, budgets=[{"name": "m", "per": "day", **budget}])
        for budget in (before, after)
    ]
    assert told(diff(*policies)) == expected


def test_budgets_that_change_are_told_in_words() -> None:
    """New, gone, and each of their values; the order of the file."""
    budgets = [{"name": "a", "limit": 100, "per": "day"}, {"name": "b", "limit": 50, "per": "day"}]
    one = policy_with(budgets=budgets)
    two = policy_with(
        labels={"team": "any"},
        budgets=[
            {"name": "a", "limit": 200, "per": "week", "for_each": ["team"], "applies_to": {"num_images": 4}},
            {"name": "c", "limit": 70, "per": "day", "when_exhausted": {"needs_approval": "finance"}},
        ],
    )
    said = diff(one, two).budgets
    assert said[0].startswith("`a`: limit 100 credits → 200 credits; per day → week; for each nothing → team")
    assert said[1:] == (
        "`b` is gone: 50 credits per day, then deny",
        "`c` is new: 70 credits per day, then ask finance",
    )


def test_limits_and_shares_belong_to_the_policy_that_has_them() -> None:
    """The second policy's first budget is another one; its share is not taken from the first's limits."""
    half = [{"when": {"used": {name: {"at_least": "50%"}}}, "deny": "half"} for name in ("m", "n")]
    first = {"name": "m", "limit": {"a": 0, "otherwise": 100}, "for_each": ["team"], "per": "day"}
    second = {"name": "n", "limit": 100, "per": "day"}
    labels = {"team": ["a", "b"]}
    one = policy_with(half[0], labels=labels, budgets=[first])
    two = policy_with(half[1], labels=labels, budgets=[second])
    (changed,) = diff(one, two).changed
    assert (changed.cells, changed.example) == (160, "team: a")
    assert str(changed.difference) == "denied by `rule-0`, `m` → allowed"


def test_only_what_the_clock_still_shows_before_the_price_ends_is_compared() -> None:
    """The price ends on Sunday night, so what is denied on Mondays does not change anything."""
    monday = policy_with({"when": {"weekday": "monday"}, "deny": "no"})
    ends = datetime(2026, 11, 22, 20, tzinfo=UTC)
    sunday = PriceBook([replace(BOOK.entries[0], end=ends)], BOOK.checked_at)
    assert diff(policy_with(), monday).changed_cells == 160
    assert diff(policy_with(), monday, sunday).changed_cells == 0


def test_past_so_many_cells_nothing_is_compared() -> None:
    """One less than there are is too few."""
    one, two = policy_with(), policy_with(NO_4K)
    assert diff_cells(one, two, BOOK, NOW, most_cells=160) is not None
    assert diff_cells(one, two, BOOK, NOW, most_cells=159) is None


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, "aspect_ratio absent or any other → 16:9 by `rule-0`"),
        ({"aspect_ratio": "present"}, "aspect_ratio any other → 16:9 by `rule-0`"),
        ({"aspect_ratio": "4:5"}, "aspect_ratio 4:5 → 16:9 by `rule-0`"),
    ],
)
def test_a_value_that_stands_for_others_is_told_in_words(when: dict[str, Any], expected: str) -> None:
    """One of seven ratios would be taken for the only one."""
    wide = {"when": {"num_images": 4, **when}, "rewrite": {"aspect_ratio": "16:9"}}
    assert expected in [text for text, _, _ in told(diff(policy_with(), policy_with(wide)))]


def is_told(found: Difference, known: set[Difference], named: str) -> bool:
    """Whether a difference of two decisions is among those told, by a word that stands for it too."""

    def told_as(field: FieldDifference) -> set[FieldDifference]:
        words = [
            {value, *([ABSENT_OR_OTHER] if value is None or repr(value) not in named else []),
             *([ANY_OTHER] if value is not None and repr(value) not in named else [])}
            for value in field[1:]
        ]  # fmt: skip
        return {FieldDifference(field.field, old, new) for old, new in product(*words)}

    return any(
        replace(found, fields=fields) in known
        for fields in product(*(told_as(field) for field in found.fields))
    )


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(small_policies(), small_policies(), st.randoms(use_true_random=False))
def test_requests_differ_just_in_the_ways_that_are_told(one: Any, two: Any, random: Any) -> None:
    """Asked one by one with nothing spent: what differs is among the differences, and each is met."""
    before, after = policy_of(one[1]), policy_of(two[1])
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    named = repr([{**data, "guarantees": []} for _, data in (one, two)])

    def difference(inputs: dict[str, Any], labels: dict[str, str]) -> Any:
        said = (policy.judge(inputs, labels, book=BOOK, at=NOW, usage=nothing) for policy in (before, after))
        return compare(*said)

    known = {changed.difference for changed in diff(before, after).changed}
    for plain in random.sample(PLAIN, 60):
        found = difference({**plain, **random.choice(POSES)}, random.choice(TEAMS))
        assert found is None or is_told(found, known, named)
    if "clock" not in (one[0], two[0]):
        every = product(PLAIN, POSES, TEAMS)
        met = {difference({**plain, **pose}, team) for plain, pose, team in every} - {None}
        assert all(is_told(found, known, named) for found in met)
        assert all(any(is_told(found, {one}, named) for found in met) for one in known)


def nothing(allowance: Allowance) -> Usage:
    return Usage()
