"""Decisions against general policy engines: `python benchmarks/peers.py [REQUESTS]`.

One hundred rules of mixed kinds (fields, price, labels, clock) are written three times: as a policy of
ours, as one joined expression of CEL (`common-expression-language`), and as a parsed policy set of Cedar
(`cedarpy`); both are Rust, and `pip install -e .[bench]` installs them. They are given an advantage: price,
billed mode, defaults, local minute and weekday stand ready in their contexts, and only their own call is
timed. Ours does all of that inside its call, and from a dict it validates the request too.

Answers come first: all three agree on the verdict of every request, Cedar by the names of the policies
that forbid. Then rounds that take turns in one run, in processor time; only the ratios of their medians
mean anything. Rules that rewrite and budgets have no counterpart there; ours is timed with budgets too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import cedarpy
import cel

from planner.loading import shipped_prices
from planner.quoting import quote
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import Allowance, Usage
from policies.engine import Policy
from policies.loading import parse_policy

ROUNDS = 25
RULES = 100
KINDS = 500
"""How many different requests with labels the teams of a studio make."""
PASSES = 5
"""How often ours decides all requests in a round; a peer, which is slower, decides every eighth once."""
FIRST = datetime(2026, 11, 22, 16, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Berlin")
TEAMS = [f"team-{number}" for number in range(12)]
CAMPAIGNS = [f"campaign-{number}" for number in range(40)]
STAGES = ["draft", "production"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
BOOK = shipped_prices()
NOTHING = Usage()
ENTITIES = cedarpy.Entities.from_json_str("[]")

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
    """The request to Cedar, with the context as JSON, which it reads faster than a dict."""


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
        " || ".join(f"({' && '.join(map(as_cel, rule.tests))})" for rule in found if rule.follows == follows)
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
    """Requests of fewer kinds, one every tenth of a second."""
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
    cedar = {"principal": 'U::"u"', "action": 'A::"make"', "resource": 'R::"image"'}
    return Asked(inputs, request, labels, at, context, {**cedar, "context": json.dumps(context)})


# -- answers, then time ----------------------------------------------------------------------------


def usage(allowance: Allowance) -> Usage:
    return NOTHING


def by_cedar(found: cedarpy.AuthzResult, written: Sequence[Rule]) -> str:
    """The verdict that the forbidding policies ask for together."""
    asked_for = {written[int(name.removeprefix("policy"))].follows for name in found.diagnostics.reasons
                 if not found.allowed}  # fmt: skip
    return "deny" if "deny" in asked_for else asked_for.pop() if asked_for else "allow"


def check(
    requests: Sequence[Asked], written: Sequence[Rule], policies: Sequence[Policy], program: Any, forbids: Any
) -> None:
    """Everybody says the same to every request."""
    for one in requests:
        verdicts = {
            program.execute(one.context),
            by_cedar(cedarpy.is_authorized(one.cedar, forbids, ENTITIES), written),
            *(
                policy.decide(asked, one.labels, book=BOOK, at=one.at, usage=usage).verdict.value
                for policy in policies
                for asked in (one.request, one.inputs)
            ),
        }
        if len(verdicts) > 1:
            raise SystemExit(f"they differ about {one.request} with {one.labels} at {one.at}: {verdicts}")


def microseconds(work: Callable[[], int]) -> float:
    """Of the processor's time, for one of so many decisions."""
    started = process_time()
    number = work()
    return (process_time() - started) / number * 1e6


def main(number: int) -> None:
    written, requests = rules(RULES), traffic(number)
    policies = {budgets: our_policy(written, budgets) for budgets in (0, 1, 5)}
    program, forbids = cel_program(written), cedar_policies(written)
    check(requests, written, [*policies.values()], program, forbids)
    valid = [(one.request, one.labels, one.at) for one in requests]
    raw = [(one.inputs, one.labels, one.at) for one in requests]

    def ours(policy: Policy, asked: Sequence[tuple[Any, dict[str, str], datetime]]) -> int:
        for _ in range(PASSES):
            for request, labels, at in asked:
                policy.decide(request, labels, book=BOOK, at=at, usage=usage)
        return PASSES * len(asked)

    def by_peer(work: Callable[[Any], object], asked: Sequence[Any]) -> int:
        for one in asked:
            work(one)
        return len(asked)

    contexts, cedar = [one.context for one in requests[::8]], [one.cedar for one in requests[::8]]
    contenders: dict[str, Callable[[], int]] = {
        "CEL": lambda: by_peer(program.execute, contexts),
        "Cedar": lambda: by_peer(lambda one: cedarpy.is_authorized(one, forbids, ENTITIES), cedar),
        "ours, a valid request": lambda: ours(policies[0], valid),
        "ours, from a dict": lambda: ours(policies[0], raw),
        "ours, with one budget": lambda: ours(policies[1], valid),
        "ours, with five budgets": lambda: ours(policies[5], valid),
    }
    rounds = [{name: microseconds(work) for name, work in contenders.items()} for _ in range(ROUNDS)]
    found = {name: median(one[name] for one in rounds) for name in contenders}
    for name, each in found.items():
        ratios = (f"{found[peer] / each:6.1f} x {peer}" for peer in ("CEL", "Cedar"))
        print(f"{name:24}: {each:7.2f} us, {', '.join(ratios)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
