"""SQLite, for one host: a file, its write-ahead log, and one fair writer at a time.

Here belongs what only SQLite needs: its pragmas, how a writer waits for the others, and what its
failures mean. What is read and written belongs to `store`.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

LOCK_WAIT_SECONDS: Final = 20.0
"""How long a writer waits for the others before it says that the ledger is locked."""

_READING: Final = "planner_reading"


def open_file(path: Path) -> Engine:
    """An engine whose transactions begin when we say so, and whose commits are on disk."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        hide_parameters=True,
        connect_args={"timeout": 0, "check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        _patiently(lambda pragma=pragma: connection.execute(f"PRAGMA {pragma}"))


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READING, False)
    raw: Any = connection.connection.driver_connection
    raw.execute("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment of the ledger and writes nothing."""
    reader = engine.execution_options(**{_READING: True})
    with reader.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that nobody else writes beside."""
    with engine.connect() as connection:
        transaction = _patiently(connection.begin)
        try:
            yield connection
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()


def _patiently(attempt: Any) -> Any:
    """Try until the lock is ours; a short constant random pause is what keeps writers fair."""
    until = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return attempt()
        except (DBAPIError, sqlite3.OperationalError) as error:
            if not _is_locked(error) or time.monotonic() > until:
                raise
        time.sleep(random.uniform(0.0005, 0.0015))


def _is_locked(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: BaseException) -> int:
    found: int = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return found & 0xFF


_HINTS: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run the same command again"),
    sqlite3.SQLITE_READONLY: ("the file or its folder cannot be written", "check its permissions"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "check that its folder exists and can be written"),
    sqlite3.SQLITE_PERM: ("the file cannot be opened", "check its permissions"),
    sqlite3.SQLITE_BUSY: ("it stays locked by another process", "wait for the other process, or end it"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check the disk and run `planner ledger verify`"),
    sqlite3.SQLITE_CORRUPT: ("the file is damaged", "restore it from a copy"),
    sqlite3.SQLITE_NOTADB: ("the file is not a ledger", "name another file with --ledger"),
}


def trouble(error: BaseException) -> tuple[str, str] | None:
    """What a failure of SQLite means and what to do about it; None for a defect of ours."""
    original = getattr(error, "orig", error)
    if _code(error) == sqlite3.SQLITE_CONSTRAINT or isinstance(original, sqlite3.ProgrammingError):
        return None
    return _HINTS.get(_code(error), (str(original), ""))
