"""Law 13 between real processes: four of them race for the last credits of one budget."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from policies.ledger.states import TAKEN
from policies.ledger.store import Store
from policies.ledger.verify import verify
from tests import ledgers
from tests.laws.world import budget_policy

pytestmark = pytest.mark.usefixtures("each_engine")

RACER = textwrap.dedent(
    """
    import sys
    from planner.loading import shipped_prices
    from policies.ledger.entries import Admitted, Ask, Busy, Evidence, TurnedDown
    from policies.ledger.states import Happened
    from policies.ledger.store import Store
    from tests.laws.world import budget_policy, request

    url, name, limit, account = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    store, policy = Store.open(url), budget_policy(limit, "total")
    policy, owner, book = store.bring_in_force(policy), store.register(), shipped_prices()
    admitted = 0
    for n in range(40):
        found = Busy(None)
        while isinstance(found, Busy):
            ask = Ask(account, "main", f"{name}-{n}", request(resolution="2k", num_images=1), {})
            found = store.admit(ask, policy, book, owner, rate_microusd=75_000)
        if isinstance(found, TurnedDown):
            continue
        admitted += 1
        entry = store.record(found.entry, (Happened.ACCEPTED, Evidence(prediction_id=f"{name}-{n}")))
        store.record(entry, (Happened.CHARGED, Evidence(credits=4, outputs=1)))
    owner.close()
    print(admitted)
    """
)


@pytest.mark.parametrize("accounts", ["main main main main", "a b c d"])
def test_law_13_processes_never_pass_a_budget_together(tmp_path: Path, accounts: str) -> None:
    """However four processes interleave, exactly the credits of the budget are spent, and all take part."""
    limit, url = 100, ledgers.url(tmp_path / "ledger.db")
    store = Store.open(url)
    for account in accounts.split():
        store.bind(account, "http://stand-in", live=False)
    _wide_rate(store)
    store.bring_in_force(budget_policy(limit, "total"))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url, name, str(limit), account], stdout=subprocess.PIPE, text=True
        )
        for name, account in zip("abcd", accounts.split(), strict=True)
    ]
    shares = [int(racer.communicate(timeout=120)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    entries = store.entries(states=TAKEN)
    assert sum(entry.credits for entry in entries) == limit == 4 * sum(shares)
    (counter,) = store.counters()
    assert (counter.settled, counter.held, counter.unknown) == (limit, 0, 0)
    assert verify(store) == []
    store.close()


def _wide_rate(store: Store) -> None:
    """Limits are values of the account: here the rate must not end the race."""
    from sqlalchemy import update

    from policies.ledger.database import writing
    from policies.ledger.schema import accounts

    with writing(store._engine) as connection:
        connection.execute(update(accounts).values(run_limit=10_000))
