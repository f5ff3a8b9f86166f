"""Versions of the ledger: an older one is brought to the same tables as a new one, on both engines."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from planner.errors import ConfigError
from policies.ledger.database import open_engine, schema_of
from policies.ledger.migrations import STEPS
from policies.ledger.schema import VERSION
from policies.ledger.states import State
from policies.ledger.store import Store
from policies.ledger.upgrading import upgrade, upgrade_sql
from policies.ledger.verify import verify
from policies.ledger.views import NAMES
from tests import ledgers, postgres

pytestmark = pytest.mark.usefixtures("each_engine")
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def old(tmp_path):
    """A ledger of version 1 with four jobs; its path."""
    path = tmp_path / "old.db"
    if ledgers.is_postgres():
        schema = ledgers.url(path).rpartition("=")[2]
        postgres.execute(ledgers.url(path), f"CREATE SCHEMA {schema}; SET search_path TO {schema}")
    ledgers.tamper(
        path, (DATA / f"ledger-v1.{'postgresql' if ledgers.is_postgres() else 'sqlite'}.sql").read_text()
    )
    return path


@pytest.fixture
def engine(old):
    found = open_engine(ledgers.url(old))
    yield found
    found.dispose()


def tables(engine):
    """What the engine itself says of every table and view: columns, keys, indexes."""
    schema, seen = schema_of(engine), {}
    with engine.connect() as connection:
        look = inspect(connection)
        for name in look.get_table_names(schema):
            keys = [
                (key["constrained_columns"], key["referred_table"])
                for key in look.get_foreign_keys(name, schema)
            ]
            seen[name] = {
                "columns": sorted(_column(column) for column in look.get_columns(name, schema)),
                "key": look.get_pk_constraint(name, schema)["constrained_columns"],
                "foreign": sorted(keys),
                "indexes": sorted(
                    (index["name"], index["column_names"], bool(index["unique"]))
                    for index in look.get_indexes(name, schema)
                ),
            }
        for name in look.get_view_names(schema):
            seen[name] = [column["name"] for column in look.get_columns(name, schema)]
    return seen


def _column(column):
    is_counted_up = "nextval" in (column["default"] or "")
    return column["name"], str(column["type"]), column["nullable"], is_counted_up


def test_there_is_a_step_to_every_version():
    """Nobody raises the version and forgets how to get there."""
    assert [*STEPS] == [*range(2, VERSION + 1)]


def test_an_older_ledger_comes_to_the_same_tables_as_a_new_one(engine, tmp_path):
    """Both ways lead to the same columns, keys, indexes and views."""
    assert upgrade(engine) == (1, VERSION)
    with closing(Store.open(ledgers.url(tmp_path / "new.db"))) as new:
        assert tables(engine) == tables(new._engine)
    assert upgrade(engine) == (VERSION, VERSION)


def test_the_jobs_of_an_older_ledger_are_still_there(engine, old):
    """Nothing is lost on the way, every counter still holds, and it goes on from there."""
    upgrade(engine)
    with closing(Store.open(ledgers.url(old))) as store:
        assert [entry.state for entry in store.entries()] == [
            State.SETTLED,
            State.RELEASED,
            State.UNKNOWN,
            State.WAITING,
        ]
        assert verify(store) == []
        owner = store.register()
        assert store.take_over(owner) == ()
        owner.close()


def test_what_is_written_for_others_to_run_does_the_same(engine, old, tmp_path):
    """The statements of `--sql`, run by the engine's own means, lead to the same ledger."""
    statements = upgrade_sql(engine)
    assert not {"approvals", "spend"} & tables(engine).keys()
    ledgers.tamper(old, statements)
    with closing(Store.open(ledgers.url(tmp_path / "new.db"))) as new:
        assert tables(engine) == tables(new._engine)
    assert upgrade_sql(engine) == ""


def test_opening_upgrades_a_file_and_refuses_a_server(engine, old):
    """A file is its one host's own; a server is changed only by `planner ledger upgrade`."""
    if not ledgers.is_postgres():
        Store.open(ledgers.url(old)).close()
        assert "approvals" in tables(engine)
        return
    with pytest.raises(ConfigError) as caught:
        Store.open(ledgers.url(old))
    assert caught.value.faults[0].code == "older_ledger"
    assert "`planner ledger upgrade`" in caught.value.faults[0].hint
    assert "approvals" not in tables(engine)


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(engine, old):
    """It is one transaction: what stands in the way of the last step takes back the first."""
    ledgers.tamper(old, "CREATE TABLE grants (id INTEGER)")
    before = tables(engine)
    with pytest.raises(Exception, match="grants"):
        upgrade(engine)
    assert tables(engine) == before
    ledgers.tamper(old, "DROP TABLE grants")
    assert upgrade(engine) == (1, VERSION)


def test_a_ledger_is_made_once_however_many_open_it(tmp_path):
    """Six open what is not there yet at the same moment: all of them have the same ledger."""
    url = ledgers.url(tmp_path / "new.db")
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store.open(url), range(6)))
    assert len({store.ledger_id for store in stores}) == 1
    for store in stores:
        store.close()


def test_a_newer_ledger_is_refused(tmp_path):
    """What a later version has made is not touched by this one."""
    Store.open(ledgers.url(tmp_path / "new.db")).close()
    ledgers.tamper(tmp_path / "new.db", f"UPDATE facts SET value = '{VERSION + 1}' WHERE name = 'version'")
    with pytest.raises(ConfigError, match="made by a newer version"):
        Store.open(ledgers.url(tmp_path / "new.db"))


def test_what_is_no_ledger_is_refused(tmp_path):
    """Tables of somebody else are neither taken for a ledger nor added to."""
    Store.open(ledgers.url(tmp_path / "new.db")).close()
    ledgers.tamper(tmp_path / "new.db", "ALTER TABLE facts RENAME TO notes")
    with pytest.raises(ConfigError, match="is not a ledger"):
        Store.open(ledgers.url(tmp_path / "new.db"))


def test_a_missing_ledger_is_not_made_where_it_may_not_be(tmp_path):
    """`create=False` looks and leaves."""
    with pytest.raises(ConfigError, match="there is no ledger"):
        Store.open(ledgers.url(tmp_path / "none.db"), create=False)
    assert not (tmp_path / "none.db").exists()


def test_views_read_an_upgraded_ledger(engine, old):
    """Each view has its rows, and money in them is exact."""
    upgrade(engine)
    schema = schema_of(engine)
    within = f"{schema}." if schema else ""
    with engine.connect() as connection:
        rows = {
            name: connection.execute(text(f"SELECT * FROM {within}{name}")).mappings().all() for name in NAMES
        }
    assert [(row["key"], row["credits"], str(row["usd"])) for row in rows["spend"]] == [
        ("charged", 4, "0.300000"),
        ("lost", 1, "0.075000"),
    ]
    (lost,) = rows["open_holds"]
    assert (lost["key"], lost["state"], lost["host"]) == ("lost", "unknown", None)
    booked = lost["booked_at"] if isinstance(lost["booked_at"], str) else lost["booked_at"].isoformat()
    assert booked.startswith("2026-11-20T09:")
    totals = {
        (row["budget"], row["unit"]): (row["settled"], row["unknown"], row["granted"])
        for row in rows["budgets"]
    }
    assert totals["everything", "microusd"] == (300_000, 75_000, 0)
