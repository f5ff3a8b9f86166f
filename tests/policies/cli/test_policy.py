"""`planner policy`: suites and schemas from the command line."""

from __future__ import annotations

import json

import pytest

POLICY = """
policy: 1
name: small
otherwise: allow
labels: {team: any}
rules:
  - name: no-4k
    when: {resolution: 4k}
    deny: nobody needs 4k
"""
PASSES = """
suite: 1
cases:
  - {name: 4k is denied, request: {resolution: 4k}, expect: {verdict: deny, rules: no-4k}}
"""
FAILS = """
suite: 1
cases:
  - {name: 4k is fine, request: {resolution: 4k}, expect: {verdict: allow}}
"""


@pytest.fixture
def written(folder):
    (folder / "small.yaml").write_text(POLICY)
    return folder


@pytest.mark.parametrize("name", ["starter", "cheap-drafts", "strict-finance"])
def test_shipped_policies_pass_their_suites(planner, name):
    """A shipped policy is tested by its name, wherever one stands."""
    found = planner("policy", "test", name, "--json")
    assert (found.code, found.document["passed"]) == (0, True)
    assert found.document["schema"] == "planner.policy-test/1"


@pytest.mark.parametrize("name", ["suite.yaml", "small.suite.yaml"])
def test_the_suite_beside_the_policy_is_found(planner, written, name):
    """`suite.yaml` or the policy's own name with `.suite.yaml`, in its folder."""
    (written / name).write_text(PASSES)
    found = planner("policy", "test", "small.yaml")
    assert found.code == 0
    assert found.out.endswith("1 of 1 case passed\n")


def test_a_case_that_fails_exits_1_and_says_why(planner, written):
    """The failed case is shown with its place and what was expected; the code is 1."""
    (written / "other.yaml").write_text(FAILS)
    found = planner("policy", "test", "small.yaml", "--suite", "other.yaml")
    assert found.code == 1
    assert "failed 4k is fine other.yaml:4" in found.out
    assert "expected allow, got deny (no-4k)" in found.out
    document = planner("policy", "test", "small.yaml", "--suite", "other.yaml", "--json").document
    assert (document["passed"], document["cases"][0]["passed"]) == (False, False)


def test_a_rule_that_no_case_reaches_exits_1(planner, written):
    """A suite that never tries a rule does not pass, and the rule is named."""
    (written / "suite.yaml").write_text(
        "suite: 1\ncases:\n  - {name: 1k, expect: {verdict: allow, credits: 1}}\n"
    )
    found = planner("policy", "test", "small.yaml")
    assert found.code == 1
    assert "no case reaches `no-4k`" in found.out


def test_a_policy_without_a_suite_is_told_where_to_put_one(planner, written):
    """Without a suite nothing was shown: that is a fault with code `no_suite`."""
    found = planner("policy", "test", "small.yaml", "--json")
    assert (found.code, found.codes) == (2, ["no_suite"])


def test_all_faults_of_a_policy_come_at_once(planner, written):
    """A policy that cannot be read is told with file, line and hint for every fault."""
    (written / "small.yaml").write_text(POLICY.replace("4k}", "8k}").replace("name: small", "nome: small"))
    found = planner("policy", "test", "small.yaml", "--json")
    assert found.code == 2
    assert len(found.document["errors"]) >= 2
    assert all(error["where"].startswith("small.yaml:") for error in found.document["errors"])


def test_schemas_are_documents(planner):
    """Both schemas are JSON Schemas, policies by default."""
    policy, suite = (json.loads(planner("policy", "schema", *words).out) for words in ([], ["suite"]))
    assert "otherwise" in policy["required"]
    assert "cases" in suite["required"]
