"""Suites: what passes, what fails and why, and coverage."""

# ruff: noqa: E501 -- a row of a table of messages is read in one line

from __future__ import annotations

import pytest

from planner.errors import ConfigError
from planner.loading import read_yaml, shipped_prices
from policies.loading import parse_policy
from policies.suite import SuiteResult, run_suite

POLICY = """
policy: 1
name: p
otherwise: allow
credit_price: on-demand
labels: {team: [social, brand]}
budgets:
  - {name: month, limit: 100, per: month, for_each: [team]}
  - {name: usd, limit: 10 USD, per: total}
rules:
  - name: smaller
    when: {resolution: 4k}
    rewrite: {resolution: 2k}
  - name: large
    when: {credits: {above: 8}}
    needs_approval: finance
"""


def run(cases: str) -> SuiteResult:
    return run_suite(
        parse_policy(POLICY, "p.yaml"), read_yaml(f"suite: 1\n{cases}", "suite.yaml"), shipped_prices()
    )


def problems(case: str) -> list[str]:
    """What is wrong with one case."""
    found = run(f"cases:\n  - {{name: a case, {case}}}")
    assert (found.cases[0].name, found.cases[0].where) == ("a case", "suite.yaml:3")
    return list(found.cases[0].problems)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("expect: {verdict: allow}", []),
        ("request: {resolution: 4k}, expect: {verdict: allow, credits: 4, rules: smaller, changes: {resolution: 2k}}", []),
        ("spent: {month/social: 100}, labels: {team: social}, expect: {verdict: deny, rules: [month]}", []),
        ("spent: {month/social: 100}, labels: {team: brand}, expect: {verdict: allow}", []),
        ("spent: {month/absent: 100}, expect: {verdict: deny}", []),
        ("spent: {month: 100}, labels: {team: brand}, expect: {verdict: deny}", []),
        ("spent: {usd: 9.95 USD}, expect: {verdict: deny, rules: usd}", []),
        ("labels: {team: nobody}, expect: {verdict: deny, rules: label team}", []),
        ("request: {resolution: 4k}, allow_rewrite: false, expect: {verdict: deny, changes: {}}", []),
        ("expect: {verdict: deny}", ["expected deny, got allow (no rule)"]),
        ("expect: {verdict: allow, credits: 2}", ["expected 2 credits, got 1"]),
        ("expect: {verdict: allow, rules: [large]}", ["`large` did not fire"]),
        ("expect: {verdict: allow, changes: {resolution: 2k}}", ["expected the changes {resolution: 2k}, got {}"]),
        (
            "request: {resolution: 2k, num_images: 4}, expect: {verdict: allow, approvers: lead}",
            ["expected allow, got needs_approval (large)", "expected approval by [lead], got [finance]"],
        ),
    ],
)  # fmt: skip
def test_a_case_passes_or_says_what_was_different(case: str, expected: list[str]) -> None:
    """The engine's answer against the case's expectation."""
    assert problems(case) == expected


def test_a_rule_that_no_case_reaches_is_named() -> None:
    """Passing cases are not enough: every rule has to be reached by one."""
    found = run("cases: [{name: a, request: {resolution: 4k}, expect: {verdict: allow}}]")
    assert [str(fault) for fault in found.unreached] == [
        "p.yaml:14: no case reaches `large` (add one to the suite)"
    ]
    assert all(case.passed for case in found.cases)
    assert not found.passed
    more = "{name: b, request: {resolution: 2k, num_images: 3}, expect: {verdict: needs_approval}}"
    assert run(
        f"cases: [{{name: a, request: {{resolution: 4k}}, expect: {{verdict: allow}}}}, {more}]"
    ).passed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cases: []", "suite.yaml:2: `[]` is not what may stand here"),
        ("cases: [{expect: {verdict: allow}}]", "suite.yaml:2: `name` is missing"),
        ("cases: [{name: a}]", "suite.yaml:2: `expect` is missing"),
        ("cases: [{name: a, expect: {}}]", "suite.yaml:2: `verdict` is missing (use allow, needs_approval or deny)"),
        ("cases: [{name: a, expect: {verdict: yes}}]", "suite.yaml:2: `yes` is not a value of `verdict` (use allow, needs_approval or deny)"),
        ("cases: [{name: a, at: noon, expect: {verdict: deny}}]", "suite.yaml:2: `noon` is not an instant (write it as 2026-11-22 or 2026-11-22T09:30:00+01:00)"),
        ("cases: [{name: a, spent: {mnth: 5}, expect: {verdict: deny}}]", "suite.yaml:2: `mnth` is not a budget of the policy (did you mean `month`?)"),
        ("cases: [{name: a, spent: {month: lots}, expect: {verdict: deny}}]", "suite.yaml:2: `lots` is not an amount (use a number of credits, or `37.50 USD`)"),
        ("cases: [{name: a, labels: {tema: x}, expect: {verdict: deny}}]", "suite.yaml:2: `tema` is not a label of the policy (did you mean `team`?)"),
        ("cases: [{name: a, request: {resolution: 8k}, expect: {verdict: deny}}]", "suite.yaml:2: `8k` is not a resolution (use 1k, 2k or 4k)"),
        ("cases: [{name: a, expect: {verdict: deny, rules: [lrge]}}]", "suite.yaml:2: `lrge` is not a rule of the policy (did you mean `large`?)"),
        ("cases: [{name: a, expect: {verdict: deny, credit: 5}}]", "suite.yaml:2: `credit` is not known here (did you mean `credits`?)"),
    ],
)  # fmt: skip
def test_a_wrong_suite_is_named_with_what_would_be_right(text: str, said: str) -> None:
    """A typing error in a suite is a fault, never a case that passes by accident."""
    with pytest.raises(ConfigError) as raised:
        run(text)
    assert [str(fault) for fault in raised.value.faults] == [said]
