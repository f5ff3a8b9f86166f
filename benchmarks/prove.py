"""Proofs: `python benchmarks/prove.py`.

Answers come first: a promise that holds is proven, and one that does not is refuted with a request that
the engine decides as the proof says. Then a policy of 100 rules, 5 budgets and 3 labels is proven, and
the shelf of shipped policies, each in the time above the start of a process. Figures depend on the
machine and gate nothing; beside them stands what asking the engine for each cell would take.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.decide import policy_data
from tests.laws.policy_strategies import text_of

from planner.loading import shipped_prices
from policies.analysis.proof import Proof, prove
from policies.budgets import Usage
from policies.engine import Policy
from policies.loading import load_policy, parse_policy, shipped_policies

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BOOK = shipped_prices()
ROUNDS = 3

DOWN = {
    "downgrade": {"give_up_in_order": ["num_images", "generation_mode"], "floor": {"generation_mode": "fast"}}
}
BUDGETS: list[dict[str, Any]] = [
    {"name": "month", "limit": 5000, "per": "month", "for_each": ["team"], "when_exhausted": DOWN},
    {"name": "week", "limit": "400 credits", "per": "week", "applies_to": {"stage": "draft"}},
    {"name": "day", "limit": "150 USD", "per": "day", "when_exhausted": {"needs_approval": "finance"}},
    {"name": "campaign", "limit": 1500, "per": "total", "for_each": ["campaign"]},
    {"name": "large", "limit": 64, "per": "hour", "applies_to": {"credits": {"above": 12}}},
]
PROMISES: list[dict[str, Any]] = [
    {"name": "large-ones-are-asked-about", "never": {"verdict": "allow", "credits": {"at_least": 24}}},
    {"name": "nobody-is-nobody", "never": {"verdict": "allow", "team": "absent"}},
    {
        "name": "kept-for-production",
        "never": {"verdict": "allow", "stage": "draft", "used": {"week": {"at_least": "100%"}}},
    },
    {"name": "broken", "never": {"verdict": "allow", "stage": "draft", "num_images": {"at_least": 2}}},
]


def policy_of_100_rules() -> Policy:
    data = policy_data(100)
    return parse_policy(
        text_of({**data, "credit_price": "on-demand", "budgets": BUDGETS, "guarantees": PROMISES}),
        "bench.yaml",
    )


def check(proof: Proof) -> None:
    """The promises that hold are proven, and the broken one is refuted by a real decision."""
    found = {result.name: result for result in proof.results}
    wrong = [name for name in found if name != "broken" and not found[name].proved]
    example = found["broken"].counterexample
    if (
        wrong
        or example is None
        or (example.decision.verdict.value, example.decision.request.num_images) != ("allow", 2)
    ):
        raise SystemExit(f"the proof is wrong: {wrong or found['broken']}")


def seconds(work: Any) -> float:
    rounds = []
    for _ in range(ROUNDS):
        started = perf_counter()
        work()
        rounds.append(perf_counter() - started)
    return median(rounds)


def main() -> None:
    policy = policy_of_100_rules()
    proof = prove(policy, BOOK, NOW)
    check(proof)
    taken = seconds(lambda: prove(policy, BOOK, NOW))
    one = {"prompt": "x", "num_images": 2}
    labels = {"team": "team-1", "stage": "draft", "campaign": "campaign-1"}
    asked = seconds(
        lambda: [
            policy.decide(one, labels, book=BOOK, at=NOW, usage=lambda allowance: Usage())
            for _ in range(1000)
        ]
    )
    by_asking = asked / 1000 * proof.covers
    print(
        f"100 rules, 5 budgets, 3 labels: {taken:.2f} s for {proof.cells:,} cells that stand for"
        f" {proof.covers:,}; asking the engine for each would take {by_asking / taken:,.0f} x as long"
    )
    shelf = seconds(lambda: [prove(load_policy(name), BOOK, NOW) for name in shipped_policies()])
    print(f"the shelf, {len(shipped_policies())} policies loaded and proven: {shelf:.2f} s")


if __name__ == "__main__":
    main()
