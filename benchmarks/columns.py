"""A million requests in columns: `python benchmarks/columns.py [ROWS]`.

Answers come first: on a sample of the rows, columns and single decisions one after another say the same.
Then the rows a second under a policy of 100 rules, without a budget, with one, with five, and with one
that warns from the beginning; the absolute figures depend on the machine and gate nothing.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.decide import AT, BOOK, CAMPAIGNS, NOTHING, TEAMS, policy_data
from tests.laws.policy_strategies import text_of

from planner.request import parse_request
from policies.budgets import Allowance, Usage
from policies.columns import decide_columns
from policies.decision import Verdict
from policies.engine import Policy
from policies.loading import parse_policy

SAMPLE = 3000
Columns = dict[str, list[Any]]

BUDGETS: dict[str, list[dict[str, Any]]] = {
    "no budget": [],
    "one budget": [{"name": "month", "limit": 10**9, "per": "month", "for_each": ["team"]}],
    "five budgets": [
        {"name": f"b{place}", "limit": 10**9, "per": per, "for_each": ["team"]}
        for place, per in enumerate(["month", "day", "week", "year", "quarter"])
    ],
    "one that warns": [
        {"name": "month", "limit": 10**9, "per": "month", "for_each": ["team"], "warn_at": ["0%"]}
    ],
    "one that runs out": [{"name": "month", "limit": 100_000, "per": "month", "for_each": ["team"]}],
    "one that goes down": [
        {
            "name": "month",
            "limit": 100_000,
            "per": "month",
            "for_each": ["team"],
            "when_exhausted": {"downgrade": {"give_up_in_order": ["num_images", "generation_mode"]}},
        }
    ],
}


def columns(rows: int) -> tuple[Columns, Columns]:
    """Rows of a few thousand kinds: every campaign has its team and makes pictures of a few sorts."""
    rng = Random(7)
    sorts = list(product([None, "1k", "2k", "4k"], [None, "fast", "quality"], [None, 1, 4], [False, True]))
    kinds = [
        (*sort, rng.choice(TEAMS), stage, campaign)
        for campaign in CAMPAIGNS
        for stage in ("draft", "production")
        for sort in rng.sample(sorts, 40)
    ]
    names = ("resolution", "generation_mode", "num_images", "face_reference", "team", "stage", "campaign")
    found = dict(zip(names, map(list, zip(*rng.choices(kinds, k=rows), strict=True)), strict=True))
    labels = {name: found.pop(name) for name in ("team", "stage", "campaign")}
    return {**found, "seed": [rng.randrange(2**32) for _ in range(rows)]}, labels


def check(policy: Policy, fields: Columns, labels: Columns) -> None:
    """The first rows are decided like single requests one after another."""
    held: dict[Allowance, int] = {}

    def usage(allowance: Allowance) -> Usage:
        return NOTHING._replace(held=held.get(allowance, 0))

    few, few_labels = ({name: column[:SAMPLE] for name, column in them.items()} for them in (fields, labels))
    found = decide_columns(policy, few, few_labels, book=BOOK, at=AT, usage=lambda allowance: NOTHING)
    for row in range(len(few["resolution"])):
        inputs = {name: column[row] for name, column in few.items()}
        inputs["face_reference"] = "https://example.com/face.png" if inputs["face_reference"] else None
        own = {name: column[row] for name, column in few_labels.items()}
        one = policy.decide(parse_request({"prompt": "x", **inputs}), own, book=BOOK, at=AT, usage=usage)
        if one.verdict is Verdict.ALLOW:
            held |= {a: held.get(a, 0) + a.amount(one.credits, policy.rate_microusd) for a in one.allowances}
        ruling = found.ruling(row)
        if (one.verdict, one.credits, one.changes) != (ruling.verdict, ruling.quote.credits, ruling.changes):
            raise SystemExit(f"row {row} is decided in another way than alone")


def main(rows: int) -> None:
    fields, labels = columns(rows)
    for name, budgets in BUDGETS.items():
        policy = parse_policy(text_of({**policy_data(100), "budgets": budgets}), "bench.yaml")
        check(policy, fields, labels)
        started = process_time()
        found = decide_columns(policy, fields, labels, book=BOOK, at=AT, usage=lambda allowance: NOTHING)
        seconds = process_time() - started
        jobs = ", ".join(f"{verdict} {number:,}" for verdict, number in found.jobs().items())
        print(f"{name:18}: {rows / seconds:10,.0f} rows/s, {seconds:.2f} s; {jobs}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
