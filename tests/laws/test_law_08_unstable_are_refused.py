"""Law 8: a policy whose rewrites never come to rest is refused, and one that is accepted always does.

What is refused is held against the tree walk, which reads the same values and was never examined: on
the very request that the fault tells, the named rules do what it says. What is accepted is walked
request by request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import permutations, product
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.errors import ConfigError, Fault
from planner.loading import shipped_latency, shipped_prices
from policies.budgets import Allowance, Usage
from policies.loading import parse_policy
from tests.laws.naive import DAYS, Oracle
from tests.laws.policy_strategies import policy_data, text_of, usage_from
from tests.laws.small_policies import PLAIN, POSES, small_policies
from tests.laws.strategies import FACE

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
RATE = 75_000
AGAIN = re.compile(r"`(.+?)` changes (?:again what `(.+?)` leaves|its own result again), for (.+)")
RAISES = re.compile(r"`(.+?)` would raise the price from (\d+) to (\d+) credits for (.+)")
WHOLE = ("num_images", "seed")
Shares = Mapping[str, Fraction]
Asked = tuple[dict[str, Any], dict[str, str], datetime, Shares]


def faults_of(data: Mapping[str, Any]) -> Sequence[Fault]:
    """The faults for which a policy is refused; none where it is accepted."""
    try:
        parse_policy(text_of(data), "random.yaml")
    except ConfigError as error:
        return error.faults
    return ()


def walk(data: Mapping[str, Any], labels: dict[str, str], at: datetime, usage: Any) -> Oracle:
    return Oracle(data, shipped_prices().entry_at(at), at, usage, labels, RATE, shipped_latency())


def using(shares: Shares) -> Callable[[Allowance], Usage]:
    """Just that share of a budget is used, of its limit and of what is granted on top."""

    def usage(allowance: Allowance) -> Usage:
        share = shares.get(allowance.budget, Fraction(0))
        more = allowance.limit + 1
        return Usage(settled=share.numerator * more, granted=share.denominator * more - allowance.limit)

    return usage


# -- small families of rules -----------------------------------------------------------------------

FRESH = {"used": {"month": {"below": "50%"}}}
DOZEN: list[dict[str, Any]] = [
    {"when": {"num_images": {"above": 1}}, "rewrite": {"num_images": 1}},
    {"when": {"num_images": 2}, "rewrite": {"num_images": 3}, "may_cost_more": True},
    {"when": {"num_images": 3}, "rewrite": {"num_images": 2}},
    {"when": {"resolution": "4k"}, "rewrite": {"resolution": "2k"}},
    {"when": {"resolution": "2k"}, "rewrite": {"generation_mode": "absent"}},
    {"rewrite": {"generation_mode": "fast"}},
    {"when": {"team": "a"}, "rewrite": {"generation_mode": "quality"}, "may_cost_more": True},
    {"when": {"credits": {"above": 8}}, "downgrade": {"at_most": 8, "give_up_in_order": ["num_images"]}},
    {"when": {"credits": {"at_most": 2}}, "rewrite": {"resolution": "4k"}, "may_cost_more": True},
    {"when": {**FRESH, "face_reference": "present"}, "rewrite": {"face_reference": "absent"}},
    {"when": {"resolution": "4k"}, "rewrite": {"resolution": "1k"}, "shadow": True},
    {"when": {"not": FRESH}, "downgrade": {"at_most": 3, "give_up_in_order": ["resolution"]}},
]
"""Rules that go up, go down, drop a face, read the budget or stand in shadow."""
DEARER: list[dict[str, Any]] = [
    {"when": {"resolution": "2k"}, "rewrite": {"generation_mode": "quality"}},
    {"when": {"team": "b", "num_images": {"below": 3}}, "rewrite": {"num_images": 3}},
    {"when": {"not": FRESH}, "rewrite": {"resolution": "2k"}},
]
FEW = [plain for plain in PLAIN if plain.get("resolution") != "1k" and plain.get("num_images") != 1]
USED = [{}, {"month": Fraction(1, 2)}]


def family(*rules: dict[str, Any]) -> dict[str, Any]:
    few = {"num_images": {"below": 4}}
    return {
        "policy": 1,
        "name": "family",
        "otherwise": "allow",
        "credit_price": "on-demand",
        "labels": {"team": ["a", "b"]},
        "budgets": [{"name": "month", "limit": 100, "per": "month", "applies_to": few}],
        "rules": [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)],
    }


families = st.lists(st.sampled_from([*DOZEN, *DEARER]), min_size=2, max_size=4).map(
    lambda rules: family(*rules)
)
mixed = policy_data() | small_policies().map(lambda both: both[1])


# -- what is refused -------------------------------------------------------------------------------


def told(text: str, data: Mapping[str, Any]) -> Asked:
    """The request, labels, instant and amounts that a fault tells."""
    inputs: dict[str, Any] = {"prompt": "x"}
    labels: dict[str, str] = {}
    clock: dict[str, str] = {}
    used: dict[str, Fraction] = {}
    for part in text.strip("`").split(", ") if text != "a plain request" else ():
        name, value = part.split(": ", 1)
        if name.startswith("used of "):
            used[name.removeprefix("used of ")] = Fraction(value.removesuffix("%")) / 100
        elif name in ("time", "weekday"):
            clock[name] = value
        elif name in data["labels"]:
            labels[name] = value
        else:
            given = {"present": FACE, "True": True, "False": False}.get(value, value)
            inputs[name] = int(value) if name in WHOLE else given
    return inputs, labels, shown(clock, data.get("timezone", "UTC")), used


def shown(clock: dict[str, str], zone: str) -> datetime:
    """An instant at which the clock shows that."""
    hour, minute = map(int, clock.get("time", "10:00").split(":"))
    monday = datetime(2026, 11, 16, hour, minute, tzinfo=ZoneInfo(zone))
    return (monday + timedelta(days=DAYS.index(clock.get("weekday", "monday")))).astimezone(UTC)


def check_fault(message: str, data: Mapping[str, Any]) -> str:
    """The tree walk does what the fault says, on the request that it tells; says which fault it was."""
    if found := RAISES.fullmatch(message):
        rule, paid, more, request = found.groups()
        inputs, labels, at, used = told(request, data)
        walked = walk(data, labels, at, using(used))
        walked.rewrite(inputs, True)
        assert (rule, "costs_more", "") in walked.findings
        step = next(item for item in data["rules"] if item["name"] == rule)
        before = left_above(rule, data, (inputs, labels, at, used))
        changed = walked.changed(step, before)
        after, _ = walked.receipts(rule, changed or {}, before)
        assert (walked.price(before), walked.price(after)) == (int(paid), int(more))
        return "raises"
    found = AGAIN.fullmatch(message)
    assert found is not None, message
    first, second, request = found.groups()
    inputs, labels, at, used = told(request, data)
    walked = walk(data, labels, at, using(used))
    walked.rewrite(inputs, True)
    assert (first, "not_evaluable", "") in walked.findings
    assert walked.changes[-1][3] == (second or first)
    return "again"


def left_above(rule: str, data: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """What the rules above one leave of a request."""
    inputs, labels, at, used = asked
    names = [item["name"] for item in data["rules"]]
    above = {**data, "rules": data["rules"][: names.index(rule)]}
    return walk(above, labels, at, using(used)).rewrite(inputs, True)


@pytest.mark.parametrize(("policies", "least"), [(families, 3), (mixed, 0)], ids=["families", "mixed"])
def test_what_is_refused_is_at_fault_on_the_request_that_is_told(
    policies: st.SearchStrategy[dict[str, Any]], least: int
) -> None:
    """Budgets, shadow rules and `used` conditions included; of families both kinds of faults are met."""
    found: Counter[str] = Counter()

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(policies)
    def refused(data: dict[str, Any]) -> None:
        faults = faults_of(data)
        found["accepted"] += not faults
        for fault in faults:
            found[check_fault(fault.message, data)] += 1
            assert fault.where == "random.yaml:1"
            assert fault.hint

    refused()
    assert min(found["accepted"], found["raises"], found["again"]) >= least


# -- what is accepted ------------------------------------------------------------------------------


def is_at_fault(walked: Oracle, inputs: dict[str, Any]) -> bool:
    """Whether a rule would raise the price, or change again what all of them leave.

    Where an earlier one denies because nothing fits, nothing goes at any rate.
    """
    walked.findings.clear()
    walked.changes.clear()
    walked.rewrite(inputs, True)
    stops = ("nothing_fits", "costs_more", "not_evaluable")
    found = next((outcome for _, outcome, _ in walked.findings if outcome in stops), "nothing_fits")
    return found != "nothing_fits"


def contexts(data: Mapping[str, Any], random: Random) -> Iterator[tuple[dict[str, str], datetime, Any]]:
    """A few labels, instants and amounts spent."""
    for _ in range(6):
        labels = {}
        for name, values in data["labels"].items():
            known = ["denim", "a", "another"] if values == "any" else [*values, "nobody"]
            if value := random.choice([None, *known]):
                labels[name] = value
        at = datetime(2026, 5, 2, tzinfo=UTC) + timedelta(minutes=random.randrange(580 * 24 * 60))
        yield labels, at, usage_from(random.randrange(200))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(mixed | families, st.randoms(use_true_random=False))
def test_what_is_accepted_comes_to_rest_and_raises_no_price(data: dict[str, Any], random: Random) -> None:
    """The tree walk finds no request, label, instant or amount at which a rule fires again or costs more."""
    assume(not faults_of(data))
    assume(any("rewrite" in rule or "downgrade" in rule for rule in data["rules"]))
    for labels, at, usage in contexts(data, random):
        walked = walk(data, labels, at, usage)
        for plain in random.sample(PLAIN, 40):
            assert not is_at_fault(walked, {**plain, **random.choice(POSES)})


# -- every pair of them ----------------------------------------------------------------------------


def at_fault(data: Mapping[str, Any], requests: Sequence[dict[str, Any]]) -> bool:
    """Whether one of all requests is at fault under the tree walk."""
    return any(
        is_at_fault(walk(data, labels, AT, using(used)), plain)
        for labels, used in product([{}, {"team": "a"}], USED)
        for plain in requests
    )


def test_of_all_pairs_of_a_dozen_rules_just_those_at_fault_are_refused() -> None:
    """In either order, with rules that go up, go down, drop a face, read the budget or stand in shadow."""
    found: Counter[bool] = Counter()
    for pair in permutations(DOZEN, 2):
        data = family(*pair)
        faults = faults_of(data)
        assert bool(faults) is at_fault(data, FEW), pair
        for fault in faults:
            check_fault(fault.message, data)
        found[bool(faults)] += 1
    assert found[True] >= 30
    assert found[False] >= 30


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param(
            [
                {"when": {"num_images": 2}, "rewrite": {"num_images": 1}},
                {"when": {"num_images": 3}, "rewrite": {"num_images": 2}},
                {"when": {"num_images": 2}, "rewrite": {"num_images": 3}, "may_cost_more": True},
            ],
            "`rule-1` changes again what `rule-2` leaves, for `num_images: 3`",
            id="a circle back to what was asked for, which no other request is led to",
        ),
        pytest.param(
            [
                {"when": {"image_reference": "present"}, "rewrite": {"aspect_ratio": "1:1"}},
                {"when": {"image_reference": "present"}, "rewrite": {"aspect_ratio": "absent"}},
            ],
            "`rule-0` changes again what `rule-1` leaves, for `image_reference: present`",
            id="a ratio that is the default, but is inherited from a pose where it is omitted",
        ),
        pytest.param(
            [
                {"downgrade": {"at_most": 4, "give_up_in_order": ["num_images"]}},
                {"when": {"num_images": 1}, "rewrite": {"resolution": "4k"}, "may_cost_more": True},
            ],
            "`rule-0` changes again what `rule-1` leaves, for a plain request",
            id="a downgrade that finds nothing that fits when it is tried again",
        ),
        pytest.param(
            [
                {"when": {"used": {"month": {"above": "50%"}}}, "rewrite": {"resolution": "2k"}},
            ],
            "`rule-0` would raise the price from 1 to 4 credits for `used of month: 75%`",
            id="a price that is raised only where more than half is used",
        ),
    ],
)  # fmt: skip
def test_what_is_told_of_rules_at_fault(rules: list[dict[str, Any]], message: str) -> None:
    """Both rules and a request, as small as it can be."""
    data = family(*rules)
    said = [fault.message for fault in faults_of(data)]
    assert message in said
    assert {check_fault(one, data) for one in said} <= {"again", "raises"}


@pytest.mark.parametrize("limit", [0, 2])
def test_a_share_that_only_a_grant_makes_possible_is_examined(limit: int) -> None:
    """Between a third and two fifths of two credits there is nothing, but a third of three there is."""
    some = {"used": {"month": {"at_least": "33%", "at_most": "40%"}}}
    rules = [
        {"when": {**some, "num_images": 3}, "rewrite": {"num_images": 2}},
        {"when": {**some, "num_images": 4}, "rewrite": {"num_images": 3}},
    ]
    data = {**family(*rules), "budgets": [{"name": "month", "limit": limit, "per": "month"}]}
    (fault,) = faults_of(data)
    assert "num_images: 4, used of month: 33%" in fault.message
    assert check_fault(fault.message, data) == "again"


def test_a_rule_behind_one_that_denies_is_not_held_against_the_policy() -> None:
    """Nothing of four images goes at all, so that the second rule would raise a price is no matter."""
    four = {"num_images": 4}
    down = {"at_most": 1, "give_up_in_order": ["num_images"], "floor": {"num_images": 2}}
    first = {"when": four, "downgrade": down}
    second = {"when": four, "rewrite": {"generation_mode": "quality"}}
    assert not faults_of(family(first, second))
    assert "`rule-0` would raise the price" in faults_of(family(second, first))[0].message
