"""`planner policy diff`: what changes on past requests, in words and in credits."""

from __future__ import annotations

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
    assert "past requests change: 20,832 → 42,195 credits, 21,363 credits more" in out
    assert "needs approval by `team-month` → allowed" in out
    assert "What this assumes" in out


def test_a_policy_does_not_differ_from_itself(planner):
    """Nothing changes, and that is said."""
    found = planner("policy", "diff", "starter", "starter", "--history", HISTORY)
    assert found.code == 0
    assert "nothing changes for 12,000 past requests" in found.out


@pytest.mark.parametrize("words", [[], ["--history", "a.csv", "--ledger", "a.db"]])
def test_past_requests_come_from_one_source(planner, words):
    """None, or two at once, is a fault of the command line."""
    found = planner("policy", "diff", "starter", "cheap-drafts", *words, "--json")
    assert (found.code, found.codes) == (2, ["usage"])
