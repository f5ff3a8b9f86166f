"""`planner ledger upgrade`: a server waits for it, and it says what it did."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from policies.ledger.schema import VERSION
from tests import postgres

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def old():
    """The address of a ledger of version 1 on the server."""
    url = postgres.new_url()
    schema = make_url(url).query["schema"]
    made = f"CREATE SCHEMA {schema}; SET search_path TO {schema};\n"
    postgres.execute(url, made + (DATA / "ledger-v1.postgresql.sql").read_text())
    return url


def test_a_server_is_upgraded_when_somebody_says_so(planner, old):
    """Until then every command that opens it is refused, with the command that helps."""
    refused = planner("ledger", "show", "--ledger", old)
    assert refused.code == 2
    assert "was made by an older version (schema 1)" in refused.err
    assert "`planner ledger upgrade`" in refused.err
    done = planner("ledger", "upgrade", "--ledger", old)
    assert (done.code, done.out.strip().endswith(f"upgraded from schema 1 to {VERSION}")) == (0, True)
    again = planner("ledger", "upgrade", "--ledger", old, "--json")
    assert again.document == {"schema": "planner.ledger-upgrade/1", "before": VERSION, "after": VERSION}
    assert planner("ledger", "verify", "--ledger", old).code == 0
    assert "schema=" not in done.out


def test_the_statements_can_be_given_to_somebody_else(planner, old):
    """`--sql` changes nothing and writes what changes it."""
    written = planner("ledger", "upgrade", "--sql", "--ledger", old)
    assert written.code == 0
    assert planner("ledger", "upgrade", "--sql", "--json", "--ledger", old).document["sql"] == written.out
    assert planner("ledger", "show", "--ledger", old).code == 2
    postgres.execute(old, written.out)
    assert planner("ledger", "show", "--ledger", old).code == 0
    assert "nothing to do" in planner("ledger", "upgrade", "--sql", "--ledger", old).out


def test_an_empty_server_is_given_a_ledger(planner):
    """Whoever owns the database makes the ledger; the second time there is nothing to do."""
    url = postgres.new_url()
    assert planner("ledger", "upgrade", "--ledger", url).out.strip().endswith(f"made (schema {VERSION})")
    assert (
        planner("ledger", "upgrade", "--ledger", url)
        .out.strip()
        .endswith(f"is up to date (schema {VERSION})")
    )


def test_a_missing_file_is_not_made(planner, folder):
    """A mistyped name is an error."""
    found = planner("ledger", "upgrade", "--ledger", "spand.db")
    assert (found.code, [*folder.iterdir()]) == (2, [])
    assert "there is no ledger" in found.err


def test_a_server_that_is_not_there_is_one_line(planner):
    """Exit 3 and no password."""
    found = planner("ledger", "upgrade", "--ledger", "postgresql+psycopg://me:secret@127.0.0.1:1/db")
    assert (found.code, "secret" in found.err, "Traceback" in found.err) == (3, False, False)
    assert "cannot be reached" in found.err
