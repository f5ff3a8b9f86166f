"""`planner policy activate`: a policy brought in force on purpose."""

from __future__ import annotations

from contextlib import closing

import pytest

from policies.ledger.store import Store
from policies.loading import load_policy

POLICY = """
policy: 1
name: studio
timezone: UTC
otherwise: allow
labels: {team: any}
budgets:
  - {name: month, limit: 100 credits, per: month, for_each: [team]}
"""
LEDGER = ("--ledger", "spend.db")


@pytest.fixture
def versions(folder):
    """Two versions and a renamed one; the tighter version is in force and has replaced the first."""
    (folder / "first.yaml").write_text(POLICY)
    (folder / "second.yaml").write_text(POLICY.replace("100", "40"))
    (folder / "renamed.yaml").write_text(POLICY.replace("name: studio", "name: studio-2027"))
    with closing(Store.open("sqlite:///spend.db")) as store:
        store.bring_in_force(load_policy("first.yaml"))
        store.bring_in_force(load_policy("second.yaml"))
    return folder


def in_force():
    with closing(Store.open("sqlite:///spend.db")) as store:
        return {name: policy.digest for name, policy in store.policies_in_force().items()}


def digest(file):
    return load_policy(file).digest


def test_a_replaced_policy_is_brought_back(planner, versions):
    """It says what was in force before, and what is now."""
    found = planner("policy", "activate", "first.yaml", *LEDGER)
    assert found.code == 0
    first, second = digest("first.yaml"), digest("second.yaml")
    assert found.out.startswith(f"studio ({first[:8]}) is in force\nbefore  studio ({second[:8]}) since 20")
    assert "nothing counts in its budgets yet" in found.out
    assert in_force() == {"studio": first}


def test_what_is_in_force_already_stays(planner, versions):
    """Doing it twice is doing it once."""
    found = planner("policy", "activate", "second.yaml", *LEDGER)
    assert found.code == 0
    assert f"studio ({digest('second.yaml')[:8]}) was in force already · since 20" in found.out
    document = planner("policy", "activate", "second.yaml", *LEDGER, "--json").document
    assert document["changed"] is False
    assert document["before"] == document["policy"]


def test_the_document_names_both_texts_and_every_budget(planner, versions):
    """`planner.policy-activate/1`; budgets have the shape that `ledger show` gives them."""
    (versions / "looks.csv").write_text("key,prompt,team\na,linen dress,social\n")
    words = ("--policy", "second.yaml", *LEDGER, "--sandbox", "--no-pictures")
    assert planner("run", "looks.csv", *words).code == 0
    document = planner("policy", "activate", "first.yaml", *LEDGER, "--json").document
    assert document["schema"] == "planner.policy-activate/1"
    assert document["policy"]["digest"] == digest("first.yaml")
    assert document["before"]["digest"] == digest("second.yaml")
    assert (document["changed"], document["retired"]) == (True, None)
    shown = planner("ledger", "show", *LEDGER, "--json").document
    assert document["budgets"] == shown["budgets"]
    (budget,) = document["budgets"]
    assert (budget["scope"], budget["limit"], budget["settled"]) == ({"team": "social"}, 100, 1)
    assert "month     social          1           0              0   100     1 %" in (
        planner("policy", "activate", "first.yaml", *LEDGER).out
    )


def test_a_renamed_policy_takes_the_place_of_the_old_name(planner, versions):
    """Without `--retire` both names would be in force side by side."""
    found = planner("policy", "activate", "renamed.yaml", *LEDGER, "--retire", "studio")
    assert found.code == 0
    assert "before  no policy of this name" in found.out
    assert f"retired studio ({digest('second.yaml')[:8]})" in found.out
    assert in_force() == {"studio-2027": digest("renamed.yaml")}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("renamed.yaml", *LEDGER, "--retire", "stduio"), "bad_retire", "no policy `stduio` is in force"),
        (("first.yaml", *LEDGER, "--retire", "studio"), "bad_retire", "`studio` is the policy that comes"),
        (("third.yaml", *LEDGER), "no_policy", "there is no policy `third.yaml`"),
        (("first.yaml", "--ledger", "other.db"), "no_ledger", "there is no ledger"),
    ],
)
def test_what_cannot_be_done_changes_nothing(planner, versions, words, code, said):
    """A mistyped name, file or ledger: exit 2, one line with a hint, and everything stays in force."""
    before = in_force()
    found = planner("policy", "activate", *words, "--json")
    assert (found.code, found.codes) == (2, [code])
    assert found.document["errors"][0]["message"].startswith(said)
    assert found.document["errors"][0]["hint"]
    assert in_force() == before
    assert not (versions / "other.db").exists()
