"""`planner budgets`: every budget in force, and letting one pass its limit for once."""

import pytest

from tests.policies.ledger.books import studio

WHO = ("--by-name", "Ana", "--because", "the relaunch")


@pytest.fixture
def books(tmp_path, folder, monkeypatch):
    (tmp_path / "books").mkdir()
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "books" / "ledger.db"))
    with studio(tmp_path / "books") as found:
        found.job("a", {"team": "social"}, resolution="2k")
        yield found


def test_show_has_every_budget_in_force_and_its_raises(books, planner):
    """A budget that is one for all is there before anything counts in it; raises stand below."""
    found = planner("budgets", "show", "--json").document
    assert (found["schema"], found["raises"]) == ("planner.budgets-show/1", [])
    assert "everything" in [budget["name"] for budget in found["budgets"]]
    assert planner("budgets", "raise", "team-month", "--for", "team=brand", "--by", "20", *WHO).code == 0
    found = planner("budgets", "show", "--json").document
    [brand] = [budget for budget in found["budgets"] if budget["scope"] == {"team": "brand"}]
    assert (brand["name"], brand["limit"], brand["granted"]) == ("team-month", 100, 20)
    [one] = found["raises"]
    assert (one["name"], one["amount"], one["by"], one["because"]) == (
        "team-month",
        20,
        "Ana",
        "the relaunch",
    )
    assert one["until"] == one["window"][1]
    shown = planner("budgets", "show").out
    assert "+20" in shown
    assert "the relaunch" in shown


def test_a_raise_lets_go_what_did_not(books, planner):
    """In the budget's own unit and for that one allowance; the limit of the policy stays as it is."""
    said = planner("budgets", "raise", "everything", "--by", "10.50 USD", *WHO, "--json").document
    assert (said["unit"], said["amount"], said["limit"], said["granted"]) == (
        "microusd", 10_500_000, 50_000_000, 10_500_000,
    )  # fmt: skip
    shown = planner("budgets", "raise", "everything", "--by", "1 USD", *WHO).out
    assert "everything: raised by $1.00, now $61.50" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("team-monht", "--by", "5"), "no_such_budget"),
        (("team-month", "--by", "5"), "bad_scope"),
        (("team-month", "--for", "team=a", "--for", "campaign=b", "--by", "5"), "bad_scope"),
        (("everything", "--for", "team=a", "--by", "5 USD"), "bad_scope"),
        (("everything", "--by", "5"), "bad_amount"),
        (("team-month", "--for", "team=a", "--by", "-5"), "bad_amount"),
        (("team-month", "--for", "team=a", "--by", "0"), "bad_amount"),
        (("team-month", "--for", "team=a", "--by", "5", "--until", "soon"), "bad_instant"),
        (("team-month", "--for", "team=a", "--by", "5", "--until", "2001-01-01"), "bad_instant"),
        (("team-month", "--for", "team=a", "--by", "5", "--until", "2999-01-01"), "bad_instant"),
        (("team-month", "--for", "team=a", "--by", "5", "--of", "other"), "no_such_policy"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_kept(books, planner, words, code):
    """Exit 2 with one line that says what would help."""
    found = planner("budgets", "raise", *words, *WHO, "--json")
    assert (found.code, found.codes) == (2, [code])
    assert not books.store.grants()
