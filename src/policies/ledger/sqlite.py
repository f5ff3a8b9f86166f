"""SQLite, for one host: a file, its write-ahead log, and one fair writer at a time.

Here belongs what only SQLite needs: its pragmas, how a writer waits for the others, and what its
failures mean. What is read and written belongs to `store`.
"""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from policies.ledger import latest
from policies.ledger.statements import driver

LOCK_WAIT_SECONDS: Final = 20.0
"""How long a writer waits for the others before it says that the ledger is locked."""

NOTE_SECONDS: Final = 1.0
"""How far the number beside the file may stay behind while one process writes and writes: to keep it with
every commit would slow each of them by a tenth."""

_FILE: Final = "planner_file"
_MOST_IDLE: Final = 5


class _File:
    """What is kept for an engine beside it."""

    __slots__ = ("idle", "mark", "note_at", "unnoted")

    def __init__(self, path: Path) -> None:
        self.mark = str(latest.mark_of(path))
        self.note_at = 0.0
        """From when on the number of the last event is kept beside the file again."""
        self.unnoted = False
        """Whether something was committed since it was."""
        self.idle: list[Connection] = []
        """For SQLAlchemy's pool to lend and take back a connection costs as much as a small transaction."""


def open_file(path: Path) -> Engine:
    """An engine whose transactions begin when we say so, and whose commits are on disk."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        hide_parameters=True,
        paramstyle="named",
        connect_args={"timeout": 0, "check_same_thread": False, "isolation_level": None},
    )
    engine.update_execution_options(**{_FILE: _File(path)})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "engine_disposed", _close_idle)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        _patiently(lambda pragma=pragma: connection.execute(f"PRAGMA {pragma}"))


# -- transactions --------------------------------------------------------------------------------


def reading(engine: Engine) -> Transaction:
    """A transaction that sees one moment of the ledger and writes nothing."""
    return Transaction(engine, "BEGIN", writes=False)


def writing(engine: Engine) -> Transaction:
    """A transaction that nobody else writes beside."""
    return Transaction(engine, "BEGIN IMMEDIATE", writes=True)


class Transaction:
    """What is done within it is on the disk when it ends, or, where it ends with an error, was never done."""

    __slots__ = ("_begin", "_connection", "_engine", "_file", "_writes")

    def __init__(self, engine: Engine, begin: str, *, writes: bool) -> None:
        self._engine, self._begin, self._writes = engine, begin, writes
        self._file = _file(engine)

    def __enter__(self) -> Connection:
        try:
            self._connection = self._file.idle.pop()
        except IndexError:
            self._connection = self._engine.connect()
        raw = driver(self._connection)
        try:
            _patiently(lambda: raw.execute(self._begin))
        except BaseException:
            self._lay_aside()
            raise
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        raw, last = driver(self._connection), None
        try:
            if error is None:
                last = self._last_event(raw) if self._writes else None
                raw.execute("COMMIT")
        finally:
            self._lay_aside()
        latest.note(self._file.mark, last)

    def _last_event(self, raw: sqlite3.Connection) -> latest.Last | None:
        """The number to be kept beside the file; None while the one that stands there is young."""
        file, now = self._file, time.monotonic()
        file.unnoted = now < file.note_at
        if file.unnoted:
            return None
        file.note_at = now + NOTE_SECONDS
        return latest.last_event(raw)

    def _lay_aside(self) -> None:
        """Keep the connection for the next transaction, with nothing left of this one."""
        connection, idle = self._connection, self._file.idle
        raw = driver(connection)
        if raw.in_transaction:
            raw.rollback()
        if connection.in_transaction():
            connection.rollback()  # SQLAlchemy keeps an account of its own
        if len(idle) < _MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()


def missing_events(engine: Engine) -> int:
    """How many events the file has had and has no longer: more than 0 for an older copy of it."""
    with reading(engine) as connection:
        return latest.missing_events(_file(engine).mark, driver(connection))


def _file(engine: Engine) -> _File:
    found: _File = engine.get_execution_options()[_FILE]
    return found


def _close_idle(engine: Engine) -> None:
    file = _file(engine)
    if file.idle and file.unnoted:
        latest.note(file.mark, latest.last_event(driver(file.idle[0])))
        file.unnoted = False
    while file.idle:
        file.idle.pop().close()


def leave_to_parent(engine: Engine) -> None:
    """Use no connection of the parent's in a child; not even to close it."""
    idle = _file(engine).idle
    _parents.extend(idle)
    idle.clear()


_parents: Final[list[Connection]] = []


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
