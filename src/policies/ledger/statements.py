"""Statements that are written in Core, compiled once, and run on the driver's own cursor.

Executing a Core expression costs several times what the database needs for it. Here belongs the way
around that, for the few statements that every job needs; all others are executed as usual.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Dialect, literal_column
from sqlalchemy.sql.expression import ClauseElement

NO_VALUES: Final[Mapping[str, Any]] = {}


def one_of(column: ColumnElement[str], names: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column is one of these names, which are our own and so written into the statement."""
    return column.in_([literal_column(f"'{name}'") for name in sorted(names)])


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as one engine says it."""

    sql: str
    given: Mapping[str, Any]
    """What the statement brings itself."""
    places: tuple[str, ...] | None
    """The order of values; None where they go by name."""
    row: Callable[[tuple[Any, ...]], Any] | None
    read: tuple[tuple[int, Callable[[Any], Any]], ...]
    """What has to be done to make a value of a column what it stands for."""

    def values(self, values: Mapping[str, Any]) -> Any:
        known = {**self.given, **values}
        return known if self.places is None else [known[name] for name in self.places]

    def made(self, row: tuple[Any, ...]) -> Any:
        assert self.row is not None
        if self.read:
            changed = list(row)
            for place, process in self.read:
                changed[place] = process(changed[place])
            row = tuple(changed)
        return self.row(row)


class Statement:
    """One statement of Core, with `bindparam`s; an insert names the columns that it is given.

    It must be run within a transaction of `database`, whose failures it leaves to be translated there.
    """

    __slots__ = ("_columns", "_compiled", "_core")

    def __init__(self, core: ClauseElement, columns: Iterable[str] | None = None) -> None:
        self._core = core
        self._columns = None if columns is None else [*columns]
        self._compiled: dict[tuple[str, str | None], _Compiled] = {}

    def rows(self, connection: Connection, values: Mapping[str, Any] = NO_VALUES) -> list[Any]:
        """Every row, as a named tuple."""
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.sql, compiled.values(values))
            return [compiled.made(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def first(self, connection: Connection, values: Mapping[str, Any] = NO_VALUES) -> Any:
        """The first row, or None."""
        found = self.rows(connection, values)
        return found[0] if found else None

    def run(self, connection: Connection, values: Mapping[str, Any] = NO_VALUES) -> int:
        """Carry out what returns no row; how many rows it has changed."""
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.sql, compiled.values(values))
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _for(self, connection: Connection) -> _Compiled:
        schemas = connection.get_execution_options().get("schema_translate_map") or {}
        place = connection.dialect.name, schemas.get(None)
        found = self._compiled.get(place)
        if found is None:
            found = self._compiled[place] = self._compile(connection.dialect, schemas)
        return found

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
            places=tuple(compiled.positiontup) if compiled.positional else None,
            row=shape and shape._make,
            read=tuple(read),
        )
