"""`planner policy show`: the policy as it counts, for people and for programs."""

from __future__ import annotations

import hashlib
import json

import pytest

from policies.loading import load_policy, parse_policy

BASE = """policy: 1
name: base
otherwise: allow
credit_price: 0.0750
labels: {team: [social, brand]}
rules:
  - {name: cheap, when: {usd: {above: 0.30}}, deny: too dear}
"""
OWN = """policy: 1
name: own
extends: ./base.yaml
rules:
  - name: no-4k  # nobody needs it
    when: {resolution: 4k}
    deny: nobody needs 4k
"""


@pytest.fixture
def written(folder):
    (folder / "base.yaml").write_text(BASE)
    (folder / "own.yaml").write_text(OWN)
    return folder


def test_what_is_shown_is_the_same_policy_in_one_file(planner, written):
    """The result is YAML that stands by itself, with the digest of the files it came from."""
    found = planner("policy", "show", "own.yaml")
    assert found.code == 0
    assert parse_policy(found.out, "own.yaml").digest == load_policy("own.yaml").digest
    assert (
        found.out
        == """# own.yaml, which extends base.yaml
policy: 1  # own.yaml:1
name: own  # own.yaml:2
otherwise: allow  # base.yaml:3
credit_price: 0.0750  # base.yaml:4
labels:
  # base.yaml:5
  team: [social, brand]
rules:
  # base.yaml:7
  - name: cheap
    when:
      usd: {above: 0.30}
    deny: too dear
  # own.yaml:5
  - name: no-4k
    when: {resolution: 4k}
    deny: nobody needs 4k
"""
    )


def test_a_policy_that_extends_nothing_is_shown_as_it_was_written(planner, written):
    """Comments and formatting included; a shipped policy goes by its name."""
    assert planner("policy", "show", "base.yaml").out == BASE
    assert planner("policy", "show", "starter").out == load_policy("starter").text


def test_the_document_names_what_is_extended_and_bears_out_the_digest(planner, written):
    """The digest is SHA-256 over the document's canonical JSON; decimals stay exact as text."""
    found = planner("policy", "show", "own.yaml", "--json").document
    canonical = json.dumps(found["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert found["schema"] == "planner.policy-show/1"
    assert (found["name"], found["extends"]) == ("own", ["base.yaml"])
    assert found["digest"] == hashlib.sha256(canonical.encode()).hexdigest() == load_policy("own.yaml").digest
    assert found["document"]["credit_price"] == "0.0750"
    assert [rule["name"] for rule in found["document"]["rules"]] == ["cheap", "no-4k"]
    assert planner("policy", "show", "starter", "--json").document["extends"] == []


def test_faults_of_all_files_are_told(planner, written):
    """A policy that cannot be read is not shown: exit 2, and each fault with its own file and line."""
    (written / "base.yaml").write_text(BASE.replace("deny: too dear", "dney: x"))
    (written / "own.yaml").write_text(OWN.replace("4k}", "8k}"))
    found = planner("policy", "show", "own.yaml", "--json")
    assert found.code == 2
    assert [error["where"] for error in found.document["errors"]] == ["own.yaml:6", "base.yaml:7"]
