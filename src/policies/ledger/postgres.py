"""PostgreSQL, for many hosts: transactions that begin with their locks and end on the server's disk.

Here belongs what only PostgreSQL needs. Nothing of it outlives a transaction, so that a pooler in
transaction mode may stand before the server: no prepared statement, no search path, no session lock.

Every writing transaction enters by one gate. Most pass it side by side and lock rows in one order: the
account, the entry, the counters by id. What changes many rows at once, such as bringing a policy in
force, goes through alone.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from planner.errors import ConfigError, OperatorError

T = TypeVar("T")

DRIVER: Final = "postgresql+psycopg"
SCHEMA: Final = "planner"
LOCK_WAIT_SECONDS: Final = 20
"""How long a writer waits for the others before it says that the ledger is locked."""

OPTION: Final = "planner_schema"
_NOW: Final = "planner_now_us"


class Contended(Exception):
    """Somebody else was faster: the transaction is rolled back and done again."""


def open_server(url: URL) -> Engine:
    """An engine on the schema that the address names (`?schema=`), else on `planner`."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        hint = "install it with `pip install 'fashn-planner[postgres]'`"
        message = "a ledger in PostgreSQL needs psycopg"
        raise ConfigError(message, code="missing_extra", hint=hint) from None
    engine = create_engine(
        url.difference_update_query(["schema"]).set(drivername=DRIVER),
        hide_parameters=True,
        connect_args={"prepare_threshold": None, "application_name": "fashn-planner"},
        pool_size=5,
        max_overflow=45,
    )
    return on(engine, str(url.query.get("schema", SCHEMA)))


def on(engine: Engine, schema: str) -> Engine:
    """An engine, perhaps of a host's own, as a ledger uses it; the host's own use of it stays as it is."""
    if engine.driver != "psycopg":
        message = f"a ledger in PostgreSQL needs the driver psycopg, not `{engine.driver}`"
        raise ConfigError(message, code="bad_ledger", hint=f"write the address as {DRIVER}://…")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        hint = "use small letters, digits and _"
        raise ConfigError(f"`{schema}` is not a name for a schema", code="bad_ledger", hint=hint)
    return engine.execution_options(
        isolation_level="AUTOCOMMIT",  # what begins and ends is said below, with its locks
        schema_translate_map={None: schema},
        **{OPTION: schema},
    )


def schema_of(engine: Engine) -> str:
    found: str = engine.get_execution_options()[OPTION]
    return found


def shown(engine: Engine) -> str:
    """The address as people may see it: without user and password."""
    url = engine.url
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or ''}{port}/{url.database or ''} ({schema_of(engine)})"


# -- transactions --------------------------------------------------------------------------------

_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit TO on;"
    f" SET LOCAL lock_timeout TO '{LOCK_WAIT_SECONDS}s'"
)
# Whoever waits for a lock has the time when it has got it, so that the clock of an account never steps back.
_TIME: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def reading(engine: Engine) -> Any:
    """A transaction that sees one moment of the ledger and writes nothing."""
    return _transaction(engine, f"{_READ}; {_TIME}")


def writing(engine: Engine, *, alone: bool, account: str | None) -> Any:
    """A transaction, alone or with an account to itself, that is on the server's disk when it ends."""
    schema = schema_of(engine)
    words = [_WRITE, f"LOCK TABLE {schema}.facts IN {'EXCLUSIVE' if alone else 'ROW SHARE'} MODE"]
    if account is not None:
        words.append(_lock(schema, f"hashtext({_literal(account)})"))
    return _transaction(engine, "; ".join([*words, _TIME]))


def making(engine: Engine) -> Any:
    """A transaction that makes or changes the tables; one at a time for each schema."""
    schema = schema_of(engine)
    made = f"CREATE SCHEMA IF NOT EXISTS {schema}"
    return _transaction(engine, "; ".join([_WRITE, _lock(schema, "0"), made, _TIME]))


def _lock(schema: str, what: str) -> str:
    """A lock that ends with the transaction, for what may have no row to lock."""
    return f"SELECT pg_advisory_xact_lock(hashtext('planner.{schema}'), {what})"


@contextmanager
def _transaction(engine: Engine, begin: str) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection = _begun(connection, begin)
        try:
            yield connection
        except BaseException:
            with suppress(Exception):  # a connection that is gone has rolled back already
                connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _begun(connection: Connection, begin: str) -> Connection:
    """Begin on a connection, or on a new one where the pool's has been cut off meanwhile."""
    try:
        connection.info[_NOW] = _last_value(connection, begin)
    except Exception:
        if not _raw(connection).closed:
            with suppress(Exception):
                _raw(connection).rollback()
            raise
        connection.invalidate()
        connection.info[_NOW] = _last_value(connection, begin)
    return connection


def _last_value(connection: Connection, statements: str) -> int:
    """Send several statements at once, which saves the round trips; the value of the last."""
    with _raw(connection).cursor() as cursor:
        cursor.execute(statements)
        while cursor.nextset():
            pass
        (value,) = cursor.fetchone()
        return int(value)


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _literal(text: str) -> str:
    from psycopg.sql import Literal

    return Literal(text).as_string(None)


def now_us(connection: Connection) -> int:
    """The server's clock when the transaction began, in micro-seconds of UTC."""
    found: int = connection.info[_NOW]
    return found


def clock_us(engine: Engine) -> int:
    """The server's clock now."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(_TIME).scalar_one())


def repeated(work: Callable[[], T]) -> T:
    """Do a transaction again where others came in between; each time somebody else got on."""
    until = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return work()
        except Exception as error:
            if not (isinstance(error, Contended) or _state(error) in _REPEATABLE):
                raise
            if time.monotonic() > until:
                message = "the ledger cannot be used: others keep coming in between"
                raise OperatorError(message, hint="run the same command again") from None
        time.sleep(random.uniform(0.0005, 0.0015))


_REPEATABLE: Final = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "23505",  # a key or a counter that somebody else has made meanwhile
    }
)

# -- failures ------------------------------------------------------------------------------------


def _state(error: BaseException) -> str | None:
    found: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return found


def is_ours(error: BaseException) -> bool:
    """Whether a failure came from the driver, directly or through SQLAlchemy."""
    original = getattr(error, "orig", error) if isinstance(error, DBAPIError) else error
    return type(original).__module__.partition(".")[0] == "psycopg"


_HINTS: Final = {
    "25006": ("the server only reads", "name the primary server with --ledger"),
    "42501": (
        "the role may not do that",
        "let `planner ledger upgrade` be run by a role that may, or grant it the schema",
    ),
    "53100": ("the server's disk is full", "free some space and run the same command again"),
    "53300": ("the server has no connection left", "close some, or put a pooler before it"),
    "55P03": ("it stays locked by another process", "wait for the other process, or end it"),
    "3D000": ("the server has no such database", "create it, or name another with --ledger"),
    "28P01": ("the server refuses the password", "check user and password of the address"),
    "28000": ("the server refuses the user", "check user and password of the address"),
}
_SAID: Final = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    (r'role ".*" does not exist', "28000"),
    (r'database ".*" does not exist', "3D000"),
    ("too many clients|remaining connection slots", "53300"),
)
"""A refused connection has no code, only what the server said."""


def trouble(error: BaseException) -> tuple[str, str] | None:
    """What a failure of PostgreSQL means and what to do about it; None for a defect of ours."""
    state = _state(error)
    if state in _HINTS:
        return _HINTS[state]
    if state is not None and state[:2] in ("22", "23", "40", "42"):
        return None
    original = getattr(error, "orig", error)
    said = str(original)
    for pattern, code in _SAID:
        if re.search(pattern, said):
            return _HINTS[code]
    if state is None or state[:2] in ("08", "57"):
        return "the server cannot be reached", "check that it runs, and host and port of the address"
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    return primary or type(original).__name__, ""
