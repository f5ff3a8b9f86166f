"""`planner policy lint`: remarks with their line, and errors for what cannot be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policies.cli.test_policy_prove import PRICES

CLEAN = """policy: 1
name: clean
otherwise: allow
labels: {team: [a, b]}
budgets:
  - {name: all, limit: 1000, per: day}
rules:
  - {name: large, when: {credits: {above: 20}}, needs_approval: finance}
"""
ODD = (
    CLEAN.replace("name: clean", "name: odd")
    + """  - {name: also, when: {credits: {above: 24}}, needs_approval: finance}
  - {name: never, when: {credits: {above: 32}}, deny: no}
"""
)
UNSTABLE = (
    CLEAN
    + """  - {name: less, when: {num_images: 3}, rewrite: {num_images: 2}}
  - {name: more, when: {num_images: 2}, rewrite: {num_images: 3}, may_cost_more: true}
"""
)


@pytest.fixture
def written(folder: Path) -> Path:
    (folder / "clean.yaml").write_text(CLEAN)
    (folder / "odd.yaml").write_text(ODD)
    return folder


def test_nothing_to_remark_on_exits_0(planner, written):
    """It is said, and the document has an empty list."""
    found = planner("policy", "lint", "clean.yaml")
    assert found.code == 0
    assert found.out.splitlines()[-1] == "nothing to remark on"
    document = planner("policy", "lint", "clean.yaml", "--json").document
    assert (document["schema"], document["remarks"]) == ("planner.policy-lint/1", [])
    assert document["policy"]["name"] == "clean"


def test_remarks_exit_1_each_with_its_line_and_a_hint(planner, written):
    """In the order of the file; the document has code, place, message and hint of each."""
    found = planner("policy", "lint", "odd.yaml")
    assert found.code == 1
    assert found.out.splitlines()[1:] == [
        "remark odd.yaml:9: `also` repeats `large`, which fires wherever it does (keep one of the two)",
        "remark odd.yaml:10: `never` never fires: no request satisfies its condition (mend the condition)",
        "2 remarks",
    ]
    found = planner("policy", "lint", "odd.yaml", "--json")
    assert found.code == 1
    assert [(one["code"], one["where"], one["hint"]) for one in found.document["remarks"]] == [
        ("rule_repeated", "odd.yaml:9", "keep one of the two"),
        ("never_fires", "odd.yaml:10", "mend the condition"),
    ]


def test_an_unstable_policy_is_an_error_that_names_both_rules_and_a_request(planner, written):
    """Exit 2, as with any other fault of a file."""
    (written / "unstable.yaml").write_text(UNSTABLE)
    found = planner("policy", "lint", "unstable.yaml", "--json")
    assert (found.code, found.codes) == (2, ["policy"])
    (error,) = found.document["errors"]
    assert error["message"] == "`less` changes again what `more` leaves, for `num_images: 2`"
    assert error["where"] == "unstable.yaml:9"
    assert "swap the rules" in error["hint"]
    assert planner("policy", "lint", "unstable.yaml").code == 2


def test_labels_that_are_not_declared_are_errors_with_a_suggestion(planner, written):
    """A condition on a label that nobody declared, and a budget kept apart by one."""
    wrong = CLEAN.replace("when: {credits: {above: 20}}", "when: {tema: a}")
    (written / "wrong.yaml").write_text(wrong.replace("per: day}", "per: day, for_each: [shoot]}"))
    found = planner("policy", "lint", "wrong.yaml", "--json")
    assert found.code == 2
    assert [(one["where"], one["message"]) for one in found.document["errors"]] == [
        ("wrong.yaml:6", "`shoot` is not a declared label"),
        ("wrong.yaml:8", "`tema` is neither a request field nor a declared label"),
    ]
    assert "did you mean `team`?" in found.document["errors"][1]["hint"]


def test_prices_of_ones_own_are_examined(planner, written):
    """Fast is cheap in the shipped prices; what turns it around is an error before any remark."""
    (written / "fast.yaml").write_text(CLEAN + "  - {name: fast, rewrite: {generation_mode: fast}}\n")
    (written / "later.yaml").write_text(PRICES.replace("fast:     {1k: 20", "fast:     {1k: 70").replace(
        "omitted_mode: {1k: fast", "omitted_mode: {1k: balanced"))  # fmt: skip
    assert planner("policy", "lint", "fast.yaml").code == 0
    found = planner("policy", "lint", "fast.yaml", "--prices", "later.yaml", "--json")
    assert (found.code, found.codes) == (2, ["policy"])
    assert "`fast` would raise the price from 40 to 70 credits" in found.document["errors"][0]["message"]


@pytest.mark.parametrize(("most", "code"), [(160, 0), (159, 1)])
def test_past_max_cells_it_says_that_nothing_was_looked_for(planner, written, most: int, code: int):
    """That is a remark, not a silence."""
    (written / "few.yaml").write_text(CLEAN.replace("labels: {team: [a, b]}\n", ""))
    found = planner("policy", "lint", "few.yaml", "--max-cells", most, "--json")
    assert found.code == code
    assert [one["code"] for one in found.document["remarks"]] == ["not_decided"] * code
    assert all(one["where"] == "few.yaml:1" for one in found.document["remarks"])
