"""Statements that are written in Core, compiled once, and run on the driver's own cursor.

Executing a Core expression costs several times what the database needs for it. Here belongs the way
around that, for the few statements that every job needs; all others are executed as usual.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Dialect, and_, literal_column, select
from sqlalchemy.sql.expression import ClauseElement

from policies.ledger.states import OPEN, State

ONE: Final = select(literal_column("1").label("one")).subquery("one")
"""One row, beside which there may be none of a table."""

NO_VALUES: Final[Mapping[str, Any]] = {}


def one_of(column: ColumnElement[str], names: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column is one of these names, which are our own and so written into the statement."""
    return column.in_([literal_column(f"'{name}'") for name in sorted(names)])


def may_run(state: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a job is open or unknown, in the words of the index `open_entries`.

    By other words that mean the same, such as a part of these states alone, every entry would be read.
    """
    return one_of(state, OPEN | {State.UNKNOWN})


def is_open(state: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether an owner is at work on it, found by the same index."""
    return and_(may_run(state), ~one_of(state, {State.UNKNOWN}))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as one engine says it; both take values by name."""

    sql: str
    given: Mapping[str, Any]
    """What the statement brings itself."""
    row: Callable[[Iterable[Any]], Any] | None
    read: tuple[tuple[int, Callable[[Any], Any]], ...]
    """What has to be done to make a value of a column what it stands for."""

    def values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**self.given, **values} if self.given else values

    def made(self, row: tuple[Any, ...]) -> Any:
        assert self.row is not None
        if not self.read:
            return self.row(row)
        changed = list(row)
        for place, process in self.read:
            changed[place] = process(changed[place])
        return self.row(changed)


class Statement:
    """One statement of Core, with `bindparam`s; an insert names the columns that it is given.

    It must be run within a transaction of `database`, whose failures it leaves to be translated there.
    """

    __slots__ = ("_columns", "_compiled", "_core", "_last")

    def __init__(self, core: ClauseElement, columns: Iterable[str] | None = None) -> None:
        self._core = core
        self._columns = None if columns is None else [*columns]
        self._compiled: dict[tuple[str, str | None], _Compiled] = {}
        self._last: tuple[Connection, _Compiled, Callable[..., Any]] | None = None
        """The connection it was last run on, which of a file is mostly the same one, and the ways there."""

    def rows(self, connection: Connection, values: Mapping[str, Any] = NO_VALUES) -> list[Any]:
        """Every row, as a named tuple."""
        compiled, execute = self._on(connection)
        cursor = execute(compiled.sql, compiled.values(values))
        return [compiled.made(row) for row in cursor.fetchall()]

    def first(self, connection: Connection, values: Mapping[str, Any] = NO_VALUES) -> Any:
        """The first row, or None."""
        compiled, execute = self._on(connection)
        found = execute(compiled.sql, compiled.values(values)).fetchall()
        return compiled.made(found[0]) if found else None

    def run(self, connection: Connection, values: Mapping[str, Any] = NO_VALUES) -> int:
        """Carry out what returns no row; how many rows it has changed."""
        compiled, execute = self._on(connection)
        found: int = execute(compiled.sql, compiled.values(values)).rowcount
        return found

    def _on(self, connection: Connection) -> tuple[_Compiled, Callable[..., Any]]:
        """How the engine of that connection says it, and the driver's way to do it."""
        last = self._last
        if last is not None and last[0] is connection:
            return last[1], last[2]
        dialect, options = connection.dialect, connection.get_execution_options()
        schemas = options.get("schema_translate_map") or {}
        place = dialect.name, schemas.get(None)
        found = self._compiled.get(place)
        if found is None:
            found = self._compiled[place] = self._compile(dialect, schemas)
        execute = driver(connection).execute
        self._last = connection, found, execute
        return found, execute

    def _compile(self, dialect: Dialect, schemas: Mapping[Any, Any]) -> _Compiled:
        options: dict[str, Any] = {}
        if schemas:
            options |= {"schema_translate_map": schemas, "render_schema_translate": True}
        compiled: Any = self._core.compile(dialect=dialect, column_keys=self._columns, **options)
        columns = list(getattr(self._core, "exported_columns", ()))
        read = [
            (place, process)
            for place, column in enumerate(columns)
            if (process := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
        ]
        shape: Any = namedtuple("Row", [column.key for column in columns]) if columns else None
        return _Compiled(
            sql=str(compiled),
            given={
                name: bind.effective_value for bind, name in compiled.bind_names.items() if not bind.required
            },
            row=shape and shape._make,
            read=tuple(read),
        )


def driver(connection: Connection) -> Any:
    """The driver's own connection, below SQLAlchemy's."""
    return connection.connection.dbapi_connection
