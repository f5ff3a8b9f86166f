"""`planner policy diff`: what changes on past requests, in words and in credits."""

from __future__ import annotations

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
