"""Decisions against the general policy engines: `python benchmarks/peers.py [REQUESTS]`.

One hundred rules of mixed kinds (fields, price, labels, clock) are written three times: as a policy of
ours, as one joined expression of CEL (`common-expression-language`), and as a parsed policy set of Cedar
(`cedarpy`); `pip install -e .[bench]` installs both, which are Rust. They are given an advantage: price,
billed mode, defaults, local minute and weekday stand ready in their contexts, and only their own call is
timed. Ours does all of that inside its call and from a dict it validates the request too.

Answers come first: all three agree on the verdict of every request, Cedar by the names of the policies
that forbid. Then medians of a few rounds that take turns in one run; only the ratios mean anything. The
rules that rewrite, and budgets, have no counterpart there; what a budget adds to ours is told apart.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import cedarpy
import cel

from planner.loading import shipped_prices
from planner.quoting import quote
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import Usage
from policies.engine import Policy
from policies.loading import parse_policy

ROUNDS = 7
RULES = 100
KINDS = 1500
"""How many different requests a studio's teams make of the same few templates."""
FIRST = datetime(2026, 11, 22, 16, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Berlin")
TEAMS = [f"team-{number}" for number in range(12)]
CAMPAIGNS = [f"campaign-{number}" for number in range(40)]
STAGES = ["draft", "production"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
BOOK = shipped_prices()
NOTHING = Usage()

Test = tuple[str, str, Any]
"""An attribute, an operator and what it is compared with."""


@dataclass(frozen=True)
class Rule:
    """Tests that all have to hold, and what follows."""

    tests: Sequence[Test]
    follows: str


@dataclass(frozen=True)
class Asked:
    """One request in every form that somebody is timed with."""

    inputs: dict[str, Any]
    request: ModelCreateRequest
    labels: dict[str, str]
    at: datetime
    context: dict[str, Any]
    """What the peers read, worked out beforehand."""
    cedar: dict[str, Any]


# -- the rules, three times ------------------------------------------------------------------------


def rules(number: int) -> list[Rule]:
    """A studio's policy that has grown: a few general rules, and exceptions by team and campaign."""
    rng = Random(number)
    general = [
        Rule([("team", "absent", None)], "deny"),
        Rule([("resolution", "is", "4k"), ("face_reference", "present", None)], "deny"),
        Rule([("credits", "at_least", 24)], "needs_approval"),
        Rule([("stage", "is", "draft"), ("num_images", "above", 3)], "needs_approval"),
        Rule([("weekday", "in", ["saturday", "sunday"]), ("credits", "above", 18)], "needs_approval"),
        Rule([("time", "between", (22 * 60, 6 * 60)), ("stage", "is", "production")], "deny"),
    ]
    return [*general, *(exception(rng) for _ in range(number - len(general)))]


def exception(rng: Random) -> Rule:
    """A rule that speaks of a team or a campaign, and of something that it minds."""
    about = rng.choice([("team", "is", rng.choice(TEAMS)), ("campaign", "is", rng.choice(CAMPAIGNS))])
    minded: list[list[Test]] = [
        [("resolution", "is", "4k"), ("generation_mode", "is", "quality")],
        [("generation_mode", "is_not", "fast"), ("credits", "above", rng.randrange(10, 20))],
        [("num_images", "above", 2), ("resolution", "in", ["2k", "4k"])],
        [("time", "between", (rng.randrange(18, 24) * 60, 7 * 60)), ("credits", "at_least", 6)],
        [("face_reference", "present", None), ("weekday", "in", rng.sample(DAYS, 2))],
    ]
    return Rule([about, *rng.choice(minded)], rng.choice(["deny", "needs_approval"]))


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def as_ours(test: Test) -> dict[str, Any]:
    name, operator, value = test
    match operator:
        case "is" | "in":
            return {name: value}
        case "is_not":
            return {name: {"not": value}}
        case "between":
            return {name: {"from": clock(value[0]), "to": clock(value[1])}}
        case "present" | "absent":
            return {name: operator}
        case _:
            return {name: {operator: value}}


def as_cel(test: Test, within: str = "") -> str:
    """The test as both peers spell it, but for lists; a missing label is empty to them."""
    name, operator, value = f"{within}{test[0]}", test[1], test[2]
    match operator:
        case "is":
            return f"{name} == {json.dumps(value)}"
        case "is_not":
            return f"{name} != {json.dumps(value)}"
        case "in":
            return f"{name} in {json.dumps(value)}"
        case "between":
            return f"({name} >= {value[0]} || {name} < {value[1]})"
        case "present":
            return name
        case "absent":
            return f'{name} == ""'
        case _:
            return f"{name} {'>' if operator == 'above' else '>='} {value}"


def as_cedar(test: Test) -> str:
    name, operator, value = test
    if operator == "in":
        return f"{json.dumps(value)}.contains(context.{name})"
    return as_cel(test, "context.")


def our_policy(found: Sequence[Rule], budgets: int = 0) -> Policy:
    said = {
        "policy": 1,
        "name": "peers",
        "timezone": ZONE.key,
        "otherwise": "allow",
        "labels": {"team": TEAMS, "stage": STAGES, "campaign": "any"},
        "budgets": [
            {"name": f"b{number}", "limit": 10**9, "per": per, "for_each": ["team"]}
            for number, per in enumerate(["month", "day", "week", "year", "quarter"][:budgets])
        ],
        "rules": [
            {
                "name": f"r{number}",
                "when": {key: value for test in rule.tests for key, value in as_ours(test).items()},
                rule.follows: "because",
            }
            for number, rule in enumerate(found)
        ],
    }
    return parse_policy(json.dumps(said), "peers.yaml")


def cel_program(found: Sequence[Rule]) -> Any:
    """One program that yields the verdict."""
    deny, approve = (
        " || ".join(
            f"({' && '.join(map(as_cel, rule.tests))})" for rule in found if rule.follows == follows
        )
        for follows in ("deny", "needs_approval")
    )
    return cel.compile(f'({deny}) ? "deny" : ({approve}) ? "needs_approval" : "allow"')


def cedar_policies(found: Sequence[Rule]) -> cedarpy.PolicySet:
    """A forbid for each rule, of which the n-th is called `policyN`, and a permit for all."""
    forbids = (
        f"forbid(principal, action, resource) when {{ {' && '.join(map(as_cedar, rule.tests))} }};"
        for rule in found
    )
    return cedarpy.PolicySet.from_str("\n".join([*forbids, "permit(principal, action, resource);"]))


# -- the requests ----------------------------------------------------------------------------------


def traffic(number: int) -> list[Asked]:
    """A few thousand requests of fewer kinds, one every tenth of a second."""
    rng = Random(7)
    kinds = [kind(rng) for _ in range(KINDS)]
    return [asked(*rng.choice(kinds), FIRST + timedelta(seconds=place / 10)) for place in range(number)]


def kind(rng: Random) -> tuple[dict[str, Any], dict[str, str]]:
    said = {
        "prompt": "linen dress, studio light",
        "resolution": rng.choice([None, "1k", "1k", "2k", "2k", "4k"]),
        "generation_mode": rng.choice([None, None, "fast", "balanced", "quality"]),
        "num_images": rng.choice([None, None, 1, 2, 4]),
        "face_reference": rng.choice([None, None, None, "https://example.com/face.png"]),
        "aspect_ratio": rng.choice([None, "3:4", "1:1"]),
        "seed": rng.choice([None, 7]),
    }
    labels = {"stage": rng.choice(STAGES), "campaign": rng.choice(CAMPAIGNS)}
    if rng.random() < 0.99:
        labels["team"] = rng.choice(TEAMS)
    return {name: value for name, value in said.items() if value is not None}, labels


def asked(inputs: dict[str, Any], labels: dict[str, str], at: datetime) -> Asked:
    request, local = parse_request(inputs), at.astimezone(ZONE)
    found = quote(request, BOOK, at)
    context = {
        "resolution": request.resolution or "1k",
        "generation_mode": found.billed_mode,
        "num_images": request.num_images or 1,
        "face_reference": request.face_reference is not None,
        "credits": found.credits,
        "team": labels.get("team", ""),
        "stage": labels["stage"],
        "campaign": labels["campaign"],
        "weekday": DAYS[local.weekday()],
        "time": local.hour * 60 + local.minute,
    }
    cedar = {"principal": 'U::"u"', "action": 'A::"make"', "resource": 'R::"image"', "context": context}
    return Asked(inputs, request, labels, at, context, cedar)
