"""Policies whose whole space is small enough to be visited one by one, and that visit.

Every request that can be told apart by them, with every label, at every instant and with every amount
spent; each decided by the engine, and whether a guarantee is broken said by the tree walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from planner.loading import shipped_prices
from policies.budgets import Usage
from policies.decision import Decision
from policies.engine import Policy
from tests.laws.naive import Answer, Oracle
from tests.laws.strategies import FACE

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ZONE = "Europe/Berlin"
POSE = "https://example.com/pose.png"
RATE = 75_000
PLAIN = [
    {"prompt": "x", **{name: value for name, value in zip(names, values, strict=True) if value is not None}}
    for names in [("resolution", "generation_mode", "num_images", "face_reference")]
    for values in product((None, "1k", "2k", "4k"), (None, "fast", "balanced", "quality"),
                          (None, 1, 2, 3, 4), (None, FACE))
]  # fmt: skip
TEAMS = [{}, {"team": "a"}, {"team": "b"}, {"team": "nobody"}]
POSES = [
    {name: value for name, value in (("image_reference", pose), ("aspect_ratio", ratio)) if value}
    for pose in (None, POSE)
    for ratio in (None, "1:1", "16:9", "4:5")
]
INSTANTS = [
    datetime(2026, 11, 22 + day, hour, minute, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
    for day, hour, minute in ((1, 5, 59), (1, 6, 0), (5, 21, 59), (5, 22, 0), (6, 5, 59), (6, 6, 0))
]

ASKED: dict[str, list[Any]] = {
    "resolution": ["4k", {"above": "1k"}, "present", {"not": ["1k", "4k"]}],
    "generation_mode": ["quality", {"at_most": "balanced"}, "absent"],
    "num_images": [{"at_least": 2}, 4, {"not": "present"}],
    "face_reference": ["present", "absent"],
    "credits": [{"above": 4}, {"at_most": 8}, {"at_least": 12, "below": 20}],
    "usd": [{"above": 1}],
}
BY_KIND: dict[str, dict[str, list[Any]]] = {
    "labels": {"team": ["a", ["a", "b"], "absent", {"not": "a"}]},
    "poses": {
        "aspect_ratio": ["1:1", {"not": ["1:1", "16:9"]}, "absent"],
        "image_reference": ["present", "absent"],
    },
    "clock": {
        "time": [{"from": "22:00", "to": "06:00"}],
        "weekday": [["saturday", "sunday"], {"not": "friday"}],
    },
}
USED = [{"at_least": "50%"}, {"below": "100%"}, "0%", {"above": "100%"}]
REWRITES: dict[str, list[Any]] = {
    "resolution": ["1k", "2k", "absent"],
    "generation_mode": ["fast", "absent"],
    "num_images": [1, 2, "absent"],
    "face_reference": ["absent"],
}


@st.composite
def conditions(draw: st.DrawFn, kind: str, used: bool, depth: int = 1) -> dict[str, Any]:
    """One or two tests, sometimes a choice between two conditions or the opposite of one."""
    known = {**ASKED, **BY_KIND[kind], **BY_KIND[kind]}
    if depth and not draw(st.integers(0, 3)):
        inner = conditions(kind, used, depth - 1)
        return draw(st.sampled_from([{"any": [draw(inner), draw(inner)]}, {"not": draw(inner)}]))
    names = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2, unique=True))
    found = {name: draw(st.sampled_from(known[name])) for name in names}
    if used and draw(st.booleans()):
        found["used"] = {"month": draw(st.sampled_from(USED))}
    return found


@st.composite
def rules(draw: st.DrawFn, number: int, kind: str, used: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": f"rule-{number}", "when": draw(conditions(kind, used))}
    match draw(st.sampled_from(["rewrite", "rewrite", "downgrade", "deny", "needs_approval", "allow"])):
        case "rewrite":
            values = {**REWRITES, **({"aspect_ratio": ["1:1", "4:5", "absent"]} if kind == "poses" else {})}
            names = draw(st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=2, unique=True))
            rule["rewrite"] = {name: draw(st.sampled_from(values[name])) for name in names}
            rule["may_cost_more"] = draw(st.booleans())
        case "downgrade":
            rule["downgrade"] = {
                "at_most": draw(st.sampled_from([2, 4, "0.75 USD"])),
                "give_up_in_order": draw(st.permutations(["num_images", "generation_mode", "resolution"])),
                "floor": draw(st.sampled_from([{}, {"resolution": "2k"}, {"num_images": 2}])),
            }
        case action:
            rule[action] = "somebody"
    if not draw(st.integers(0, 5)):
        rule["shadow"] = True
    return rule


@st.composite
def budgets(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    budget: dict[str, Any] = {"name": "month", "per": "month"}
    budget["limit"] = draw(st.sampled_from([0, 2, "5 credits", "0.15 USD"]))
    if kind == "labels" and draw(st.booleans()):
        budget |= {
            "for_each": ["team"],
            "limit": {"a": 6, "b": 0, "otherwise": draw(st.sampled_from([0, 3]))},
        }
    if draw(st.booleans()):
        budget["applies_to"] = draw(conditions(kind, False))
    down = {"give_up_in_order": draw(st.permutations(["num_images", "resolution"]))}
    budget["when_exhausted"] = draw(
        st.sampled_from(["deny", {"needs_approval": "finance"}, {"downgrade": down}])
    )
    return budget


@st.composite
def small_policies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """What besides prices it speaks of, and the policy as raw values with one or two guarantees."""
    kind = draw(st.sampled_from(sorted(BY_KIND)))
    funded = draw(st.booleans())
    promises = []
    for number in range(draw(st.integers(1, 2))):
        verdict = draw(st.sampled_from([[], ["allow"], ["allow"], ["needs_approval"], ["deny"]]))
        never = draw(conditions(kind, funded)) | ({"verdict": verdict} if verdict else {})
        promises.append({"name": f"promise-{number}", "never": never})
    return kind, {
        "policy": 1,
        "name": "small",
        "timezone": ZONE,
        "otherwise": draw(st.sampled_from(["allow", "allow", "deny", {"needs_approval": "finance"}])),
        "credit_price": "on-demand",
        "labels": {"team": draw(st.sampled_from(["any", ["a", "b"]])) if kind == "labels" else "any"},
        "budgets": [draw(budgets(kind))] if funded else [],
        "rules": [draw(rules(number, kind, funded)) for number in range(draw(st.integers(0, 3)))],
        "guarantees": promises,
    }


@dataclass(frozen=True)
class Cell:
    """One request, its labels, an instant and what is spent, with what is decided then."""

    inputs: dict[str, Any]
    labels: dict[str, str]
    at: datetime
    spent: int
    decision: Decision

    @property
    def size(self) -> tuple[int, int, int]:
        return len(self.inputs), len(self.labels), self.spent > 0


def amounts(data: dict[str, Any], labels: dict[str, str]) -> list[int]:
    """Everything that may be spent of the budget, one more than its limit included."""
    if not data["budgets"]:
        return [0]
    limit = data["budgets"][0]["limit"]
    if isinstance(limit, dict):
        limit = limit.get(labels.get("team", ""), limit["otherwise"])
    if isinstance(limit, str) and limit.endswith("USD"):
        credits = range(int(float(limit.split()[0]) * 1_000_000) // RATE + 1)
        return [RATE * spent + more for spent in credits for more in (0, 1)]
    return list(range(int(str(limit).split()[0]) + 2))


def spending(amount: int) -> Any:
    return lambda allowance: Usage(settled=amount)


def cells(kind: str, data: dict[str, Any], policy: Policy) -> Iterator[Cell]:
    """Every cell of a small policy, decided one by one."""
    book = shipped_prices()
    labels = TEAMS if kind == "labels" else TEAMS[:1]
    instants = INSTANTS if kind == "clock" else [NOW]
    for more, given, at in product(POSES if kind == "poses" else [{}], labels, instants):
        for spent in amounts(data, given):
            for plain in PLAIN:
                inputs = {**plain, **more}
                decision = policy.judge(inputs, given, book=book, at=at, usage=spending(spent))
                yield Cell(inputs, given, at, spent, decision)


def breaks(data: dict[str, Any], never: dict[str, Any], cell: Cell) -> bool:
    """Whether a decision is what a guarantee says that none is, as the tree walk reads it."""
    entry = shipped_prices().entry_at(cell.at)
    walk = Oracle(data, entry, cell.at, spending(cell.spent), cell.labels, RATE)
    decision = cell.decision
    answer = Answer(decision.verdict.value, decision.request.inputs(), decision.credits, [], [], [], [])
    return walk.breaks(never, answer) is True
