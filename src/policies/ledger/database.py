"""The way to the database: opening it, fair write transactions, and its failures in our words.

Here belongs what differs between engines. What is read and written belongs to `store`.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from planner.errors import ConfigError, OperatorError

LOCK_WAIT_SECONDS: Final = 20.0
"""How long a writer waits for the others before it says that the ledger is locked."""

_READING: Final = "planner_reading"


def sqlite_path(url: str) -> Path:
    """The file of an SQLite address; raises `ConfigError` for anything else."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _bad_address(url) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise _bad_address(url)
    return Path(parsed.database).resolve()


def _bad_address(url: str) -> ConfigError:
    shown = url.partition("@")[2] or url
    return ConfigError(
        f"`{shown.partition('?')[0]}` is not a ledger address",
        code="bad_ledger",
        hint="for example sqlite:///spend.db",
    )


def open_engine(url: str) -> Engine:
    """An engine whose transactions begin when we say so, and whose commits are on disk."""
    path = sqlite_path(url)
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        hide_parameters=True,
        connect_args={"timeout": 0, "check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    _open.add(engine)
    return engine


_open: weakref.WeakSet[Engine] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """A connection must not be used on both sides of a fork: the child opens its own."""
    for engine in tuple(_open):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_to_parent)


def _prepare(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        _patiently(lambda pragma=pragma: connection.execute(f"PRAGMA {pragma}"))


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment of the ledger and writes nothing."""
    reader = engine.execution_options(**{_READING: True})
    with translated(), reader.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is either wholly on disk when it ends, or never happened."""
    with translated(), engine.connect() as connection:
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
    original = getattr(error, "orig", error)
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


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


@contextmanager
def translated() -> Iterator[None]:
    """Database failures as one line that says what to do; anything else passes."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        original = getattr(error, "orig", error)
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_CONSTRAINT or isinstance(original, sqlite3.ProgrammingError):
            raise
        problem, hint = _HINTS.get(code, (str(original), ""))
        raise OperatorError(f"the ledger cannot be used: {problem}", hint=hint) from None
