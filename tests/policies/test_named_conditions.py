"""Conditions with a name: they mean what they stand for, and what is wrong with them is said once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import ConfigError
from planner.loading import shipped_prices
from policies.budgets import Usage
from policies.conditions import Condition
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.policy_strategies import conditions, text_of

HEAD = "policy: 1\nname: p\notherwise: allow\nlabels: {team: [social, brand], campaign: any}\n"


def faults(text: str) -> list[str]:
    """Every fault of a policy, as a person reads it."""
    with pytest.raises(ConfigError) as raised:
        parse_policy(f"{HEAD}{text}", "p.yaml")
    return [str(fault) for fault in raised.value.faults]


def condition_of(rule: dict[str, Any], named: dict[str, Any]) -> Condition | None:
    """What the one rule of a policy asks."""
    data = {
        "policy": 1,
        "name": "p",
        "otherwise": "allow",
        "credit_price": "on-demand",
        "latency_profile": "fashn-documented@2026-11-22",
        "labels": {"team": ["ecommerce", "social"], "stage": ["draft", "production"], "campaign": "any"},
        "budgets": [{"name": name, "limit": 5, "per": "day"} for name in ("month", "week")],
        "conditions": named,
        "rules": [{"name": "r", "deny": "because", **rule}],
    }
    return parse_policy(text_of(data), "p.yaml").rules[0].when


@given(conditions(), conditions())
def test_a_name_means_what_it_stands_for(one: Any, two: Any) -> None:
    """Wherever a condition may stand, its name says the same as writing it out."""
    named = {"second": {"not": "first"}, "first": one}
    for called, written in [
        ("first", one),
        ({"any": ["first", two]}, {"any": [one, two]}),
        ({"all": [two, "second"]}, {"all": [two, {"not": one}]}),
        ({"not": "second", **two}, {"not": {"not": one}, **two}),
    ]:
        try:
            expected = condition_of({"when": written}, {})
        except ConfigError:
            with pytest.raises(ConfigError):
                condition_of({"when": called}, named)
        else:
            assert condition_of({"when": called}, named) == expected


def test_named_conditions_stand_in_rules_budgets_and_guarantees() -> None:
    """One meaning, said once and called from all three; what a guarantee alone may ask included."""
    policy = parse_policy(
        HEAD
        + """
conditions:
  late: {any: [night, {weekday: [saturday, sunday]}]}
  night: {time: {from: 22:00, to: 06:00}}
  goes: {verdict: allow}
  unused: {team: brand}
budgets: [{name: nights, limit: 2, per: day, applies_to: night}]
rules: [{name: not-late, when: late, deny: go home}]
guarantees: [{name: never-late, never: {all: [goes, late]}}]
""",
        "p.yaml",
    )
    assert policy.budgets[0].applies_to == policy.guarantees[0].never.conditions[1].conditions[0]  # type: ignore[union-attr]
    assert policy.guarantees[0].never.conditions[1] == policy.rules[0].when  # type: ignore[union-attr]
    assert [verdict_at(policy, hour) for hour in (12, 23)] == ["allow", "deny"]


def verdict_at(policy: Policy, hour: int) -> str:
    """What the policy says to a small request at that hour of a Thursday."""
    at = datetime(2026, 11, 19, hour, tzinfo=UTC)
    found = policy.decide({"prompt": "x"}, book=shipped_prices(), at=at, usage=lambda _: Usage())
    return found.verdict.value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "conditions: {night: {seed: 4}}\nrules: [{name: r, deny: no, when: nigth}]",
            "p.yaml:6: `nigth` is not a named condition (did you mean `night`?)",
        ),
        (
            "conditions: {night: {seed: 4}}\nrules: [{name: r, deny: no, when: {any: [{not: x}]}}]",
            "p.yaml:6: `x` is not a named condition (known: night)",
        ),
        (
            "rules: [{name: r, deny: no, when: night}]",
            "p.yaml:5: `night` is not a named condition (say what it means under `conditions`)",
        ),
        (
            "conditions: {team: {seed: 4}}",
            "p.yaml:5: `team` cannot name a condition (a label is called so)",
        ),
        (
            "conditions: {credits: {seed: 4}}",
            "p.yaml:5: `credits` cannot name a condition (conditions already read it)",
        ),
        (
            "conditions: {absent: {seed: 4}}",
            "p.yaml:5: `absent` cannot name a condition (conditions already read it)",
        ),
        (
            "conditions: {1x: {seed: 4}}",
            "p.yaml:5: `1x` is not a name (use a letter, then up to 79 letters, digits, spaces, `-` and `_`)",
        ),
        (
            "conditions: [night]",
            "p.yaml:5: `conditions` must be a mapping (such as `{night: {time: {from: 22:00, to: 06:00}}}`)",
        ),
        (
            "conditions:\n  a: {any: [{seed: 4}, b]}\n  b: {not: c}\n  c: a",
            "p.yaml:6: `a` goes round in a circle: a → b → c → a (let one of them do without the next)",
        ),
        (
            "conditions: {a: a}",
            "p.yaml:5: `a` goes round in a circle: a → a (let one of them do without the next)",
        ),
        (
            "conditions:\n  busy: {used: {b: {above: 80%}}}\n  late: {not: busy}\n"
            "budgets: [{name: b, limit: 4, per: day, applies_to: late}]",
            "p.yaml:8: `late` asks `used`: what a budget counts cannot depend on what is used "
            "(use labels, request fields, credits, usd, time or weekday)",
        ),
        (
            "conditions: {goes: {verdict: allow}}\nrules: [{name: r, deny: no, when: goes}]",
            "p.yaml:6: `goes` asks `verdict`: `verdict` can only stand in a guarantee "
            "(every rule is asked before there is a verdict)",
        ),
    ],
)
def test_a_wrong_name_is_told_with_what_would_be_right(text: str, said: str) -> None:
    """At the line of the one who calls, or of the condition itself where that is at fault."""
    assert faults(f"{text}\n") == [said]


def test_what_is_wrong_inside_is_said_once_where_it_stands() -> None:
    """Three rules call a condition with two faults: two faults, both at its own lines."""
    text = """conditions:
  big:
    resolution: 8k
    credits: {abve: 4}
rules:
  - {name: one, deny: no, when: big}
  - {name: two, deny: no, when: {not: big}}
  - {name: three, deny: no, when: {any: [big, {seed: 4}]}}
"""
    assert [fault.split(" (")[0] for fault in faults(text)] == [
        "p.yaml:7: `8k` is not a value of `resolution`",
        "p.yaml:8: `abve` is not an operator",
    ]


def test_every_circle_is_told() -> None:
    """Two circles that share nothing are two faults, and who leads into one is not at fault."""
    text = "conditions: {e: {all: [b, c]}, a: b, b: a, c: {not: d}, d: c}\n"
    assert [fault.split(" (")[0] for fault in faults(text)] == [
        "p.yaml:5: `a` goes round in a circle: a → b → a",
        "p.yaml:5: `c` goes round in a circle: c → d → c",
    ]


@pytest.mark.parametrize(
    "named",
    [
        {f"c{n}": {"any": [f"c{n + 1}"] * 4} for n in range(6)} | {"c6": {"seed": 4}},
        {f"c{n}": {"not": f"c{n + 1}"} for n in range(900)} | {"c900": {"seed": 4}},
    ],
    ids=["wide", "deep"],
)
def test_names_do_not_make_a_small_file_large(named: dict[str, Any]) -> None:
    """Four of four of four, six times over, or nine hundred steps, are refused at once."""
    started = time.monotonic()
    found = faults(f"conditions: {text_of(named)}\n")
    assert any("the condition grows too large" in fault for fault in found)
    assert time.monotonic() - started < 2


def test_there_is_an_end_to_how_many_there_are() -> None:
    """More than a thousand named conditions are one fault."""
    named = text_of({f"c{n}": {"seed": n} for n in range(1001)})
    assert faults(f"conditions: {named}\n") == ["p.yaml:5: there are more than 1000 conditions (use fewer)"]


@given(st.permutations(["late", "night", "big"]))
def test_the_order_in_which_they_stand_does_not_matter(order: list[str]) -> None:
    """A condition may call one that stands below it; the digest is the same as well."""
    named: dict[str, Any] = {
        "late": {"any": ["night", "big"]},
        "night": {"time": {"from": "22:00", "to": "06:00"}},
        "big": {"credits": {"above": 12}},
    }
    policies = [
        parse_policy(
            f"{HEAD}conditions: {text_of({name: named[name] for name in names})}\n"
            "rules: [{name: r, deny: no, when: late}]\n",
            "p.yaml",
        )
        for names in (list(named), order)
    ]
    assert policies[0].rules[0].when == policies[1].rules[0].when
    assert policies[0].digest == policies[1].digest
