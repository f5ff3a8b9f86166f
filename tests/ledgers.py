"""Which engine the ledgers of a test stand in: a file of SQLite, or a schema of a real PostgreSQL.

A test that is to hold on both asks for the fixture `each_engine` and names its ledger by a path; what
stands there is an SQLite file, or on the server a schema that is made when the path is first named.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests import postgres

ENGINES = ("sqlite", "postgresql")
_in_use = ["sqlite"]
_urls: dict[Path, str] = {}


@contextmanager
def using(engine: str) -> Iterator[None]:
    """Let the ledgers that are named meanwhile stand in that engine."""
    _in_use.append(engine)
    try:
        yield
    finally:
        _in_use.pop()


def is_postgres() -> bool:
    return _in_use[-1] == "postgresql"


def examples(number: int) -> int:
    """How many examples to try: a server answers more slowly and has the same laws, so fewer do there."""
    return max(number // 8, 3) if is_postgres() else number


def url(file: Path) -> str:
    """The address of the ledger that belongs to that path."""
    if not is_postgres():
        return f"sqlite:///{file}"
    if file not in _urls:
        _urls[file] = postgres.new_url()
    return _urls[file]


def tamper(file: Path, statements: str) -> None:
    """Change a ledger behind the ledger's back."""
    if is_postgres():
        postgres.execute(url(file), statements)
        return
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(statements)


def copy(source: Path, target: Path) -> None:
    """A ledger of its own with the same rows."""
    if is_postgres():
        postgres.copy(url(source), url(target))
        return
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
