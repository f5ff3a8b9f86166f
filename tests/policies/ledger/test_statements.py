"""Compiled statements say what SQLAlchemy's own execution says, on both engines."""

from contextlib import closing

import pytest
from sqlalchemy import bindparam, func, insert, select, update

from policies.ledger.database import writing
from policies.ledger.schema import accounts
from policies.ledger.statements import Statement, one_of
from policies.ledger.store import Store
from tests import ledgers

pytestmark = pytest.mark.usefixtures("each_engine")

ROW = {"account": "a", "address": "x", "live": True, "concurrency": 6, "run_limit": 50}
ROW |= {"run_seconds": 60, "unknown_slot_seconds": 300}


@pytest.fixture
def connection(tmp_path):
    with closing(Store.open(ledgers.url(tmp_path / "ledger.db"))) as store, writing(store._engine) as found:
        Statement(insert(accounts).inline(), ROW).run(found, ROW)
        yield found


def test_rows_are_those_of_the_expression(connection):
    """Names, types and values are the same, a truth value included."""
    (row,) = Statement(select(accounts)).rows(connection)
    assert row._asdict() == {**connection.execute(select(accounts)).mappings().one()}
    assert row.live is True


def test_values_are_given_by_name(connection):
    """What is bound is found, what is not there is None, and a missing value is an error."""
    of_name = Statement(select(accounts.c.concurrency).where(accounts.c.account == bindparam("account_")))
    assert of_name.first(connection, {"account_": "a"}).concurrency == 6
    assert of_name.first(connection, {"account_": "b"}) is None
    with pytest.raises(Exception, match="account_"):
        of_name.first(connection)


def test_a_change_says_how_many_rows_it_found(connection):
    """Constants of the statement and values of the call stand side by side."""
    change = Statement(
        update(accounts)
        .where(accounts.c.account == bindparam("account_"), accounts.c.run_limit > 10)
        .values(concurrency=bindparam("to"))
    )
    assert change.run(connection, {"account_": "b", "to": 9}) == 0
    assert change.run(connection, {"account_": "a", "to": 9}) == 1
    assert connection.execute(select(accounts.c.concurrency)).scalar() == 9


def test_names_of_our_own_stand_in_the_statement(connection):
    """`one_of` compares with several constants."""
    number = select(func.count().label("number"))
    assert Statement(number.where(one_of(accounts.c.account, "ab"))).first(connection).number == 1
    assert Statement(number.where(one_of(accounts.c.account, "bc"))).first(connection).number == 0
