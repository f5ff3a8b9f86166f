"""A table of plain values, and its three texts: for a terminal, for Markdown and for a spreadsheet.

Here belongs how cells look and what makes them harmless where they are opened. Which rows and columns
there are, and what they are called, belongs to whoever makes the table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

Cell = str | int | Decimal | bool | None

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that starts so for a formula, and a formula can send data away."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `name` for machines, `title` for people, figures flush right."""

    name: str
    title: str
    figure: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with as many cells as there are columns, and perhaps one that sums them up."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] | None = None


def as_text(table: Table) -> str:
    r"""The table for a terminal.

    >>> columns = (Column("team", "team"), Column("usd", "USD", figure=True))
    >>> rows = (("brand\x1b[2J", Decimal("0.825")), ("social", Decimal("1250.00")))
    >>> print(as_text(Table(columns, rows, ("total", Decimal("1250.825")))))
    team             USD
    ---------  ---------
    brand [2J      0.825
    social     1,250.000
    ---------  ---------
    total      1,250.825
    """
    from tabulate import SEPARATING_LINE, tabulate

    rows: list[Any] = _texts(table)
    if table.total is not None:
        rows.insert(-1, SEPARATING_LINE)
    titles = [column.title for column in table.columns]
    return tabulate(rows, titles, tablefmt="simple", colalign=_alignment(table), disable_numparse=True)


def as_markdown(table: Table) -> str:
    """The table for a pull request or a wiki; nothing in a cell acts as markup.

    >>> columns = (Column("team", "team"), Column("settled", "charged", figure=True))
    >>> print(as_markdown(Table(columns, (("a|b", 4),), ("total", 4))))
    | team      |   charged |
    |:----------|----------:|
    | a\\|b      |         4 |
    | **total** |     **4** |
    """
    from tabulate import tabulate

    rows = [list(map(_escaped, row)) for row in _texts(table)]
    if table.total is not None:
        rows.append([f"**{text}**" if text else "" for text in rows.pop()])
    titles = [_escaped(column.title) for column in table.columns]
    return tabulate(rows, titles, tablefmt="pipe", colalign=_alignment(table), disable_numparse=True)


def as_csv(table: Table) -> str:
    """The rows for a spreadsheet, without the total: figures plain, and no text that acts as a formula.

    >>> as_csv(Table((Column("team", "team"), Column("usd", "USD")), (("=1+1", Decimal("0.30")),)))
    "team,usd\\n'=1+1,0.30\\n"
    """
    rows = [[_harmless(column.name) for column in table.columns], *(map(_plain, row) for row in table.rows)]
    return "".join(map(_csv_line, rows))


def _csv_line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    # With its own line end the writer quotes a lone carriage return too, which readers take for one.
    csv.writer(text).writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _alignment(table: Table) -> list[str] | None:
    """tabulate wants no alignment where there is nothing to align."""
    if not table.rows and table.total is None:
        return None
    return ["right" if column.figure else "left" for column in table.columns]


def _texts(table: Table) -> list[list[str]]:
    """Every row as people read it, the total last; money of one column has the same decimals."""
    rows = [*table.rows, *([] if table.total is None else [table.total])]
    decimals = [max(map(_decimals, column)) for column in zip(*rows, strict=True)]
    return [[_shown(cell, places) for cell, places in zip(row, decimals, strict=True)] for row in rows]


def _decimals(cell: Cell) -> int:
    exponent = cell.as_tuple().exponent if isinstance(cell, Decimal) else 0
    return -exponent if isinstance(exponent, int) else 0


def _shown(cell: Cell, decimals: int) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case Decimal():
            return f"{cell:,.{decimals}f}"
        case int():
            return f"{cell:,}"
        case _:
            return "".join(c if c.isprintable() else " " for c in cell)


def _escaped(text: str) -> str:
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", text)


def _plain(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case Decimal():
            return f"{cell:f}"
        case int():
            return str(cell)
        case _:
            return _harmless(cell)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
