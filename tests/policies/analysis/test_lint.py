"""What is odd about a policy: each remark once, with its line and a hint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from planner.errors import ConfigError, NoPrice
from planner.loading import price_book, read_yaml, shipped_prices
from policies.analysis.lint import lint
from policies.loading import load_policy, parse_policy
from tests.policies.analysis.test_proof import LATER, until

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
BOOK = shipped_prices()
HEAD = """policy: 1
name: p
otherwise: allow
labels: {team: [a, b]}
budgets:
  - {name: all, limit: 1000, per: day}
rules:
"""


def said(rules: str, head: str = HEAD, **more: Any) -> list[tuple[str, str]]:
    """Every remark: its code, and the rest as a person reads it."""
    found = lint(parse_policy(head + rules, "p.yaml"), BOOK, NOW, **more)
    return [(fault.code, str(fault)) for fault in found]


@pytest.mark.parametrize(
    ("rules", "remarks"),
    [
        pytest.param(
            """  - {name: large, when: {resolution: 4k}, needs_approval: finance}
  - {name: dear, when: {credits: {above: 20}}, needs_approval: finance}
  - {name: a, when: {team: a, num_images: 4}, deny: no}
""",
            [],
            id="nothing: rules may speak of the same requests",
        ),
        pytest.param(
            "  - {name: never, when: {credits: {above: 32}}, deny: no}\n",
            [("never_fires", "p.yaml:8: `never` never fires: no request satisfies its condition"
              " (mend the condition)")],
            id="a condition that nothing satisfies",
        ),
        pytest.param(
            "  - {name: never, when: {num_images: 1, credits: {above: 8}}, rewrite: {resolution: 1k}}\n",
            [("never_fires", "p.yaml:8: `never` never fires: no request satisfies its condition"
              " (mend the condition)")],
            id="a rewrite whose condition nothing satisfies",
        ),
        pytest.param(
            """  - {name: smaller, when: {resolution: 4k}, rewrite: {resolution: 2k}}
  - {name: late, when: {resolution: 4k}, deny: no}
""",
            [("rule_without_effect", "p.yaml:9: `late` has no effect: the rules before it leave nothing"
              " for it (remove it, or put it further up)")],
            id="a rule whose requests are rewritten away",
        ),
        pytest.param(
            """  - {name: smaller, when: {resolution: 4k}, rewrite: {resolution: 1k}}
  - {name: again, when: {resolution: 4k}, rewrite: {resolution: 1k}}
""",
            [("rule_without_effect", "p.yaml:9: `again` has no effect: the rules before it leave nothing"
              " for it (remove it, or put it further up)")],
            id="the same rewrite a second time",
        ),
        pytest.param(
            "  - {name: same, when: {resolution: 1k}, rewrite: {resolution: 1k}}\n",
            [("rule_without_effect", "p.yaml:8: `same` has no effect: the rules before it leave nothing"
              " for it (remove it, or put it further up)")],
            id="a rewrite that changes nothing",
        ),
        pytest.param(
            """  - {name: wide, when: {resolution: 4k}, deny: no}
  - {name: narrow, when: {resolution: 4k, team: a}, needs_approval: finance}
""",
            [("rule_overruled", "p.yaml:9: `narrow` decides nothing: `wide` denies all of it"
              " (remove it, or narrow `wide`)")],
            id="a question about what is denied at any rate",
        ),
        pytest.param(
            """  - {name: narrow, when: {resolution: 4k}, needs_approval: finance}
  - {name: with-a, when: {resolution: 4k, team: a}, deny: no}
  - {name: without-a, when: {resolution: 4k, team: {not: a}}, deny: no}
""",
            [("rule_overruled", "p.yaml:8: `narrow` decides nothing: `with-a` and `without-a` deny all of it"
              " (remove it, or narrow `with-a` and `without-a`)")],
            id="a question that two rules together leave nothing of",
        ),
        pytest.param(
            """  - {name: large, when: {resolution: 4k}, needs_approval: finance}
  - {name: also, when: {resolution: 4k, num_images: 4}, needs_approval: finance}
""",
            [("rule_repeated", "p.yaml:9: `also` repeats `large`, which fires wherever it does"
              " (keep one of the two)")],
            id="a question that is asked already",
        ),
        pytest.param(
            """  - {name: large, when: {resolution: 4k, num_images: 4}, deny: no}
  - {name: also, when: {resolution: 4k}, deny: no}
""",
            [("rule_repeated", "p.yaml:8: `large` repeats `also`, which fires wherever it does"
              " (keep one of the two)")],
            id="a denial that a wider one below has as well",
        ),
        pytest.param(
            """  - {name: large, when: {resolution: 4k}, deny: no}
  - {name: twin, when: {resolution: {above: 2k}}, deny: no}
""",
            [("rule_repeated", "p.yaml:9: `twin` repeats `large`, which fires wherever it does"
              " (keep one of the two)")],
            id="of two that are alike the later one",
        ),
        pytest.param(
            """  - {name: large, when: {resolution: 4k}, needs_approval: finance}
  - {name: also, when: {resolution: 4k, num_images: 4}, needs_approval: legal}
""",
            [],
            id="nothing: somebody else is asked",
        ),
        pytest.param(
            """  - {name: wide, when: {resolution: 4k}, deny: no, shadow: true}
  - {name: narrow, when: {resolution: 4k, team: a}, needs_approval: finance}
""",
            [],
            id="nothing: a rule in shadow overrules none",
        ),
        pytest.param(
            "  - {name: fine, when: {resolution: 1k}, allow: small}\n",
            [("rule_without_effect", "p.yaml:8: `fine` has no effect: what no rule stops is allowed at any"
              " rate (remove it, or say another `otherwise`)")],
            id="an allowance where everything is allowed",
        ),
    ],
)  # fmt: skip
def test_rules_without_effect_are_told(rules: str, remarks: list[tuple[str, str]]) -> None:
    """Those that never fire, are overruled or repeated; each once, with its line and what would help."""
    assert said(rules) == remarks


def test_an_allowance_that_is_always_denied_is_a_contradiction() -> None:
    """Where the rest is denied an allowance counts, unless another rule always stops what it allows."""
    head = HEAD.replace("otherwise: allow", "otherwise: deny")
    rules = """  - {name: small, when: {resolution: 1k}, allow: small}
  - {name: large, when: {resolution: 4k}, allow: large}
  - {name: no-4k, when: {resolution: 4k}, deny: no}
  - {name: middle, when: {resolution: 2k}, allow: middle}
  - {name: ask, when: {resolution: 2k}, needs_approval: finance}
"""
    assert said(rules, head) == [
        ("rule_overruled", "p.yaml:9: `large` allows what `no-4k` always denies (narrow one of them)"),
        ("rule_overruled", "p.yaml:11: `middle` allows what `ask` always asks about (narrow one of them)"),
    ]


def test_requests_that_no_budget_covers_and_budgets_that_nothing_reaches_are_told() -> None:
    """The dearest request without a budget, in the policy's first line; the budget where it stands."""
    head = """policy: 1
name: p
otherwise: allow
labels: {team: [a, b]}
budgets:
  - {name: small, limit: 10, per: day, applies_to: {num_images: {below: 3}}}
  - {name: large, limit: 10, per: day, applies_to: {resolution: 4k}}
rules:
"""
    rules = "  - {name: no-4k, when: {resolution: 4k}, deny: no}\n"
    assert said(rules, head) == [
        ("no_budget", "p.yaml:1: no budget covers `face_reference: present, resolution: 2k, num_images: 4`,"
         " 28 credits (add a budget without `applies_to` as a stop)"),
        ("budget_unreached", "p.yaml:7: nothing that may go counts in the budget `large`"
         " (look at its `applies_to` and at the rules)"),
    ]  # fmt: skip


def test_what_is_denied_while_it_is_rewritten_needs_no_budget() -> None:
    """Only a plain request is left, because nothing else that costs so little can be made of the others."""
    head = "policy: 1\nname: p\notherwise: allow\nrules:\n"
    rules = "  - {name: tiny, downgrade: {at_most: 1, give_up_in_order: [num_images]}}\n"
    assert said(rules, head) == [
        ("no_budget", "p.yaml:1: no budget covers `a plain request`, 1 credit"
         " (add a budget without `applies_to` as a stop)")
    ]  # fmt: skip


def test_a_policy_without_anything_is_still_named() -> None:
    """Its labels say which file it is."""
    head = "policy: 1\nname: p\notherwise: allow\nlabels: {team: any}\n"
    assert [one.partition(" no ")[0] for _, one in said("", head)] == ["p.yaml:1:"]


def test_past_so_many_cells_nothing_is_said_but_that() -> None:
    """With what is used of budgets each way in which it can be told counts."""
    rules = "  - {name: half, when: {used: {all: {at_least: 50%}}}, deny: half is enough}\n"
    head = HEAD.replace("labels: {team: [a, b]}\n", "")
    assert said(rules, head, most_cells=320) == []
    assert said(rules, head, most_cells=319) == [
        ("not_decided", "p.yaml:1: there are more than 319 cells: what is never reached was not looked for"
         " (raise --max-cells)")
    ]  # fmt: skip


def test_remarks_stand_in_the_order_of_the_file() -> None:
    """Whatever kind they are; line 10 after line 9."""
    rules = """  - {name: one, when: {resolution: 4k}, deny: no}
  - {name: two, when: {resolution: 4k}, deny: no}
  - {name: three, when: {credits: {above: 32}}, deny: no}
  - {name: four, when: {resolution: 4k}, needs_approval: finance}
"""
    assert [text.split()[0] for _, text in said(rules)] == ["p.yaml:9:", "p.yaml:10:", "p.yaml:11:"]


def test_what_loading_could_not_examine_is_refused() -> None:
    """Rules that raise a price or never come to rest under prices from a later day on."""
    later = BOOK.extended(price_book(read_yaml(LATER)).entries)
    policy = parse_policy(HEAD + "  - {name: fast, rewrite: {generation_mode: fast}}\n", "p.yaml")
    assert lint(policy, BOOK, NOW) == []
    said = "`fast` would raise the price from 2 to 9 credits for a plain request"
    with pytest.raises(ConfigError, match=said):
        lint(policy, later, NOW)


def test_where_no_price_is_in_force_nothing_can_be_said() -> None:
    """Every rule would look as if nothing reached it."""
    with pytest.raises(NoPrice):
        lint(load_policy("starter"), until(NOW), NOW)


def test_a_shipped_policy_is_named_by_its_own_file() -> None:
    """Strict finance has nothing that would be remarked on."""
    assert lint(load_policy("strict-finance"), BOOK, NOW) == []
