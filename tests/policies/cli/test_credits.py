"""`planner credits`: what a month costs under each plan, and how long a balance lasts."""

import json

from tests.policies.cli.processes import planner
from tests.policies.ledger.books import studio


def credits(folder, *words):
    code, out, _ = planner(folder, "credits", *words, "--json")
    return code, json.loads(out)


def test_a_month_that_is_named(tmp_path):
    """The cheapest first, its figures exact, and no ledger is needed or made."""
    code, found = credits(tmp_path, "--month", "3000")
    assert (code, found["schema"], found["basis"]) == (0, "planner.credits/1", "given")
    assert found["plans"][0]["plan"] == "tier-1"
    assert found["plans"][0]["usd"] == "202.465"
    assert found["break_evens"][1] == {"plan": "tier-1", "from_credits": 254}
    assert found["balance"] is None
    assert not any(tmp_path.iterdir())


def test_the_pace_of_the_ledger_and_the_last_balance(tmp_path):
    """Four weeks of bookings as a month of thirty days; the balance that was read lasts that long."""
    with studio(tmp_path) as books:
        for place in range(7):
            books.job(f"look-{place}", {"team": "social"}, resolution="2k")
        books.store.record_balance("main", 60)
        path = str(books.path)
    code, found = credits(tmp_path, "--ledger", path, "--until", "2999-01-01")
    assert (code, found["basis"], found["month_credits"]) == (0, "the last 28 days", 30)
    assert found["balance"] == 60
    assert found["lasts_until"] is not None
    assert found["missing_credits"] > 300_000


def test_what_is_missing_is_said(tmp_path):
    """No ledger and no figure: one line and exit 2; an instant that is over as well."""
    code, found = credits(tmp_path)
    assert (code, found["errors"][0]["code"]) == (2, "no_pace")
    code, found = credits(tmp_path, "--month", "1", "--until", "2020-01-01")
    assert (code, found["errors"][0]["code"]) == (2, "bad_instant")


def test_people_read_when_to_buy(tmp_path):
    """A table, the break-evens, and a sentence with the amount and the money."""
    code, out, _ = planner(tmp_path, "credits", "--month", "3000", "--balance", "0", "--until", "2999-01-01")
    assert code == 0
    assert "tier-1 is cheapest: $202.47" in out
    assert "on-demand 0 · tier-1 254 · tier-2 3,690 · tier-3 20,817" in out
    assert "before then to reach 2999-01-01 00:00Z" in out
