"""Shared strategies: random policies as raw values, and what stands around a request."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from planner.errors import ConfigError
from planner.loading import shipped_latency, shipped_prices
from planner.request import ASPECT_RATIOS, GENERATION_MODES, RESOLUTIONS
from policies.budgets import Allowance, Usage
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.naive import DAYS, Oracle

TEAMS = ["ecommerce", "social"]
STAGES = ["draft", "production"]
CAMPAIGNS = ["denim", "press-kit"]
BUDGETS = ["month", "week"]
ZONES = ["Europe/Berlin", "Asia/Kolkata", "America/New_York", "UTC"]

MEMBERS: dict[str, list[Any]] = {
    "resolution": list(RESOLUTIONS),
    "generation_mode": list(GENERATION_MODES),
    "num_images": [1, 2, 3, 4],
    "aspect_ratio": [*ASPECT_RATIOS[:4], "1:1"],
    "face_reference_mode": ["match_base", "match_reference"],
    "output_format": ["png", "jpeg"],
    "return_base64": [True, False],
    "seed": [7, 42, 43],
    "team": TEAMS,
    "stage": STAGES,
    "campaign": CAMPAIGNS,
    "weekday": DAYS,
    "credits": [1, 4, 7, 12, 24],
    "usd": [Decimal("0.15"), 1, Decimal("0.525")],
    "seconds": [20, 50, 100, Decimal("59.5")],
    "used": ["0%", "25%", "50%", "99.5%", "100%"],
}
ORDERED = {"resolution", "generation_mode", "num_images", "seed", "credits", "usd", "seconds", "used"}
ALWAYS_THERE = {"weekday", "credits", "usd", "seconds", "used", "time"}
TIMES = st.sampled_from(
    [("22:00", "06:00"), ("09:00", "17:30"), ("0:00", "12:00"), ("12:00", "00:00"), ("06:00", "05:59")]
)


@st.composite
def asked_of(draw: st.DrawFn, key: str, depth: int = 1) -> Any:
    """What may be asked of one attribute."""
    value = st.sampled_from(MEMBERS[key])
    kinds = ["value", "list"]
    kinds += ["ordered"] * 2 if key in ORDERED else []
    kinds += [] if key in ALWAYS_THERE else ["presence"]
    kinds += ["not", "any", "all"] if depth else []
    match draw(st.sampled_from(kinds)):
        case "value":
            return draw(value)
        case "list":
            return draw(st.lists(value, min_size=1, max_size=2))
        case "ordered":
            operators = st.sampled_from(["above", "at_least", "below", "at_most"])
            return draw(st.dictionaries(operators, value, min_size=1, max_size=2))
        case "presence":
            return draw(st.sampled_from(["present", "absent"]))
        case "not":
            return {"not": draw(asked_of(key, depth - 1))}
        case several:
            return {several: draw(st.lists(asked_of(key, depth - 1), min_size=1, max_size=2))}


@st.composite
def attributes(draw: st.DrawFn, used: bool) -> dict[str, Any]:
    """One attribute and its test, as a mapping."""
    keys = [key for key in MEMBERS if key != "used"] + ["face_reference", "image_reference", "time"]
    match draw(st.sampled_from(keys + ["used"] * (4 if used else 0))):
        case "face_reference" | "image_reference" as key:
            return {key: draw(st.sampled_from(["present", "absent", {"not": "present"}]))}
        case "time":
            start, end = draw(TIMES)
            return {"time": {"from": start, "to": end}}
        case "used":
            names = draw(st.lists(st.sampled_from(BUDGETS), min_size=1, unique=True))
            return {"used": {name: draw(asked_of("used")) for name in names}}
        case key:
            return {key: draw(asked_of(key))}


@st.composite
def conditions(draw: st.DrawFn, used: bool = True, depth: int = 2) -> dict[str, Any]:
    """Conditions of the whole language, a few levels deep."""
    kinds = ["one", "one", "two"] + (["any", "all", "not", "and"] if depth else [])
    match draw(st.sampled_from(kinds)):
        case "one":
            return draw(attributes(used))
        case "two":
            return {**draw(attributes(used)), **draw(attributes(used))}
        case "not":
            return {"not": draw(conditions(used, depth - 1))}
        case "and":
            return {**draw(attributes(used)), **draw(conditions(used, depth - 1))}
        case several:
            return {several: draw(st.lists(conditions(used, depth - 1), min_size=1, max_size=3))}


REWRITES: dict[str, list[Any]] = {
    "resolution": ["1k", "1k", "2k"],
    "generation_mode": ["fast", "fast", "balanced", "absent"],
    "num_images": [1, 2, "absent"],
    "face_reference": ["absent"],
    "output_format": ["jpeg"],
    "seed": [7, "absent"],
}
"""What a rewrite rule may set; mostly downwards, so that many policies come to rest."""


@st.composite
def rewrites(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(REWRITES)), min_size=1, max_size=2, unique=True))
    return {name: draw(st.sampled_from(REWRITES[name])) for name in names}


LADDERS: dict[str, list[Any]] = {
    "num_images": [1, 2, 3, 4],
    "generation_mode": list(GENERATION_MODES),
    "resolution": list(RESOLUTIONS),
}


@st.composite
def downgrades(draw: st.DrawFn) -> dict[str, Any]:
    """An order of giving up, mostly of several fields, with floors under some of them."""
    names = draw(st.permutations(sorted(LADDERS)))[: draw(st.sampled_from([1, 2, 3, 3]))]
    found: dict[str, Any] = {"give_up_in_order": names}
    if draw(st.booleans()):
        least = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        found["floor"] = {name: draw(st.sampled_from(LADDERS[name])) for name in least}
    return found


@st.composite
def rules(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """One rule of any kind."""
    rule: dict[str, Any] = {"name": f"rule-{number}"}
    if draw(st.integers(0, 9)):
        rule["when"] = draw(conditions())
    if not draw(st.integers(0, 7)):
        rule["shadow"] = True
    kind = draw(st.sampled_from(["rewrite", "rewrite", "downgrade", "deny", "needs_approval", "allow"]))
    if kind == "downgrade":
        rule["downgrade"] = {
            "at_most": draw(st.sampled_from(["1 credits", 4, "7 credits", "12 credits", "0.30 USD"])),
            **draw(downgrades()),
        }
    elif kind == "rewrite":
        rule["rewrite"] = draw(rewrites())
        rule["may_cost_more"] = draw(st.booleans())
    elif kind == "needs_approval":
        rule["needs_approval"] = draw(st.sampled_from(["finance", "studio lead"]))
    else:
        rule[kind] = "because"
    return rule


@st.composite
def budgets(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """One budget."""
    budget: dict[str, Any] = {
        "name": name,
        "per": draw(st.sampled_from(["hour", "day", "week", "month", "quarter", "year", "total"])),
        "limit": draw(st.sampled_from(["0 credits", "20 credits", "200 credits", "7.50 USD", 50])),
    }
    if draw(st.booleans()):
        label, value = draw(st.sampled_from([("team", "social"), ("campaign", "denim"), ("stage", "draft")]))
        budget["for_each"] = [label]
        if draw(st.booleans()):
            budget["limit"] = {value: draw(st.sampled_from([10, "30 credits"])), "otherwise": 100}
    elif draw(st.booleans()):
        budget["for_each"] = ["team", "campaign"]
    if draw(st.booleans()):
        budget["applies_to"] = draw(conditions(used=False))
    budget["warn_at"] = draw(st.lists(st.sampled_from(MEMBERS["used"][1:]), max_size=2))
    budget["when_exhausted"] = draw(
        st.sampled_from(["deny", {"needs_approval": "finance"}])
        | st.builds(lambda down: {"downgrade": down}, downgrades())
    )
    return budget


@st.composite
def policy_data(draw: st.DrawFn) -> dict[str, Any]:
    """A policy as raw values; it may still be refused because its rewrites never come to rest."""
    return {
        "policy": 1,
        "name": "random",
        "timezone": draw(st.sampled_from(ZONES)),
        "otherwise": draw(st.sampled_from(["allow", "deny", {"needs_approval": "finance"}])),
        "credit_price": "on-demand",
        "latency_profile": shipped_latency().name,
        "labels": {"team": TEAMS, "stage": STAGES, "campaign": "any"},
        "budgets": [draw(budgets(name)) for name in BUDGETS],
        "rules": [draw(rules(number)) for number in range(draw(st.integers(0, 6)))],
    }


def text_of(data: Any) -> str:
    """Raw values as YAML, in flow style; decimals stay exact."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {text_of(value)}" for key, value in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(text_of, data)) + "]"
    return str(data) if isinstance(data, Decimal) else json.dumps(data)


def policy_of(data: dict[str, Any]) -> Policy | None:
    """The policy, or None where it is refused because of its rewrites; any other fault is an error."""
    try:
        return parse_policy(text_of(data), "random.yaml")
    except ConfigError as error:
        reasons = ("raise the price", "changes again", "changes its own")
        if all(any(reason in fault.message for reason in reasons) for fault in error.faults):
            return None
        raise


def labels() -> st.SearchStrategy[dict[str, str]]:
    """Labels of a request, some of them missing or unknown."""
    texts = {
        "team": st.sampled_from([*TEAMS, *TEAMS, "nobody"]),
        "stage": st.sampled_from(STAGES),
        "campaign": st.sampled_from([*CAMPAIGNS, "another"]),
    }
    return st.fixed_dictionaries({}, optional=texts)


instants = st.integers(0, 580 * 24 * 60).map(
    lambda minute: datetime(2026, 5, 2, tzinfo=UTC) + timedelta(minutes=minute)
)


def usage_from(seed: int, broken: bool = False) -> Any:
    """What counts in an allowance, made up from its name so that two who ask are told the same."""

    def usage(allowance: Allowance) -> Usage:
        made = sum(allowance.key.encode()) + seed
        if broken and made % 5 == 0:
            raise RuntimeError("nobody knows")
        size = 1 if allowance.unit == "credits" else 75_000
        return Usage(*(size * (made // step % 40) for step in (1, 3, 7)), size * (made % 3))

    return usage


def oracle_for(data: dict[str, Any], labels: dict[str, str], at: datetime, usage: Any) -> Oracle:
    entry = shipped_prices().entry_at(at)
    return Oracle(data, entry, at, usage, labels, 75_000, shipped_latency())
