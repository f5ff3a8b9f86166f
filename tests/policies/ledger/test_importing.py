"""Past requests of a file in the ledger: booked once, at their own price, in the budgets of their windows."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from planner.errors import ConfigError, InputError
from planner.history import read_history
from planner.loading import shipped_prices
from policies.guard.machine import Job
from policies.ledger.entries import Evidence
from policies.ledger.states import Happened, State
from policies.ledger.store import Store
from policies.ledger.verify import verify
from tests import ledgers
from tests.laws.world import World, policy_of, request

HISTORY = Path(__file__).parents[2] / "data" / "history.csv"
BOOK = shipped_prices()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RATE = 75_000
HEADER = "submitted_at,completed_at,status,resolution,generation_mode,num_images,"
HEADER += "credits_quoted,credits_used,usd_per_credit,prediction_id,team\n"

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture
def store(tmp_path):
    with closing(Store.open(ledgers.url(tmp_path / "ledger.db"), clock=lambda: NOW)) as found:
        yield found


def past(folder, *rows):
    """A history of these rows, each `status,quoted,used,prediction,team` at two o'clock of its day."""
    lines = []
    for day, row in enumerate(rows, 1):
        status, quoted, used, prediction, team = row.split(",")
        at = f"2026-11-{day:02}T14:00:00Z,2026-11-{day:02}T14:01:00Z"
        lines.append(f"{at},{status},2k,fast,1,{quoted},{used},,{prediction},{team}\n")
    path = folder / "past.csv"
    path.write_text(HEADER + "".join(lines))
    return read_history(path).past


def bring(store, rows, account="main"):
    return store.import_past(rows, account, BOOK, RATE)


def test_the_history_adds_up_and_a_second_import_books_nothing(store):
    """Totals by hand from the file's own columns: a failed row is free, an empty cost stays at its quote."""
    with HISTORY.open(newline="") as file:
        rows = list(csv.DictReader(file))[:1500]
    charged, empty = 0, 0
    for row in rows:
        if row["status"] == "failed":
            continue
        empty += not row["credits_used"]
        charged += int(row["credits_used"] or row["credits_quoted"])
    taken = read_history(HISTORY).past
    ids = {row["prediction_id"] for row in rows}
    chosen = [one for one in taken if one.prediction_id in ids]
    found = bring(store, chosen)
    assert (found.new, found.credits, found.estimated, found.priced) == (len(rows), charged, empty, 0)
    totals = store.totals()
    assert totals["settled"][1] == charged
    assert totals["released"] == (sum(row["status"] == "failed" for row in rows), 0)
    again = bring(store, chosen)
    assert (again.new, again.known, again.credits) == (0, len(rows), 0)
    assert store.totals() == totals
    assert verify(store) == []
    by_id = {entry.prediction_id: entry for entry in store.entries()}
    for row in rows:
        entry = by_id[row["prediction_id"]]
        assert entry.quoted_credits == int(row["credits_quoted"])
        assert entry.rate_microusd == round(float(row["usd_per_credit"]) * 1_000_000)
        assert entry.booked_at == datetime.fromisoformat(row["submitted_at"])


def test_each_end_is_booked_as_what_it_is(store, tmp_path):
    """Charged, charged nothing, missing, failed and free, failed and charged, and a word nobody knows."""
    rows = past(
        tmp_path, "completed,2,3,p1,a", "completed,2,0,p2,a", "completed,2,,p3,a", "failed,2,,p4,a",
        "failed,2,1,p5,a", "time_out,2,,p6,a",
    )  # fmt: skip
    bring(store, rows)
    found = {entry.prediction_id: (entry.state, entry.credits, entry.estimated) for entry in store.entries()}
    assert found == {
        "p1": (State.SETTLED, 3, False),
        "p2": (State.SETTLED, 0, False),
        "p3": (State.SETTLED, 2, True),
        "p4": (State.RELEASED, 0, False),
        "p5": (State.SETTLED, 1, False),
        "p6": (State.UNKNOWN, 2, False),
    }
    assert verify(store) == []
    assert store.limits("main")["concurrency"] == 6


def test_a_cost_that_comes_later_is_an_adjustment(store, tmp_path):
    """The same file with the missing figure: the entry is corrected once, and keeps where it was booked."""
    bring(store, past(tmp_path, "completed,2,,p1,a"))
    found = bring(store, past(tmp_path, "completed,2,5,p1,a"))
    assert (found.new, found.known, found.corrected) == (0, 1, 1)
    (entry,) = store.entries()
    assert (entry.credits, entry.estimated, entry.booked_at.day) == (5, False, 1)
    assert bring(store, past(tmp_path, "completed,2,7,p1,a")).corrected == 0
    assert store.entries()[0].credits == 5
    assert verify(store) == []


def test_a_row_keeps_its_quote_and_one_without_is_priced_by_its_day(store, tmp_path):
    """What stands in the file is never priced again; a missing quote is that of the entry in force then."""
    found = bring(store, past(tmp_path, "completed,9,,p1,a", "completed,,,p2,a", "completed,,4,p3,a"))
    entries = {entry.prediction_id: entry for entry in store.entries()}
    assert [entries[name].quoted_credits for name in ("p1", "p2", "p3")] == [9, 2, 2]
    assert [entries[name].price_entry for name in ("p1", "p2")] == ["", "fashn@2026-05-01"]
    assert (found.priced, entries["p3"].credits) == (2, 4)


def test_rows_without_any_price_are_named_and_nothing_is_booked(store, tmp_path):
    """Before the first price entry, without quote and without cost: every such row, by its line."""
    path = tmp_path / "old.csv"
    rows = "2026-01-01T00:00:00Z,,completed,2k,fast,1,,,,{},a\n"
    path.write_text(HEADER + rows.format("p1") + "2026-11-01T00:00:00Z,,completed,2k,fast,1,,,,p2,a\n"
                    + rows.format("p3"))  # fmt: skip
    with pytest.raises(InputError) as caught:
        bring(store, read_history(path).past)
    assert [fault.where for fault in caught.value.faults] == [f"{path}:2", f"{path}:4"]
    assert store.entries() == []


def test_rows_without_an_id_are_known_again_by_what_they_say(store, tmp_path):
    """Two rows that say the same are two requests, and both are known the next time."""
    row = "2026-11-01T14:00:00Z,,completed,2k,fast,1,2,2,,,a\n"
    path = tmp_path / "past.csv"
    path.write_text(HEADER + row + row)
    rows = read_history(path).past
    assert bring(store, rows).new == 2
    assert (bring(store, rows).new, bring(store, rows, account="other").new) == (0, 2)


def test_budgets_in_force_count_what_was_imported(tmp_path):
    """The month that runs counts it, an earlier month does not, and the next job sees what is left."""
    text = "policy: 1\nname: test\ntimezone: UTC\notherwise: allow\nlabels: {team: any}\n"
    text += "budgets: [{name: month, limit: 7 credits, per: month, for_each: [team]}]\n"
    with closing(World(tmp_path, policy_of(text))) as world:
        rows = past(tmp_path, "completed,2,5,p1,a", "completed,2,,p2,b")
        bring(world.store, rows)
        used = {
            counter.allowance.scope: counter.settled for counter in world.store.counters(world.store.now())
        }
        assert used == {(("team", "a"),): 5, (("team", "b"),): 2}
        worker = world.worker()
        assert isinstance(worker.submit(world.ask("small", request(resolution="2k"), team="b")), Job)
        denied = worker.submit(world.ask("large", request(resolution="2k"), team="a"))
        assert denied.entry.state is State.DENIED
        assert verify(world.store) == []


def test_jobs_of_this_ledger_are_not_booked_again(tmp_path):
    """A history of the provider names them by their predictions."""
    with closing(World(tmp_path, policy_of("policy: 1\nname: test\notherwise: allow\n"))) as world:
        worker = world.worker()
        job = worker.submit(world.ask("look", request()))
        worker.finish(job)
        own = world.store.entries()[0]
        found = bring(
            world.store, past(tmp_path, f"completed,1,1,{own.prediction_id},a", "completed,2,2,p9,a")
        )
        assert (found.known, found.new) == (1, 1)
        assert Counter(entry.shoot for entry in world.store.entries()) == {"main": 1, "imported": 1}


def test_law_23_what_was_imported_never_mixes_with_a_stand_in(store, tmp_path):
    """A history is of the provider: the ledger it came into is live, and no rehearsal books in it."""
    bring(store, past(tmp_path, "completed,2,2,p1,a"))
    assert store.kind() == "live"
    with pytest.raises(ConfigError, match="is a live ledger") as caught:
        store.bind("other", "http://stand-in", live=False)
    assert caught.value.faults[0].code == "mixed_ledger"
    store.bind("main", "https://api.fashn.ai", live=True)


def test_law_17_a_cost_that_comes_later_moves_the_budget_by_the_difference(tmp_path):
    """The estimate and what was charged count in the same place: the counter moves, and `verify` agrees."""
    text = "policy: 1\nname: test\ntimezone: UTC\notherwise: allow\n"
    text += "budgets: [{name: month, limit: 90 credits, per: month}]\n"
    with closing(World(tmp_path, policy_of(text))) as world:
        bring(world.store, past(tmp_path, "completed,2,,p1,a", "completed,2,2,p2,a"))
        (entry, _) = world.store.entries()
        assert entry.estimated
        for charged, month in ((7, 9), (1, 3)):
            entry = world.store.record(entry, (Happened.ADJUSTED, Evidence(credits=charged)))
            (counter,) = world.store.counters(world.store.now())
            assert (counter.settled, counter.held, counter.unknown) == (month, 0, 0)
            assert verify(world.store) == []
