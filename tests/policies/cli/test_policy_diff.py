"""`planner policy diff`: what changes on past requests, in words and in credits."""

from __future__ import annotations

import re

import pytest

from tests.policies.cli.conftest import DATA

HISTORY = DATA / "history.csv"


def test_the_sample_history_between_two_shipped_policies(planner):
    """Every change with its words, its number and its credits; all of them explain the difference."""
    found = planner("policy", "diff", "cheap-drafts", "starter", "--history", HISTORY, "--json")
    assert found.code == 0
    document = found.document
    assert document["schema"] == "planner.policy-diff/1"
    assert (document["before"]["name"], document["after"]["name"]) == ("cheap-drafts", "starter")
    traffic = document["traffic"]
    changed = traffic["changed"]
    assert traffic["requests"] == 12_000
    assert traffic["changed_requests"] == sum(one["requests"] for one in changed)
    change = sum(one["credits_after"] - one["credits_before"] for one in changed)
    assert change == traffic["credits_after"] - traffic["credits_before"]
    assert changed[0]["words"] == "allowed → needs approval by `team-month`"
    assert changed[0]["first"].startswith(str(HISTORY))
    assert any(one["fields"] for one in changed)


def test_people_read_one_line_and_a_table(planner):
    """How many change and what it costs, then each change with the greatest first."""
    out = planner("policy", "diff", "starter", "cheap-drafts", "--history", HISTORY).out
    assert "past requests change: 20,856 → 42,195 credits, 21,339 credits more" in out
    assert "needs approval by `team-month` → allowed" in out
    assert "What this assumes" in out


def test_a_policy_does_not_differ_from_itself(planner):
    """Nothing changes, and that is said."""
    found = planner("policy", "diff", "starter", "starter", "--history", HISTORY)
    assert found.code == 0
    assert "nothing changes for 12,000 past requests" in found.out


def test_past_requests_come_from_one_source(planner):
    """Two at once are a fault of the command line."""
    words = ["--history", "a.csv", "--ledger", "a.db"]
    found = planner("policy", "diff", "starter", "cheap-drafts", *words, "--json")
    assert (found.code, found.codes) == (2, ["usage"])


def test_without_past_requests_all_requests_are_compared(planner):
    """Every cell that one of the two can tell apart, with an example for each kind of change."""
    found = planner("policy", "diff", "starter", "cheap-drafts", "--json")
    assert (found.code, found.document["traffic"]) == (0, None)
    cells = found.document["cells"]
    assert cells["changed_cells"] == sum(one["cells"] for one in cells["changed"]) > 0
    assert any(words.startswith("`team-month` is gone") for words in cells["budgets"])
    out = planner("policy", "diff", "starter", "cheap-drafts").out
    assert "cells change" in out
    assert "such as" in out


HEAD = """
policy: 1
name: small
timezone: UTC
otherwise: allow
labels: {stage: [draft, production]}
"""
ASKS = HEAD + "rules: [{name: ask, when: {num_images: 4}, needs_approval: finance}]"


@pytest.fixture
def diff(planner, folder):
    """Compares two texts of a policy."""

    def run(before, after, *words):
        (folder / "a.yaml").write_text(before)
        (folder / "b.yaml").write_text(after)
        return planner("policy", "diff", "a.yaml", "b.yaml", *words)

    return run


def in_shadow(text):
    return text.replace("otherwise: allow", "otherwise: allow\nenforcement: shadow")


@pytest.mark.parametrize(
    ("before", "after", "enforcement", "line"),
    [
        (ASKS, ASKS, ["on", "on"], ""),
        (ASKS, in_shadow(ASKS), ["on", "shadow"], "the second is in shadow and lets"),
        (in_shadow(ASKS), ASKS, ["shadow", "on"], "the first is in shadow and lets"),
        (in_shadow(ASKS), in_shadow(ASKS), ["shadow", "shadow"], "both are in shadow and let"),
    ],
)
def test_a_policy_in_shadow_is_told_before_anything_else(diff, before, after, enforcement, line):
    """Shadow is the loosest change there is: it is said first, and that both are compared as if enforced."""
    second = diff(before, after).out.splitlines()[1]
    said = f"{line} everything go as asked: compared as if both were enforced"
    assert second == (said if line else "")
    assert diff(before, after, "--json").document["enforcement"] == enforcement


def rows(found):
    """The first words of each row of the table, in order."""
    lines = found.out.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("---")) + 1
    return [line for line in lines[start:] if line and not line.startswith("budget")]


def test_each_kind_of_change_stands_once_with_verdicts_first(diff):
    """Rows of the same words are one, and a rule that rewrites in many ways is one row."""
    smaller = """
rules:
  - {name: ask, when: {num_images: 4}, needs_approval: finance}
  - {name: small, when: {stage: draft}, rewrite: {resolution: 1k, generation_mode: fast}}
"""
    was = """
rules:
  - {name: face-2k, when: {face_reference: present, resolution: 4k}, rewrite: {resolution: 2k}}
"""
    found = diff(HEAD + was, HEAD + was + smaller.partition("rules:")[2])
    words = [row.partition("  ")[0] for row in rows(found)]
    assert words[0] == "allowed → needs approval by `ask`"
    assert [word for word in words if "`small`" in word] == ["goes smaller in 10 ways by `small`"]
    assert len(set(words)) == len(words)
    changed = diff(HEAD + was, HEAD + was + smaller.partition("rules:")[2], "--json").document["cells"]
    assert len(changed["changed"]) > len(words), "the document keeps every difference"


def test_a_rule_that_rewrites_in_other_ways_is_named(diff):
    """It stands on both sides, and still the row says which rule it is."""
    rule = """
rules:
  - name: small
    when: {stage: draft}
    downgrade: {at_most: 3 credits, give_up_in_order: [num_images, generation_mode]}
"""
    words = [row.partition("  ")[0] for row in rows(diff(HEAD + rule, HEAD + rule.replace("3 c", "2 c")))]
    assert any(re.fullmatch(r"goes smaller in \d+ ways by `small`", word) for word in words)


def test_the_example_shows_what_its_row_says(diff):
    """A request that is asked for with the earlier value, whatever else comes to the same; and the time."""
    was = "rules: [{name: at-most-2k, when: {resolution: 4k}, rewrite: {resolution: 2k}}]"
    more = "{name: small, when: {resolution: 2k}, rewrite: {resolution: 1k}}"
    found = diff(HEAD + was, HEAD + was.replace("}}]", "}}, " + more + "]"))
    (row,) = rows(found)
    assert row.startswith("resolution 2k → 1k by `small`")
    assert row.endswith("  resolution: 2k")
    night = "rules: [{name: night, when: {time: {from: 22:00, to: 06:00}}, deny: at night}]"
    (row,) = rows(diff(HEAD, HEAD + night, "--at", "2026-11-22T12:00:00Z"))
    assert row.endswith("  a plain request, on Sunday at 22:00")


def test_what_waits_costs_nothing_in_either_table(diff, folder):
    """A request that needs an approval is free until it has one: in the cells as in the past."""
    (folder / "past.csv").write_text(
        "submitted_at,status,resolution,num_images\n2026-10-01T10:00:00Z,completed,1k,4\n"
    )
    document = diff(HEAD, ASKS, "--history", "past.csv", "--json").document
    (cells,) = document["cells"]["changed"]
    assert cells["words"] == "allowed → needs approval by `ask`"
    assert (cells["credits"][1], cells["looser"]) == (-4, False)
    (past,) = document["traffic"]["changed"]
    assert (past["credits_before"], past["credits_after"]) == (4, 0)
    assert past["first_at"] == "2026-10-01T10:00:00+00:00"
    (cells,) = diff(ASKS, HEAD, "--json").document["cells"]["changed"]
    assert (cells["credits"][0], cells["looser"]) == (4, True)
