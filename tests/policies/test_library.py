"""The shelf of shipped policies: each has a reason, a complete suite, and guarantees that are proven."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from planner.documents import read_yaml
from planner.errors import InputError
from planner.loading import shipped_prices
from policies.analysis.lint import lint
from policies.analysis.proof import prove
from policies.budgets import Usage
from policies.decision import Decision
from policies.loading import load_policy, parse_policy, shipped_policies, shipped_suite
from policies.suite import run_suite
from tests.laws.policy_strategies import text_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)
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
                at=datetime(2026, 11, 20, 10, tzinfo=UTC),  # a Friday, before noon
                usage=lambda allowance: Usage(held=held[allowance.key]),
            )
            if decision.verdict.value == "allow":
                for allowance in decision.allowances:
                    held[allowance.key] += allowance.amount(decision.credits, policy.rate_microusd)
            found.append(decision)
    return found


def text_on_the_shelf(name: str) -> str:
    return (files("policies") / "library" / name / "policy.yaml").read_text("utf-8")


def test_the_library_holds_what_it_says() -> None:
    """Five policies, each in a folder of its own."""
    names = ("cheap-drafts", "ci-guardrail", "client-billing", "starter", "strict-finance")
    assert shipped_policies() == names


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_passes_its_suite_with_every_rule_and_budget_reached(name: str) -> None:
    """A policy without a passing, complete suite is not shipped; every budget is full in some case."""
    policy = load_policy(name)
    found = run_suite(policy, shipped_suite(name), shipped_prices())
    assert [(case.name, case.problems) for case in found.cases if not case.passed] == []
    assert (found.unreached, found.unfilled) == ((), ())
    assert len({case.name for case in found.cases}) == len(found.cases)


@pytest.mark.parametrize("name", shipped_policies())
def test_there_is_nothing_to_remark_on_in_a_shipped_policy(name: str) -> None:
    """No rule without effect and no request without a budget, for whoever copies it."""
    assert lint(load_policy(name), shipped_prices(), NOW) == []


@pytest.mark.parametrize("name", shipped_policies())
def test_every_guarantee_of_a_shipped_policy_is_proven(name: str) -> None:
    """What it promises, at least one thing of its own, holds for every request there can be."""
    policy = load_policy(name)
    proof = prove(policy, shipped_prices(), NOW)
    assert [result for result in proof.results if not result.proved] == []
    promised = {guarantee.name for guarantee in policy.guarantees}
    assert promised
    assert promised <= {result.name for result in proof.results}


@pytest.mark.parametrize("name", shipped_policies())
def test_a_guarantee_of_a_shipped_policy_is_owed_to_its_rules(name: str) -> None:
    """Without the rules each one is broken by one answer or another: none is true of itself."""
    kept = {guarantee.name for guarantee in load_policy(name).guarantees}
    data = read_yaml(text_on_the_shelf(name)).data
    for otherwise in ("allow", "deny", {"needs_approval": "somebody"}):
        if kept:
            bare = parse_policy(text_of({**data, "otherwise": otherwise, "rules": []}), "bare.yaml")
            kept -= {
                result.name for result in prove(bare, shipped_prices(), NOW).results if not result.proved
            }
    assert kept == set()


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_says_what_it_is_for_and_is_named_like_its_folder(name: str) -> None:
    """It opens with a sentence for the reader, stands alone, and its rewrites are known to come to rest."""
    policy, text = load_policy(name), text_on_the_shelf(name)
    assert text.startswith("# ")
    assert "extends:" not in text
    assert (policy.name, policy.text) == (name, text)
    assert policy.settled


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_can_be_read_in_a_minute(name: str) -> None:
    """At most 80 lines, none of them wider than a screen."""
    lines = text_on_the_shelf(name).splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 110


def test_the_starter_lets_the_whole_look_book_go() -> None:
    """240 looks are allowed, some of them smaller, and what buys nothing is saved."""
    found = shoot("starter")
    assert Counter(decision.verdict.value for decision in found) == {"allow": 240}
    assert sum(decision.rewritten for decision in found) == 19
    assert sum(decision.asked_quote.credits - decision.credits for decision in found) == 35


def test_cheap_drafts_lets_everything_go_smaller() -> None:
    """Nothing waits and nothing is refused; drafts cost a fraction and production stays as it is."""
    found = shoot("cheap-drafts")
    assert {decision.verdict.value for decision in found} == {"allow"}
    assert sum(decision.asked_quote.credits for decision in found) == 1124
    assert sum(decision.credits for decision in found) == 847
    for decision in found:
        if decision.labels["stage"] == "production":
            assert {change.rule for change in decision.changes} <= {"face-is-capped-at-2k"}


def test_strict_finance_makes_dear_drafts_smaller_and_asks_for_large_looks() -> None:
    """In the example look-book no look is refused, and no draft costs more than 60 cents."""
    found = shoot("strict-finance")
    assert Counter(decision.verdict.value for decision in found) == {"allow": 235, "needs_approval": 5}
    drafts = [decision for decision in found if decision.labels["stage"] == "draft"]
    assert max(decision.asked_quote.credits for decision in drafts) == 20
    assert max(decision.credits for decision in drafts) == 8


def test_an_unknown_policy_is_answered_with_the_ones_there_are(tmp_path: Path) -> None:
    """A name that is neither a file nor shipped gets a suggestion."""
    with pytest.raises(
        InputError, match=r"there is no policy `startr` \(name a file or a shipped one: `starter`\)"
    ):
        load_policy("startr")
    with pytest.raises(
        InputError, match="cheap-drafts, ci-guardrail, client-billing, starter, strict-finance"
    ):
        load_policy(tmp_path / "mine.yaml")


def test_a_policy_file_is_read_from_its_path(tmp_path: Path) -> None:
    """A file beside the shipped ones is as good; its findings name the file without its folder."""
    path = tmp_path / "mine.yaml"
    path.write_text("policy: 1\nname: mine\notherwise: deny\n", "utf-8")
    policy = load_policy(path)
    assert (policy.name, policy.otherwise and policy.otherwise.where) == ("mine", "mine.yaml:3")
    assert load_policy(str(path)).digest == policy.digest
