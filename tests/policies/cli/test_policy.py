"""`planner policy`: suites and schemas from the command line."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from policies.loading import shipped_policies

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


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_pass_their_suites(planner, name):
    """A shipped policy is tested by its name, wherever one stands."""
    found = planner("policy", "test", name, "--json")
    assert (found.code, found.document["passed"]) == (0, True)
    assert found.document["schema"] == "planner.policy-test/1"


@pytest.mark.parametrize("command", ["lint", "prove"])
@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_are_linted_and_proven_by_name(planner, name, command):
    """The two commands that a pull request runs end with 0 for every policy of the shelf."""
    assert planner("policy", command, name).code == 0


@pytest.mark.parametrize("name", ["suite.yaml", "small.suite.yaml"])
def test_the_suite_beside_the_policy_is_found(planner, written, name):
    """`suite.yaml` or the policy's own name with `.suite.yaml`, in its folder."""
    (written / name).write_text(PASSES)
    found = planner("policy", "test", "small.yaml")
    assert found.code == 0
    assert found.out.endswith("1 of 1 case passed · 1 of 1 rule reached\n")


def test_every_case_stands_in_the_table(planner, written):
    """A line for each case with its verdict, credits and result, above what went wrong."""
    (written / "suite.yaml").write_text(PASSES + FAILS.partition("cases:\n")[2])
    lines = planner("policy", "test", "small.yaml").out.splitlines()
    assert [line.split() for line in lines[4:6]] == [
        ["4k", "is", "denied", "deny", "5", "passed"],
        ["4k", "is", "fine", "deny", "5", "failed"],
    ]
    assert lines[-3:] == [
        "failed 4k is fine suite.yaml:5",
        "  expected allow, got deny (no-4k)",
        "1 of 2 cases passed · 1 of 1 rule reached",
    ]


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
    assert "unreached small.yaml:7: no case reaches `no-4k`" in found.out
    assert found.out.endswith("1 of 1 case passed · 0 of 1 rule reached\n")
    document = planner("policy", "test", "small.yaml", "--json").document
    assert (document["passed"], document["coverage"]) == (False, {"rules": 1, "reached": 0})
    assert document["unreached"][0]["where"] == "small.yaml:7"


def test_a_budget_that_no_case_fills_is_told_and_fails_nothing(planner, written):
    """What happens when a budget is full may be worth a case; without one the suite still passes."""
    budget = "budgets:\n  - {name: month, limit: 10 credits, per: month}\nrules:"
    (written / "small.yaml").write_text(POLICY.replace("rules:", budget))
    (written / "suite.yaml").write_text(PASSES)
    found = planner("policy", "test", "small.yaml")
    assert (found.code, "note: `month` is full in no case" in found.out) == (0, True)
    assert planner("policy", "test", "small.yaml", "--json").document["unfilled"] == ["month"]


def test_junit_shows_every_case_and_the_coverage(planner, written):
    """One test case each, with file and line; names are escaped and failures say what was different."""
    tricky = FAILS.replace("4k is fine", '"<4k> & \\"fine\\"\\x07"') + PASSES.partition("cases:\n")[2]
    (written / "suite.yaml").write_text(tricky)
    found = planner("policy", "test", "small.yaml", "--junit", "tests.xml", "--json")
    assert (found.code, found.document["passed"]) == (1, False)
    (suite,) = ElementTree.parse(written / "tests.xml").getroot()
    assert suite.attrib == {"name": "small", "tests": "3", "failures": "1", "errors": "0", "skipped": "0"}
    assert [{**case.attrib} for case in suite] == [
        {"classname": "small", "name": '<4k> & "fine" ', "file": "suite.yaml", "line": "4"},
        {"classname": "small", "name": "4k is denied", "file": "suite.yaml", "line": "5"},
        {"classname": "small", "name": "coverage", "file": "suite.yaml", "line": "1"},
    ]
    (failure,) = suite[0]
    assert failure.attrib["message"] == "expected allow, got deny (no-4k)"
    assert (len(suite[1]), len(suite[2])) == (0, 0)


def test_in_junit_an_unreached_rule_fails_the_coverage(planner, written):
    """The rule is named where a machine looks for failures."""
    (written / "suite.yaml").write_text("suite: 1\ncases:\n  - {name: 1k, expect: {verdict: allow}}\n")
    assert planner("policy", "test", "small.yaml", "--junit", "tests.xml").code == 1
    (failure,) = ElementTree.parse(written / "tests.xml").iter("failure")
    assert failure.attrib["message"] == "small.yaml:7: no case reaches `no-4k` (add one to the suite)"


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ("missing/tests.xml", "there is no folder `missing`: make it first"),
        (".", "it is a folder: name a file in it, such as tests.xml"),
        ("-", "name a file such as tests.xml"),
    ],
)
def test_a_junit_file_that_cannot_be_written_is_told_before_any_case_runs(planner, written, place, hint):
    """A missing folder, a folder or a dash is a fault of the command line, and no result is lost to it."""
    (written / "suite.yaml").write_text("this suite is never read")
    found = planner("policy", "test", "small.yaml", "--junit", place, "--json")
    assert (found.code, found.codes) == (2, ["usage"])
    (error,) = found.document["errors"]
    assert (error["message"], error["hint"]) == (f"cannot write `{place}`", hint)
    assert {path.name for path in written.iterdir()} == {"small.yaml", "suite.yaml"}


def test_a_policy_in_shadow_is_tested_as_if_enforced(planner, written):
    """The suite compares what would be decided; the first line and the document say that it is in shadow."""
    shadow = POLICY.replace("otherwise: allow", "otherwise: allow\nenforcement: shadow")
    (written / "suite.yaml").write_text(PASSES)
    assert planner("policy", "test", "small.yaml", "--json").document["enforcement"] == "on"
    assert "shadow" not in planner("policy", "test", "small.yaml").out
    (written / "small.yaml").write_text(shadow)
    found = planner("policy", "test", "small.yaml")
    assert (found.code, "in shadow, decided as if enforced" in found.out.splitlines()[0]) == (0, True)
    assert planner("policy", "test", "small.yaml", "--json").document["enforcement"] == "shadow"


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
    assert "otherwise" in policy["properties"]
    assert "cases" in suite["required"]
