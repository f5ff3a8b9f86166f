"""The products that a matrix goes through: the rows of a table file, by the names its templates use.

Here belongs what a shop's export does to a product: HTML in a description, rows of further variants
that leave out what the first row said. What is made of the products belongs to `matrix`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

from planner.errors import InputError
from planner.sheets import Broken, Sheet, Source, cell_text, open_sheet
from planner.templates import placeholder

_OF_ALL_VARIANTS: Final = ("title", "body_html", "vendor", "type", "product_category", "tags", "status")
"""What a shop writes only into the first of the rows with one handle."""
_BLOCKS: Final = frozenset({"br", "div", "h1", "h2", "h3", "h4", "li", "p", "td", "tr", "ul"})
_HIDDEN: Final = frozenset({"script", "style"})


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the products file."""

    values: Mapping[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class Products:
    """All rows of a products file, and the names of its columns as templates say them."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Product, ...]


def read_products(source: Source) -> Products:
    """The products of any table file; raises `InputError` for one that is none, or has a broken row."""
    with open_sheet(source) as sheet:
        found = [*_filled(_rows(sheet, source.name))]
    columns = dict.fromkeys(name for product in found for name in product.values)
    header = [name for name in map(placeholder, sheet.header) if name]
    return Products(source.name, tuple(dict.fromkeys([*header, *columns])), tuple(found))


def _rows(sheet: Sheet, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    names = [placeholder(text) for text in sheet.header]
    for line, cells in sheet.rows:
        if isinstance(cells, Broken):
            raise _broken(cells, f"{name}:{line}")
        if any(map(str.strip, cells)):
            padded = cells + [""] * (len(names) - len(cells))
            yield line, {column: text for column, text in zip(names, padded, strict=False) if column}
    for line, record in sheet.records:
        if isinstance(record, Broken):
            raise _broken(record, f"{name}:{line}")
        yield line, {placeholder(column): cell_text(value) for column, value in record.items()}


def _broken(row: Broken, where: str) -> InputError:
    return InputError(row.message, code="broken_row", where=where, hint=row.hint)


def _filled(rows: Iterator[tuple[int, dict[str, str]]]) -> Iterator[Product]:
    """The rows with HTML as text, and further rows of a handle with what its first row says."""
    first: dict[str, dict[str, str]] = {}
    for line, values in rows:
        for column in values:
            if column.endswith("_html"):
                values[column] = plain_text(values[column])
        known = first.setdefault(handle, values) if (handle := values.get("handle", "")) else values
        if known is not values and not values.get("title", "").strip():
            missing = [column for column in _OF_ALL_VARIANTS if not values.get(column, "").strip()]
            values.update({column: known[column] for column in missing if column in known})
        yield Product(values, line)


def plain_text(html: str) -> str:
    """The text of a piece of HTML, on one line.

    >>> plain_text("<p>A cr&ecirc;pe dress.</p><ul><li>Silk &amp; wool</li></ul>")
    'A crêpe dress. Silk & wool'
    """
    if "<" not in html and "&" not in html:
        return html
    reader = _Text()
    reader.feed(html)
    reader.close()
    return " ".join("".join(reader.found).split())


class _Text(HTMLParser):
    """Collects what a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN
        if tag in _BLOCKS:
            self.found.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _HIDDEN and self._hidden > 0
        if tag in _BLOCKS:
            self.found.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)
