"""Suites: what passes, what fails and why, and coverage."""

# ruff: noqa: E501 -- a row of a table of messages is read in one line

from __future__ import annotations

import pytest

from planner.documents import read_yaml
from planner.errors import ConfigError
from planner.loading import shipped_prices
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


def run(cases: str, policy: str = POLICY) -> SuiteResult:
    document = read_yaml(f"suite: 1\n{cases}", "suite.yaml")
    return run_suite(parse_policy(policy, "p.yaml"), document, shipped_prices())


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
        ("spent: {month: 100, month/social: 0}, labels: {team: social}, expect: {verdict: allow}", []),
        ("spent: {usd: 9.95 USD}, expect: {verdict: deny, rules: usd}", []),
        ("labels: {team: nobody}, expect: {verdict: deny, rules: label team}", []),
        ("request: {resolution: 4k}, allow_rewrite: false, expect: {verdict: deny, changes: {}}", []),
        ("expect: {verdict: deny}", ["expected deny, got allow (no rule)"]),
        ("expect: {verdict: allow, credits: 2}", ["expected 2 credits, got 1"]),
        ("request: {resolution: 2k}, expect: {verdict: allow, credits: 1}", ["expected 1 credit, got 4"]),
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


def test_coverage_counts_rules_and_tells_which_budgets_no_case_fills() -> None:
    """One of two rules is reached; a budget that is never full is told, and is no failure by itself."""
    found = run("cases: [{name: a, request: {resolution: 4k}, expect: {verdict: allow}}]")
    assert (found.reached, found.rules, found.unfilled) == (1, 2, ("month", "usd"))
    full = (
        "{name: b, request: {resolution: 2k, num_images: 4}, spent: {usd: 10 USD}, expect: {verdict: deny}}"
    )
    more = run(f"cases: [{{name: a, request: {{resolution: 4k}}, expect: {{verdict: allow}}}}, {full}]")
    assert (more.reached, more.unfilled, more.passed) == (2, ("month",), True)


def test_a_rule_in_shadow_is_reached_where_it_would_have_spoken() -> None:
    """A rule that only tells what it would do can be covered, and named by a case, like any other."""
    policy = POLICY.replace("    needs_approval: finance", "    needs_approval: finance\n    shadow: true")
    case = "name: b, request: {resolution: 2k, num_images: 4}, expect: {verdict: allow, rules: large}"
    found = run(
        f"cases: [{{{case}}}, {{name: c, request: {{resolution: 4k}}, expect: {{verdict: allow}}}}]", policy
    )
    assert (found.reached, found.passed) == (2, True)


DOWN = """
policy: 1
name: p
otherwise: allow
budgets:
  - name: month
    limit: 100
    per: month
    when_exhausted: {downgrade: {give_up_in_order: [num_images, generation_mode]}}
rules:
  - name: drafts
    when: {credits: {above: 8}}
    downgrade: {at_most: 8 credits, give_up_in_order: [num_images]}
"""


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("request: {resolution: 2k, num_images: 4}, expect: {verdict: allow, credits: 8, rules: drafts, changes: {num_images: 2, generation_mode: quality}}", []),
        ("request: {resolution: 2k, num_images: 4}, spent: {month: 97}, expect: {verdict: allow, credits: 3, rules: [drafts, month], changes: {num_images: 1, generation_mode: balanced}}", []),
        ("request: {resolution: 2k}, spent: {month: 99}, expect: {verdict: deny, changes: {}}", []),
        ("request: {resolution: 1k}, spent: {month: 99}, expect: {verdict: allow, changes: {num_images: 1}}", ["expected the changes {num_images: 1}, got {}"]),
    ],
)  # fmt: skip
def test_a_case_expects_the_net_changes_of_all_that_went_down(case: str, expected: list[str]) -> None:
    """What a rule and then a full budget give up stands as one change from what was asked."""
    found = run(f"cases:\n  - {{name: a case, {case}}}", DOWN)
    assert list(found.cases[0].problems) == expected


def test_what_is_changed_there_and_back_is_no_change() -> None:
    """A format that one rule sets and the next one sets back is not among the net changes."""
    there = """
  - name: there
    when: {resolution: 4k, output_format: png}
    rewrite: {output_format: jpeg}
  - name: back
    when: {resolution: 4k, output_format: jpeg}
    rewrite: {resolution: 2k, output_format: png}
  - name: down
    when: {resolution: 2k, output_format: png}
    rewrite: {resolution: 1k}
"""
    policy = "policy: 1\nname: p\notherwise: allow\nrules:" + there
    request = "request: {resolution: 4k, output_format: png}"
    found = run(
        f"cases: [{{name: a, {request}, expect: {{verdict: allow, changes: {{resolution: 1k}}}}}}]", policy
    )
    assert found.cases[0].problems == ()
    assert found.passed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cases: []", "suite.yaml:2: a suite without cases shows nothing (write one such as `- {name: 4k is denied, request: {resolution: 4k}, expect: {verdict: deny}}`)"),
        ("cases: [{name: a, expect: {verdict: deny}}, {name: a, expect: {verdict: allow}}]", "suite.yaml:2: `a` is the name of two cases (the first stands at suite.yaml:2; give each case its own name)"),
        ("cases: [{expect: {verdict: allow}}]", "suite.yaml:2: `name` is missing"),
        ("cases: [{name: a}]", "suite.yaml:2: `expect` is missing"),
        ("cases: [{name: a, expect: {}}]", "suite.yaml:2: `verdict` is missing (use allow, needs_approval or deny)"),
        ("cases: [{name: a, expect: {verdict: yes}}]", "suite.yaml:2: `yes` is not a value of `verdict` (use allow, needs_approval or deny)"),
        ("cases: [{name: a, at: noon, expect: {verdict: deny}}]", "suite.yaml:2: `noon` is not an instant (write it as 2026-11-22 or 2026-11-22T09:30:00+01:00)"),
        ("cases: [{name: a, spent: {mnth: 5}, expect: {verdict: deny}}]", "suite.yaml:2: `mnth` is not a budget of the policy (did you mean `month`?)"),
        ("cases: [{name: a, spent: {month: lots}, expect: {verdict: deny}}]", "suite.yaml:2: `lots` is not an amount (use a number of credits, or `37.50 USD`)"),
        ("cases: [{name: a, spent: {month/socail: 5}, expect: {verdict: deny}}]", "suite.yaml:2: `socail` is not a scope of `month` (did you mean `social`?)"),
        ("cases: [{name: a, spent: {month/nobody: 5}, expect: {verdict: deny}}]", "suite.yaml:2: `nobody` is not a scope of `month` (known: social, brand, absent)"),
        ("cases: [{name: a, spent: {usd/social: 5 USD}, expect: {verdict: deny}}]", "suite.yaml:2: `social` is not a scope of `usd` (it is one for all: write `usd`)"),
        ("cases: [{name: a, spent: {usd: 5}, expect: {verdict: deny}}]", "suite.yaml:2: `usd` counts USD (write such as `37.50 USD`)"),
        ("cases: [{name: a, spent: {month: 5 USD}, expect: {verdict: deny}}]", "suite.yaml:2: `month` counts credits (write such as `4990`)"),
        ("cases: [{name: a, spent: 5, expect: {verdict: deny}}]", "suite.yaml:2: `5` is not what was spent (such as `{team-month/social: 4990}`)"),
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


def test_faults_of_shape_and_of_names_come_together() -> None:
    """What can be read of a faulty case is checked too, and so are the cases around it."""
    text = """cases:
  - {name: a, labels: {tema: x}, expect: {verdict: alow, rules: [lrge]}}
  - {name: b, spent: {mnth: 4}, expct: {verdict: deny}}
  - {name: c, spent: {month: lots}, request: {resolution: 8k}, expect: {verdict: deny}}
  - 4
  - {name: a, labels: {taem: x}, expect: {verdict: deny}}"""
    with pytest.raises(ConfigError) as raised:
        run(text)
    assert [(fault.where[11:], fault.message) for fault in raised.value.faults] == [
        ("3", "`alow` is not a value of `verdict`"),
        ("3", "`tema` is not a label of the policy"),
        ("3", "`lrge` is not a rule of the policy"),
        ("4", "`expect` is missing"),
        ("4", "`expct` is not known here"),
        ("4", "`mnth` is not a budget of the policy"),
        ("5", "`lots` is not an amount"),
        ("5", "`8k` is not a resolution"),
        ("6", "`4` is not a mapping"),
        ("7", "`a` is the name of two cases"),
        ("7", "`taem` is not a label of the policy"),
    ]
