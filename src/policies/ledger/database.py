"""The way to the database: opening it, transactions, the store's clock, and failures in our words.

Here belongs choosing between the engines. What differs between them stands in `sqlite` and `postgres`;
what is read and written belongs to `store`.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from planner.errors import ConfigError, OperatorError
from policies.ledger import postgres, sqlite
from policies.ledger.postgres import repeated as repeated

# -- addresses -----------------------------------------------------------------------------------


def sqlite_path(url: str) -> Path:
    """The file of an SQLite address; raises `ConfigError` for anything else.

    >>> sqlite_path("sqlite:////srv/spend.db").name
    'spend.db'
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise _bad_address(url)
    return Path(parsed.database).resolve()


def open_engine(url: str) -> Engine:
    """The engine of a ledger's address; nothing is connected yet."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        engine = postgres.open_server(parsed)
    else:
        engine = sqlite.open_file(sqlite_path(url))
    _open.add(engine)
    return engine


def adopt(engine: Engine) -> Engine:
    """A host's own engine as a ledger uses it; raises `ConfigError` for one that is not PostgreSQL's.

    The execution option `planner_schema` names another schema than `planner`.
    """
    if not is_server(engine):
        message, hint = "a ledger in SQLite has an engine of its own", "pass the address instead"
        raise ConfigError(message, code="bad_ledger", hint=hint)
    return postgres.on(engine, engine.get_execution_options().get(postgres.OPTION, postgres.SCHEMA))


def is_server(engine: Engine) -> bool:
    """Whether many hosts may write to it, side by side."""
    return engine.dialect.name == "postgresql"


def is_shared(connection: Connection) -> bool:
    """Whether others may write while this transaction does."""
    return connection.dialect.name == "postgresql"


def shown(engine: Engine) -> str:
    """The ledger as people may see it named: a path, or an address without a password."""
    return postgres.shown(engine) if is_server(engine) else str(engine.url.database)


def schema_of(engine: Engine) -> str | None:
    """The schema that its tables stand in; None for SQLite, which has none."""
    return postgres.schema_of(engine) if is_server(engine) else None


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise _bad_address(url) from None


def _bad_address(url: str) -> ConfigError:
    shown = url.partition("@")[2] or url
    return ConfigError(
        f"`{shown.partition('?')[0]}` is not a ledger address",
        code="bad_ledger",
        hint="for example sqlite:///spend.db",
    )


_open: weakref.WeakSet[Engine] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """A connection must not be used on both sides of a fork: the child opens its own."""
    for engine in tuple(_open):
        if not is_server(engine):
            sqlite.leave_to_parent(engine)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_to_parent)

# -- transactions --------------------------------------------------------------------------------


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that sees one moment of the ledger and writes nothing."""
    return _Translated(postgres.reading(engine) if is_server(engine) else sqlite.reading(engine))


def writing(
    engine: Engine, *, alone: bool = False, account: str | None = None
) -> AbstractContextManager[Connection]:
    """A transaction that is either wholly on disk when it ends, or never happened.

    With SQLite nobody else writes meanwhile. With PostgreSQL that is so for one that asks to be `alone`;
    one for an `account` has that account to itself.
    """
    if is_server(engine):
        return _Translated(postgres.writing(engine, alone=alone, account=account))
    return _Translated(sqlite.writing(engine))


def making(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that makes or changes the tables themselves."""
    return _Translated(postgres.making(engine) if is_server(engine) else sqlite.writing(engine))


def missing_events(engine: Engine) -> int:
    """How many events a ledger's file has lost, as an older copy put back has; a server's says 0."""
    if is_server(engine):
        return 0
    with _Translated():
        return sqlite.missing_events(engine)


def server_now_us(connection: Connection) -> int | None:
    """The clock that all hosts share, as of this transaction; None where there is one host."""
    return postgres.now_us(connection) if is_shared(connection) else None


def server_clock_us(engine: Engine) -> int:
    """The same, outside a transaction."""
    with _Translated():
        return postgres.clock_us(engine)


_NOTHING: Final = nullcontext()


class _Translated(AbstractContextManager[Any]):
    """What is done within, with database failures as one line that says what to do; all else passes.

    A class, and entering the transaction by itself, because two nested generators would cost as much as
    two statements.
    """

    __slots__ = ("_begun",)

    def __init__(self, begun: AbstractContextManager[Any] = _NOTHING) -> None:
        self._begun = begun

    def __enter__(self) -> Any:
        try:
            return self._begun.__enter__()
        except Exception as error:
            _say(error)
            raise

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self._begun.__exit__(kind, error, trace)
        except Exception as failed:
            _say(failed)
            raise
        if isinstance(error, Exception):
            _say(error)


def _say(error: Exception) -> None:
    trouble = _trouble(error)
    if trouble is not None:
        problem, hint = trouble
        raise OperatorError(f"the ledger cannot be used: {problem}", hint=hint) from None


def _trouble(error: Exception) -> tuple[str, str] | None:
    if postgres.is_ours(error):
        return postgres.trouble(error)
    return sqlite.trouble(error) if isinstance(error, DBAPIError | sqlite3.Error) else None
