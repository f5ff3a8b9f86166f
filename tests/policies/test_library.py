"""The shipped policies: each has a reason and a suite that passes and reaches every rule."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from planner.errors import InputError
from planner.loading import shipped_prices
from policies.budgets import Usage
from policies.decision import Decision, Outcome
from policies.loading import load_policy, shipped_policies, shipped_suite
from policies.suite import run_suite

LOOKBOOK = Path(__file__).parents[1] / "data" / "lookbook.csv"
FIELDS = ("prompt", "resolution", "generation_mode", "aspect_ratio", "face_reference", "output_format")


def shoot(name: str) -> list[Decision]:
    """Every look of the example look-book, each after the holds of the ones before it."""
    policy, held, found = load_policy(name), Counter[str](), []
    with LOOKBOOK.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            inputs: dict[str, Any] = {field: row[field] for field in FIELDS if row[field]}
            inputs |= {field: int(row[field]) for field in ("num_images", "seed") if row[field]}
            decision = policy.decide(
                inputs,
                {label: row[label] for label in ("team", "stage", "campaign")},
                book=shipped_prices(),
                at=datetime(2026, 11, 20, 10, tzinfo=UTC),
                usage=lambda allowance: Usage(held=held[allowance.key]),
            )
            if decision.verdict.value == "allow":
                for allowance in decision.allowances:
                    held[allowance.key] += allowance.amount(decision.credits, policy.rate_microusd)
            found.append(decision)
    return found


def test_the_library_holds_what_it_says() -> None:
    """Three policies, each in a folder of its own."""
    assert shipped_policies() == ("cheap-drafts", "starter", "strict-finance")


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_passes_its_suite_with_every_rule_reached(name: str) -> None:
    """A policy without a passing, complete suite is not shipped."""
    policy = load_policy(name)
    found = run_suite(policy, shipped_suite(name), shipped_prices())
    assert [(case.name, case.problems) for case in found.cases if not case.passed] == []
    assert found.unreached == ()
    fired = {
        item.rule
        for case in found.cases
        for item in case.decision.findings
        if item.outcome is Outcome.BUDGET_FULL
    }
    assert {item.budget.name for item in policy.budgets} <= fired


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_says_what_it_is_for_and_is_named_like_its_folder(name: str) -> None:
    """The first line is a sentence for the reader; the rewrites are known to come to rest."""
    policy = load_policy(name)
    text = (files("policies") / "library" / name / "policy.yaml").read_text("utf-8")
    assert text.startswith("# ")
    assert (policy.name, policy.text) == (name, text)
    assert policy.settled


def test_the_starter_lets_the_whole_look_book_go() -> None:
    """240 looks are allowed, some of them smaller, and what buys nothing is saved."""
    found = shoot("starter")
    assert Counter(decision.verdict.value for decision in found) == {"allow": 240}
    assert sum(decision.rewritten for decision in found) == 19
    assert sum(decision.asked_quote.credits - decision.credits for decision in found) == 35


def test_cheap_drafts_only_rewrites() -> None:
    """Nothing waits and nothing is refused; drafts cost a fraction and production stays as it is."""
    found = shoot("cheap-drafts")
    assert {decision.verdict.value for decision in found} == {"allow"}
    assert sum(decision.asked_quote.credits for decision in found) == 1124
    assert sum(decision.credits for decision in found) == 847
    for decision in found:
        if decision.labels["stage"] == "production":
            assert {change.rule for change in decision.changes} <= {"face-is-capped-at-2k"}


def test_strict_finance_stops_dear_drafts_and_asks_for_large_looks() -> None:
    """In the example look-book most of the work goes, and the rest has a reason."""
    found = Counter(decision.verdict.value for decision in shoot("strict-finance"))
    assert found == {"allow": 220, "deny": 15, "needs_approval": 5}


def test_an_unknown_policy_is_answered_with_the_ones_there_are(tmp_path: Path) -> None:
    """A name that is neither a file nor shipped gets a suggestion."""
    with pytest.raises(
        InputError, match=r"there is no policy `startr` \(name a file or a shipped one: `starter`\)"
    ):
        load_policy("startr")
    with pytest.raises(InputError, match="cheap-drafts, starter, strict-finance"):
        load_policy(tmp_path / "mine.yaml")


def test_a_policy_file_is_read_from_its_path(tmp_path: Path) -> None:
    """A file beside the shipped ones is as good; its findings name the file without its folder."""
    path = tmp_path / "mine.yaml"
    path.write_text("policy: 1\nname: mine\notherwise: deny\n", "utf-8")
    policy = load_policy(path)
    assert (policy.name, policy.otherwise and policy.otherwise.where) == ("mine", "mine.yaml:3")
    assert load_policy(str(path)).digest == policy.digest
