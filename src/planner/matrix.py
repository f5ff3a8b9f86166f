"""A workload as a matrix: products x poses x ratios x seeds, written once in YAML and expanded as rows.

Here belong the form of such a file, its expansion into the rows of a table, and its price cells counted
without expanding it. What the rows mean belongs to `workload`, which reads them as those of any sheet.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Any, Final

from planner.cells import NO_FOLDER, checked_request, read_cell
from planner.columns import column_name, input_name, shown
from planner.documents import MOST_BYTES, Document, Path_, scan_yaml
from planner.errors import Fault, InputError, InvalidRequest, PlannerError, nearest
from planner.products import Product, Products, read_products
from planner.quoting import price_cell
from planner.request import CHOICES, FIELDS
from planner.sheets import Row, Sheet, Source, find_source, open_sheet
from planner.templates import Template, parse_template, placeholder

SUFFIXES: Final = (".yaml", ".yml")
KEYS: Final = ("workload", "products", "where", "each", "exclude", "key", "prompt", "defaults", "labels")
_PRICED: Final = ("resolution", "generation_mode", "num_images", "face_reference")
_CLOSED: Final = (*CHOICES, "seed", "num_images", "return_base64")

_Wanted = Mapping[str, frozenset[str]]
"""By name the texts that are meant; a condition holds where all its names do."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A checked matrix; nothing of it is expanded before it is asked for."""

    name: str
    """What its rows' lines count in: the YAML file, or behind its name the products file."""
    columns: Mapping[str, Template]
    """By column of the expanded table, in its order."""
    axes: Mapping[str, Sequence[str]]
    excludes: Sequence[_Wanted]
    products: Sequence[Product]
    line: int

    def rows(self) -> Iterator[Row]:
        """The rows of the expanded table, the last axis turning fastest, each with its product's line."""
        return chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[list[Row]]:
        axes = [*self.axes.items()]
        for item in self.products:
            left = _left(self.excludes, item.values)
            if left is not None:
                filled = [column.filled(item.values) for column in self.columns.values()]
                yield from _turned(item.line, filled, axes, left)

    def cells(self) -> Counter[int]:
        """How many jobs fall into each of `quoting.CELLS`, counted without expanding them.

        Rows that are the same job under the same key count once each: only expanding finds those.
        Raises `InputError` where a combination is no valid request.
        """
        priced = {field: self.columns[field] for field in _PRICED if field in self.columns}
        names = {name for column in priced.values() for name in column.names}
        names |= {name for exclude in self.excludes for name in exclude}
        axes = {name: values for name, values in self.axes.items() if name in names}
        times = prod(len(values) for name, values in self.axes.items() if name not in names)
        asked = sorted(names - self.axes.keys())
        alike = Counter(tuple(item.values.get(name, "") for name in asked) for item in self.products)
        found = Counter[int]()
        for texts, number in alike.items():
            for combination in product(*axes.values()):
                values = dict(zip(asked, texts, strict=True)) | dict(zip(axes, combination, strict=True))
                if _left(self.excludes, values) is not None:
                    found[self._cell(priced, values)] += number * times
        return found

    def _cell(self, priced: Mapping[str, Template], values: Mapping[str, str]) -> int:
        read = {field: read_cell(field, column.text(values))[0] for field, column in priced.items()}
        given = {field: value for field, value in read.items() if value is not None}
        if "face_reference" in given:
            given["face_reference"] = "https://"  # that there is one decides the price
        return price_cell(checked_request({"prompt": "-", **given}, NO_FOLDER))


def _left(excludes: Sequence[_Wanted], values: Mapping[str, str]) -> list[_Wanted] | None:
    """The excludes that those values leave open; None where one of them holds."""
    left = list[_Wanted]()
    for exclude in excludes:
        if any(name in values and values[name] not in texts for name, texts in exclude.items()):
            continue
        rest = {name: texts for name, texts in exclude.items() if name not in values}
        if not rest:
            return None
        left.append(rest)
    return left


def _turned(
    line: int,
    columns: Sequence[Template],
    axes: Sequence[tuple[str, Sequence[str]]],
    excludes: Sequence[_Wanted],
) -> Iterator[list[Row]]:
    """The rows of one product, as many at once as the last axis has values.

    What does not change with an axis is filled in outside of it, and what changes with the last one is
    filled in by column: most rows cost one tuple and one list.
    """
    if not axes:
        yield [(line, [column.pieces[0] for column in columns])]
        return
    (name, values), further = axes[0], axes[1:]
    if not further:
        gone = frozenset[str]().union(*(exclude[name] for exclude in excludes))
        yield _block(line, columns, [value for value in values if value not in gone] if gone else values)
        return
    for value in values:
        left = _left(excludes, {name: value})
        if left is not None:
            known = {name: value}
            filled = [column.filled(known) if name in column.names else column for column in columns]
            yield from _turned(line, filled, further, left)


def _block(line: int, columns: Sequence[Template], values: Sequence[str]) -> list[Row]:
    """The rows of columns in which nothing but those values is left to fill in."""
    number = len(values)
    texts = [
        [value.join(column.pieces) for value in values] if column.names else [column.pieces[0]] * number
        for column in columns
    ]
    return [(line, [*cells]) for cells in zip(*texts, strict=True)]


# -- opening -------------------------------------------------------------------------------------


def is_matrix(source: Source) -> bool:
    """Whether a source is a matrix: by its name, or from a pipe by its first word."""
    if source.name.lower().endswith(SUFFIXES):
        return True
    if source.folder is not None:
        return False
    with source.open() as stream:
        return stream.read(9) == b"workload:"


@contextmanager
def open_rows(source: Source) -> Iterator[tuple[Sheet, str]]:
    """The rows of any workload, and the name of the file that their lines count in."""
    if not is_matrix(source):
        with open_sheet(source) as sheet:
            yield sheet, source.name
        return
    matrix = read_matrix(source)
    yield Sheet([*matrix.columns], matrix.line, matrix.rows(), iter(()), False, "utf-8"), matrix.name


def read_matrix(source: Source) -> Matrix:
    """The matrix in a source; raises `InputError` with every fault of it, before anything is expanded."""
    with source.open() as stream:
        data = stream.read(MOST_BYTES + 1)
    try:
        document = scan_yaml(data.decode("utf-8-sig"), source.name)
    except UnicodeDecodeError:
        hint = "save it as UTF-8"
        raise InputError(
            "the file is not UTF-8 text", code="unreadable_file", where=source.name, hint=hint
        ) from None
    except PlannerError as error:
        raise InputError(faults=error.faults) from None
    reader = _Reader(document, source)
    matrix = reader.read()
    if reader.faults:
        raise InputError(faults=reader.faults)
    return matrix


# -- checking ------------------------------------------------------------------------------------


class _Reader:
    """Checks a document part by part; a class because they share the names there are and the faults."""

    def __init__(self, document: Document, source: Source) -> None:
        self.document = document
        self.source = source
        self.faults = [*document.faults]
        self.data = document.data if isinstance(document.data, dict) else {}
        self.products: Products | None = None
        self.axes: dict[str, list[str]] = {}

    def blame(self, message: str, path: Path_, hint: str = "", code: str = "matrix") -> None:
        self.faults.append(Fault(code, message, self.document.where(path), hint=hint))

    def read(self) -> Matrix:
        self._check_keys()
        self.products = self._products()
        self.axes = self._axes()
        wheres = self._condition(self.data.get("where"), ("where",), self._product_columns())
        columns, excludes = self._columns(), self._excludes()
        line = int(self.document.where(("each",)).rpartition(":")[2])
        found = self.products
        rows = [Product({}, line)] if found is None else [p for p in found.rows if _holds(wheres, p.values)]
        name = self.source.name if found is None else f"{self.source.name}, {found.name}"
        self._check_values(columns, rows, name)
        return Matrix(name, columns, self.axes, excludes, rows, line)

    def _check_keys(self) -> None:
        if self.data.get("workload") != 1:
            self.blame("a matrix begins with `workload: 1`", ("workload",), "write it as the first line")
        for key in self.data:
            if key not in KEYS:
                guess = nearest(key, KEYS)
                hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(KEYS)
                self.blame(f"`{shown(key)}` is not known here", (key,), hint, "unknown_key")

    def _products(self) -> Products | None:
        name = self.data.get("products")
        if name is None:
            return None
        if not isinstance(name, str) or self.source.folder is None:
            hint = "from a pipe there is no folder; save the matrix as a file"
            self.blame("`products` is no file beside this one", ("products",), hint)
            return None
        try:
            return read_products(find_source(os.path.normpath(os.path.join(self.source.folder, name))))
        except InputError as error:
            self.faults += error.faults
            return None

    def _product_columns(self) -> Sequence[str]:
        return self.products.columns if self.products else ()

    def _texts(self, given: Any, path: Path_) -> list[str]:
        """A value or a list of values as texts, without those that are none."""
        items, found = given if isinstance(given, list) else [given], list[str]()
        for place, item in enumerate(items):
            if item is None or isinstance(item, (list, dict)):
                self.blame("not a plain value", (*path, place), "write text or a number; quote what is empty")
            else:
                found.append(_text(item))
        return found

    def _mapping(self, key: str) -> dict[str, Any]:
        given = self.data.get(key)
        if given is not None and not isinstance(given, dict):
            self.blame(f"`{key}` is not a mapping of names to values", (key,))
        return given if isinstance(given, dict) else {}

    def _axes(self) -> dict[str, list[str]]:
        axes: dict[str, list[str]] = {}
        for given, values in self._mapping("each").items():
            path, name = ("each", given), input_name(given) or placeholder(given)
            texts = self._texts(values, path)
            if not texts:
                self.blame(f"the axis `{shown(given)}` is empty", path, "give it a value, or leave it out")
            if len(set(texts)) < len(texts):
                self.blame(f"the axis `{shown(given)}` has a value twice", path, "keep one of the two")
            if name in axes or name in self._product_columns():
                self.blame(f"`{shown(given)}` stands twice, here or in the products", path, "rename the axis")
            axes[name] = texts
        return axes

    def _condition(self, given: Any, path: Path_, known: Sequence[str]) -> _Wanted:
        found: dict[str, frozenset[str]] = {}
        if given is not None and not isinstance(given, dict):
            self.blame("not a mapping of names to values", path)
        for name, values in given.items() if isinstance(given, dict) else ():
            self._check_name(placeholder(name), (*path, name), known)
            found[placeholder(name)] = frozenset(self._texts(values, (*path, name)))
        return found

    def _excludes(self) -> list[_Wanted]:
        given = self.data.get("exclude")
        known = [*self.axes, *self._product_columns()]
        if given is not None and not isinstance(given, list):
            self.blame("`exclude` is not a list", ("exclude",), "begin each exclude with `- `")
            return []
        found = [self._condition(item, ("exclude", place), known) for place, item in enumerate(given or [])]
        return [exclude for exclude in found if exclude]

    def _check_name(self, name: str, path: Path_, known: Sequence[str]) -> None:
        if name not in known and (self.products is not None or "products" not in self.data):
            guess = nearest(name, known)
            hint = f"did you mean `{guess}`?" if guess else "known: " + (", ".join(known) or "nothing")
            self.blame(f"there is no `{shown(name)}`", path, hint, "unknown_name")

    def _template(self, given: Any, path: Path_) -> Template:
        if given is None or isinstance(given, (list, dict)):
            self.blame("not a text", path)
            return Template(("",), ())
        try:
            found = parse_template(_text(given))
        except ValueError as error:
            self.blame(str(error), path, "write a brace twice where it is meant")
            return Template(("",), ())
        for name in found.names:
            self._check_name(name, path, [*self.axes, *self._product_columns()])
        return found

    def _columns(self) -> dict[str, Template]:
        """The columns of the expanded table: key, prompt, inputs, axes, labels."""
        columns: dict[str, Template] = {}
        if "key" in self.data:
            columns["key"] = key = self._template(self.data["key"], ("key",))
            for name in self.axes:
                if len(self.axes[name]) > 1 and name not in key.names:
                    self.blame(f"the key does not name the axis `{name}`", ("key",), f"add {{{name}}} to it")
        if "prompt" in self.data:
            columns["prompt"] = self._template(self.data["prompt"], ("prompt",))
        elif "prompt" not in self.axes:
            self.blame("there is no `prompt`", (), "add one, such as prompt: '{title}, studio light'")
        for given, value in self._mapping("defaults").items():
            if field := input_name(given):
                columns[field] = self._template(value, ("defaults", given))
            else:
                guess = nearest(column_name(given), FIELDS)
                hint = f"did you mean `{guess}`?" if guess else "what is no input is a label"
                self.blame(f"`{shown(given)}` is not an input of model-create", ("defaults", given), hint)
        columns |= {name: Template(("", ""), (name,)) for name in self.axes}
        for given, value in self._mapping("labels").items():
            columns[column_name(given)] = self._template(value, ("labels", given))
        return columns

    def _check_values(self, columns: Mapping[str, Template], rows: Sequence[Product], name: str) -> None:
        """Each distinct value of each closed input once, with the line on which it stands."""
        for field in _CLOSED:
            column = columns.get(field)
            if column is None:
                continue
            if field in self.axes:
                for place, text in enumerate(self.axes[field]):
                    listed = isinstance(self.data["each"].get(field), list)
                    path = ("each", field, place) if listed else ("each", field)
                    self._check_value(field, text, self.document.where(path))
            elif not column.names:
                self._check_value(field, column.pieces[0], self.document.where(("defaults", field)))
            elif all(part not in self.axes for part in column.names):
                lines: dict[str, int] = {}
                for row in rows:
                    values = {part: row.values.get(part, "") for part in column.names}
                    lines.setdefault(column.text(values), row.line)
                for text, line in lines.items():
                    self._check_value(field, text, f"{name}:{line}")

    def _check_value(self, field: str, text: str, where: str) -> None:
        value = read_cell(field, text)[0]
        try:
            checked_request({"prompt": "-", **({} if value is None else {field: value})}, NO_FOLDER)
        except InvalidRequest as error:
            faults = [fault for fault in error.faults if fault.field == field]
            self.faults += [Fault(f.code, f.message, where, field, f.hint) for f in faults]


def _holds(wanted: _Wanted, values: Mapping[str, str]) -> bool:
    return all(values.get(name, "") in texts for name, texts in wanted.items())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
