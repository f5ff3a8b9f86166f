"""Decisions a second at 10, 100 and 1,000 rules: `python benchmarks/decide.py [DECISIONS]`.

Answers come first: requests of every kind are compared with the tree walk that the laws use as their
oracle. Then rounds that take turns in one run, in processor time: for requests of which each is heard anew
(new), and for those of a studio, where a few hundred kinds come again and again (known). The absolute figures
depend on the machine and gate nothing; the ratio of 1,000 rules to 10 says whether the cost depends on the
number of rules. The tree walk is timed too, as the peer that walks every rule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.laws.naive import Answer
from tests.laws.policy_strategies import oracle_for, text_of

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import Usage
from policies.engine import Policy
from policies.loading import parse_policy
from policies.moments import Moments

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
ROUNDS = 9
SIZES = (10, 100, 1000)
TEAMS = [f"team-{number}" for number in range(12)]
CAMPAIGNS = [f"campaign-{number}" for number in range(40)]
NOTHING = Usage()

Asked = tuple[ModelCreateRequest, dict[str, str]]


PINNED = {"name": "pinned", "when": {"stage": "draft", "seed": "absent"}, "rewrite": {"seed": 7}}
"""A rule under which requests with different seeds are of different kinds, because it sets the seed."""


def policy_data(rules: int) -> dict[str, Any]:
    """A studio's policy that has grown: a few general rules, and exceptions by team and campaign."""
    rng = Random(rules)
    general: list[dict[str, Any]] = [
        {"when": {"face_reference": "present", "resolution": "4k"}, "rewrite": {"resolution": "2k"}},
        {"when": {"stage": "draft", "num_images": {"above": 2}}, "rewrite": {"num_images": 2}},
        {"when": {"team": "absent"}, "deny": "name your team"},
        {"when": {"credits": {"at_least": 24}}, "needs_approval": "finance"},
    ]
    exceptions = [exception(rng) for _ in range(rules - len(general))]
    return {
        "policy": 1,
        "name": "bench",
        "timezone": "Europe/Berlin",
        "otherwise": "allow",
        "labels": {"team": TEAMS, "stage": ["draft", "production"], "campaign": "any"},
        "budgets": [{"name": "month", "limit": 5000, "per": "month", "for_each": ["team"]}],
        "rules": [{"name": f"r{n}", **rule} for n, rule in enumerate([*general, *exceptions])],
    }


def exception(rng: Random) -> dict[str, Any]:
    """A rule that speaks of one team and one campaign, and of something that it minds."""
    minded: list[dict[str, Any]] = [
        {"resolution": "4k"},
        {"credits": {"above": rng.randrange(8, 24)}},
        {"generation_mode": {"not": "fast"}, "time": {"from": f"{rng.randrange(18, 24)}:00", "to": "06:00"}},
        {"any": [{"weekday": ["saturday", "sunday"]}, {"num_images": {"at_least": 3}}]},
    ]
    when = {"team": rng.choice(TEAMS), "campaign": rng.choice(CAMPAIGNS), **rng.choice(minded)}
    return {"when": when, **rng.choice([{"deny": "no"}, {"needs_approval": "lead"}])}


def traffic(number: int) -> list[Asked]:
    """Requests of every price, for every team and campaign; by the seed, no two are of one kind."""
    rng, found = Random(7), []
    for seed in rng.sample(range(2**32), number):
        inputs = {
            "resolution": rng.choice([None, "1k", "2k", "4k"]),
            "generation_mode": rng.choice([None, "fast", "balanced", "quality"]),
            "num_images": rng.choice([None, 1, 2, 4]),
            "face_reference": rng.choice([None, None, None, "https://example.com/face.png"]),
        }
        stage = rng.choice(["draft", "production"])
        labels = {"team": rng.choice(TEAMS), "stage": stage, "campaign": rng.choice(CAMPAIGNS)}
        found.append((parse_request({"prompt": "x", "seed": seed, **inputs}), labels))
    return found


def check(policy: Policy, data: dict[str, Any], asked: list[Asked]) -> None:
    """Every answer is the tree walk's answer."""
    for request, labels in asked:
        found = policy.decide(request, labels, book=BOOK, at=AT, usage=lambda allowance: NOTHING)
        walked: Answer = oracle_for(data, labels, AT, lambda allowance: NOTHING).decide(request.inputs())
        told = (found.verdict.value, found.request.inputs(), found.credits)
        if (
            told != (walked.verdict, walked.inputs, walked.credits)
            or [(finding.rule, finding.outcome.value) for finding in found.findings] != walked.findings
        ):
            raise SystemExit(f"the engine and the tree walk differ for {request} with {labels}")


BOOK = shipped_prices()


def seconds(work: Callable[[Asked], object], asked: list[Asked]) -> float:
    """Of the processor's time, for each."""
    started = process_time()
    for one in asked:
        work(one)
    return (process_time() - started) / len(asked)


def decide(policy: Policy, forget: bool) -> Callable[[Asked], object]:
    """A decision by the policy, or by the same one without its memory."""
    if forget:
        policy = copy(policy)
        policy.moments, policy._moment = Moments(policy.compiled), None

    def work(one: Asked) -> object:
        return policy.decide(one[0], one[1], book=BOOK, at=AT, usage=lambda allowance: NOTHING)

    return work


def walk(data: dict[str, Any]) -> Callable[[Asked], object]:
    return lambda one: oracle_for(data, one[1], AT, lambda allowance: NOTHING).decide(one[0].inputs())


def main(decisions: int) -> None:
    new = traffic(decisions)
    known = Random(7).choices(new[:300], k=10 * decisions)
    policies, walked = {}, {}
    for rules in SIZES:
        data = policy_data(rules)
        data["rules"].insert(0, PINNED)
        started = process_time()
        policies[rules] = policy = parse_policy(text_of(data), "bench.yaml")
        print(f"{rules:5} rules: loaded in {(process_time() - started) * 1000:.0f} ms")
        check(policy, data, new[: 3000 // rules + 20])
        walked[rules] = seconds(walk(data), new[: max(20, 4000 // rules)])
    rounds = [
        {rules: (seconds(decide(policy, True), new), seconds(decide(policy, False), known))
         for rules, policy in policies.items()}
        for _ in range(ROUNDS)
    ]  # fmt: skip
    found = {rules: [median(one[rules][kind] for one in rounds) for kind in (0, 1)] for rules in SIZES}
    for rules, (each_new, each_known) in found.items():
        print(
            f"{rules:5} rules: {1 / each_new:9,.0f} new/s, {1 / each_known:9,.0f} known/s,"
            f" {walked[rules] / each_new:8.1f} x the tree walk"
        )
    ratios = [before / after for before, after in zip(found[10], found[1000], strict=True)]
    print(f"1,000 rules to 10 rules: {ratios[0]:.2f} new, {ratios[1]:.2f} known")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
