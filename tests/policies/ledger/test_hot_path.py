"""What every job goes through reads no more than it needs, and keeps what the table keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, bindparam, insert, select, text

from planner.loading import shipped_prices
from policies.ledger import accounts, presence, sqlite
from policies.ledger.database import reading, writing
from policies.ledger.entries import Admitted, Entry, Evidence, Stale, TurnedDown, to_us
from policies.ledger.schema import entries, facts, starts
from policies.ledger.statements import driver
from policies.ledger.states import Happened, State
from policies.ledger.store import Store
from tests import ledgers
from tests.laws.world import World, policy_of, request

BOOK = shipped_prices()
POLICY = """
policy: 1
name: test
timezone: UTC
otherwise: allow
labels: {team: any}
budgets:
  - {name: day, limit: 9 credits, per: day, when_exhausted: deny}
  - {name: all, limit: 90 credits, per: total, for_each: [team], when_exhausted: deny}
rules:
  - {name: no-4k, when: {resolution: 4k}, rewrite: {resolution: 2k}}
"""


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    with closing(World(tmp_path, policy_of(POLICY))) as found:
        yield found


@pytest.mark.usefixtures("each_engine")
def test_what_a_booking_and_its_moves_return_is_what_the_table_keeps(world):
    """Also for a rewritten job and for a denied one: the row is not read back to know it."""
    store, owner = world.store, world.worker().owner

    def admitted(key, resolution):
        ask = world.ask(key, request(resolution=resolution, seed=7), team="a")
        return store.admit(ask, world.policy, BOOK, owner, rate_microusd=75_000)

    held, denied = admitted("a", "4k"), admitted("b", "2k")
    while isinstance(denied, Admitted):
        denied = admitted(f"{denied.entry.key}b", "2k")
    assert isinstance(held, Admitted)
    assert isinstance(denied, TurnedDown)
    assert store.entry(denied.entry.id) == denied.entry
    assert store.entry(held.entry.id) == held.entry
    settled = store.record(
        held.entry,
        (Happened.ACCEPTED, Evidence(prediction_id="p")),
        (Happened.CHARGED, Evidence(credits=5, outputs=1)),
    )
    assert store.entry(settled.id) == settled


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize(
    "read", [{"epoch": 2}, {"owner": "other"}, {"owner": None}, {"state": State.UNKNOWN}]
)
def test_a_move_finds_only_what_was_read(world, read):
    """Each of state, owner and epoch has to be as it was, and where one is not, nothing is changed."""
    found = world.worker().submit(world.ask("a", request(), team="a"))
    entry = world.store.entry(found.entry.id)
    assert (entry.state, entry.epoch) == (State.ACCEPTED, 1)
    with pytest.raises(Stale):
        world.store.record(entry._replace(**read), (Happened.CHARGED, Evidence(credits=2, outputs=1)))
    assert world.store.entry(entry.id) == entry
    assert world.counted() == entry.credits


def test_an_entry_has_the_columns_of_its_table():
    """In their order."""
    assert Entry._fields == tuple(column.key for column in entries.c)


@pytest.mark.parametrize("core", [accounts._STANDING._core, presence._KNOWN._core])
def test_what_is_under_way_is_found_by_its_index(tmp_path, core):
    """Neither the slots of an account nor the owners at work are looked for among all that has ended."""
    with (
        closing(Store.open(f"sqlite:///{tmp_path}/ledger.db")) as store,
        reading(store._engine) as connection,
    ):
        sql = str(core.compile(dialect=connection.dialect))
        plan = driver(connection).execute(f"EXPLAIN QUERY PLAN {sql}", Anything()).fetchall()
    steps = [step for *_, step in plan if "entries" in step]
    assert steps
    assert all("open_entries" in step for step in steps)


class Anything(dict[str, int]):
    """A value for every name: a plan does not depend on them."""

    def __missing__(self, name: str) -> int:
        return 1


@pytest.mark.usefixtures("each_engine")
def test_a_transaction_that_fails_leaves_nothing_to_the_next(tmp_path):
    """Whether it ran above or below SQLAlchemy, and though its connection is used again."""
    find = select(facts.c.value).where(facts.c.name == bindparam("name_"))

    def put(connection: Connection, name: str) -> None:
        connection.execute(insert(facts), {"name": name, "value": "x"})

    with closing(Store.open(ledgers.url(tmp_path / "ledger.db"))) as store:
        with suppress(ZeroDivisionError), writing(store._engine) as connection:
            put(connection, "lost")
            raise ZeroDivisionError
        with writing(store._engine) as connection:
            put(connection, "kept")
        with reading(store._engine) as connection:
            assert connection.execute(find, {"name_": "kept"}).scalar() == "x"
            assert connection.execute(find, {"name_": "lost"}).scalar() is None


def test_transactions_side_by_side_have_connections_of_their_own(tmp_path):
    """A reader that began before a writer committed sees what was there before."""
    with closing(Store.open(f"sqlite:///{tmp_path}/ledger.db")) as store:
        engine = store._engine
        with reading(engine) as reader:
            before = reader.execute(text("SELECT count(*) FROM facts")).scalar()
            with writing(engine) as writer:
                assert driver(writer) is not driver(reader)
                writer.execute(insert(facts), {"name": "new", "value": "x"})
            assert reader.execute(text("SELECT count(*) FROM facts")).scalar() == before
        kept = sqlite._file(engine).idle
        assert len(kept) == 2
    assert kept == []


@pytest.mark.usefixtures("each_engine")
def test_starts_are_kept_while_they_may_be_in_a_window_and_then_forgotten(tmp_path):
    """However many there are and whenever old ones are swept, those of the last ten minutes stay."""
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    with closing(Store.open(ledgers.url(tmp_path / "starts.db"))) as store:
        store.bind("a", "http://stand-in", live=False)
        for number in range(400):
            with writing(store._engine, account="a") as connection:
                accounts.take_rate(connection, "a", to_us(at + timedelta(seconds=5 * number)))
        with store.snapshot() as connection:
            kept = connection.execute(select(starts.c.at_us).order_by(starts.c.at_us)).scalars().all()
        last = at + timedelta(seconds=5 * 399)
        young = [to_us(last - timedelta(seconds=5 * number)) for number in range(120)]
        assert kept[-120:] == young[::-1]
        assert len(kept) < 2 * 120
