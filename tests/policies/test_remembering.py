"""What a policy remembers: never another value's answer, and never without an end."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError, InvalidRequest, OperatorError
from planner.loading import shipped_prices
from planner.request import parse_request
from policies.budgets import Allowance, Usage
from policies.decision import Decision
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.policy_strategies import text_of
from tests.laws.strategies import FACE

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
BOOK = shipped_prices()


def policy_of(*rules: dict[str, Any], **more: Any) -> Policy:
    labels = {"team": ["social", "brand"], "sku": "any"}
    said = {"policy": 1, "name": "p", "otherwise": "allow", "labels": labels, **more}
    return parse_policy(
        text_of({**said, "rules": [{"name": f"r{n}", **r} for n, r in enumerate(rules)]}), "p.yaml"
    )


def decide(
    policy: Policy, labels: Any = None, usage: Any = lambda allowance: Usage(), **inputs: Any
) -> Decision:
    return policy.decide({"prompt": "x", **inputs}, labels, book=BOOK, at=AT, usage=usage)


@pytest.mark.parametrize("value", [1, True, 1.0, ["social"], {"social"}, b"social"])
def test_a_label_that_is_no_text_is_refused_whatever_came_before(value: Any) -> None:
    """Neither an equal number nor a value without a hash finds the answer to a text."""
    policy = policy_of({"when": {"team": "absent"}, "deny": "name your team"})
    for labels in ({"team": "social", "sku": "1"}, {"team": "social"}, None):
        decide(policy, labels)
    for labels in ({"team": value, "sku": "1"}, {"team": value}, {"team": "social", "sku": value}):
        with pytest.raises(InputError, match="is not text"):
            decide(policy, labels)


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [("num_images", 1, True), ("num_images", 1, 1.0), ("return_base64", True, 1), ("seed", 1, True)],
)
def test_an_input_of_another_type_is_refused_whatever_came_before(field: str, right: Any, wrong: Any) -> None:
    """`True` is not 1 and 1 is not `True`, although Python's dicts take them for the same."""
    policy = policy_of({"when": {field: right}, "deny": "no"})
    assert decide(policy, **{field: right}).verdict.value == "deny"
    with pytest.raises(InvalidRequest):
        decide(policy, **{field: wrong})


def test_missing_labels_are_the_same_however_they_are_missing() -> None:
    """No labels, others, and empty ones are one and the same, and what is given is not touched."""
    policy = policy_of({"when": {"team": "absent"}, "deny": "name your team"})
    answering: dict[str, str] = defaultdict(lambda: "social")
    for labels in (None, {}, {"other": "x"}, {"team": " "}, MappingProxyType({"sku": ""}), answering):
        found = decide(policy, labels)
        assert (found.verdict.value, dict(found.labels)) == ("deny", {})
    assert not answering
    assert decide(policy, MappingProxyType({"team": " social "})).labels == {"team": "social"}


def test_a_policy_without_labels_takes_any_and_keeps_none() -> None:
    """Undeclared labels reach no decision."""
    policy = policy_of({"when": {"resolution": "4k"}, "deny": "no"}, labels={})
    for labels in (None, {}, {"team": "social"}, {"team": ["a list"]}):
        assert decide(policy, labels, resolution="4k").verdict.value == "deny"
        assert decide(policy, labels).labels == {}


def test_time_passes() -> None:
    """An answer given before a time, a window or a price ends is not given after it."""
    policy = policy_of(
        {"when": {"time": {"from": "18:00", "to": "06:00"}}, "deny": "at night"},
        budgets=[{"name": "hour", "limit": 10, "per": "hour"}],
    )
    request, asked = parse_request({"prompt": "x"}), []

    def usage(allowance: Allowance) -> Usage:
        asked.append(allowance.start)
        return Usage()

    night, first = datetime(2026, 11, 22, 18, tzinfo=UTC), datetime(2026, 11, 22, 17, tzinfo=UTC)
    verdicts = [
        policy.decide(request, book=BOOK, at=night + step, usage=usage).verdict.value
        for step in (
            timedelta(microseconds=-1),
            timedelta(0),
            timedelta(microseconds=-1),
            timedelta(hours=12),
        )
    ]
    assert verdicts == ["allow", "deny", "allow", "allow"]
    assert asked == [first, night, first, night + timedelta(hours=12)]


CHANGES = {
    "Europe/Berlin": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "America/New_York": datetime(2027, 3, 14, 7, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    "Asia/Kathmandu": datetime(2026, 11, 22, tzinfo=UTC),
}
"""Zones, and for all but the last the instant at which the clock changes."""


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*CHANGES.items()]),
    st.tuples(st.sampled_from(["00:00", "01:30", "02:30", "22:00"]), st.sampled_from(["02:00", "06:00"])),
    st.integers(-36 * 60, 36 * 60),
    st.sampled_from([0, 1, 59_999_999]),
)
def test_a_moment_ends_where_the_clock_reads_otherwise(
    change: tuple[str, datetime], hours: tuple[str, str], minutes: int, microseconds: int
) -> None:
    """No minute of a moment reads otherwise, even where the clock changes, and it is as long as it may be."""
    zone, about = change
    window = {"time": {"from": hours[0], "to": hours[1]}}
    rest = {"when": {**window, "weekday": ["saturday", "sunday"]}, "deny": "at rest"}
    policy = policy_of(rest, timezone=zone)
    at = about + timedelta(minutes=minutes, microseconds=microseconds)
    moment, clock = policy.moments.at(BOOK, at), policy.compiled.clock
    assert moment.start <= at < moment.end
    assert moment.end - moment.start <= timedelta(hours=24)
    instants, instant = [moment.end - timedelta(microseconds=1)], moment.start
    while instant < moment.end:
        instants.append(instant)
        instant += timedelta(minutes=1)
    assert {clock(instant) for instant in instants} == {clock(at)}
    if not moment.start < about < moment.end and abs(at - about) > timedelta(hours=25):
        edges = {"00:00", *hours}
        bounds = (f"{edge.astimezone(policy.zone):%H:%M}" for edge in (moment.start, moment.end))
        assert {*bounds} <= edges


def test_seeds_are_told_apart_where_a_rule_speaks_of_them() -> None:
    """Of seeds that no condition tells apart one is heard; a rule that sets the seed shows each one's own."""
    reading = policy_of({"when": {"seed": {"above": 42}}, "deny": "no"})
    verdicts = [decide(reading, seed=seed).verdict.value for seed in (41, 42, 43, 44, None)]
    assert verdicts == ["allow", "allow", "deny", "deny", "allow"]
    assert decide(reading, seed=43).ruling is decide(reading, seed=44).ruling
    setting = policy_of({"when": {"seed": {"above": 42}}, "rewrite": {"seed": 7}})
    assert [decide(setting, seed=seed).changes[0].before for seed in (43, 44)] == [43, 44]


def test_memory_has_an_end() -> None:
    """Labels come from outside, so however many there are, a bounded number is remembered."""
    policy = policy_of(
        {"when": {"sku": "a1"}, "deny": "no"},
        budgets=[{"name": "b", "limit": 9, "per": "day", "for_each": ["sku"]}],
    )
    with patch("policies.moments.MOST_REMEMBERED", 50), patch("policies.moments.MOST_KNOWN", 50):
        for number in range(400):
            found = decide(policy, {"team": "social", "sku": f"a{number}"}, face_reference=FACE)
            assert found.verdict.value == ("deny" if number == 1 else "allow")
            assert found.labels == {"team": "social", "sku": f"a{number}"}
            assert found.allowances[0].scope == (("sku", f"a{number}"),)
    moment = policy.moments.at(BOOK, AT)
    assert max(len(moment.known), len(moment.rulings), len(policy.moments.labels)) <= 50


def test_a_budget_is_asked_once_where_it_has_nothing_to_say_and_where_it_has() -> None:
    """The quick look at a budget and the words it finds then go back to one answer."""
    policy = policy_of(budgets=[{"name": "b", "limit": 10, "per": "day", "warn_at": ["50%"]}])
    for settled, outcomes in ((0, []), (5, ["budget_warning"]), (10, ["budget_full"])):
        for _ in range(2):
            asked: list[Allowance] = []

            def usage(allowance: Allowance, settled: int = settled, asked: list[Allowance] = asked) -> Usage:
                asked.append(allowance)
                return Usage(settled=settled)

            found = decide(policy, usage=usage)
            assert [finding.outcome.value for finding in found.findings] == outcomes
            assert len(asked) == 1


def test_a_ledger_that_cannot_be_asked_is_no_doubt_about_a_budget() -> None:
    """Its error passes through, also for a request that was allowed before; any other failure denies."""
    policy = policy_of(budgets=[{"name": "b", "limit": 10, "per": "day"}])

    def gone(allowance: Allowance) -> Usage:
        raise OperatorError("the ledger is gone")

    def odd(allowance: Allowance) -> Usage:
        raise RuntimeError("nobody knows")

    assert decide(policy).verdict.value == "allow"
    with pytest.raises(OperatorError):
        decide(policy, usage=gone)
    assert [finding.outcome.value for finding in decide(policy, usage=odd).findings] == ["not_evaluable"]
    assert decide(policy).verdict.value == "allow"


@pytest.mark.parametrize(
    "used", ["50%", {"above": "50%"}, {"at_least": "50%", "below": "80%"}, {"not": "50%"}]
)
@pytest.mark.parametrize("limit", [0, 3, 10])
def test_what_was_said_at_one_share_is_not_said_at_another(used: Any, limit: int) -> None:
    """At, below and above each bound, in whatever order the shares come."""
    rule = {"when": {"used": {"month": used}}, "deny": "so much is used"}
    budgets = [{"name": "month", "limit": limit, "per": "month", "when_exhausted": {"needs_approval": "x"}}]
    old = policy_of(rule, budgets=budgets)
    for settled in (*range(12), *reversed(range(12))):
        said = [
            decide(
                policy, usage=lambda allowance, settled=settled: Usage(settled, granted=allowance.limit % 2)
            )
            for policy in (old, policy_of(rule, budgets=budgets))
        ]
        assert said[0] == said[1]
