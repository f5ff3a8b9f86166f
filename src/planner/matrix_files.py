"""A matrix as it is written: a YAML file, beside it the products that it goes through.

Here belong the form of such a file and everything that can be wrong with it, told before anything is
expanded. What a checked one expands to belongs to `matrix`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, Final

from planner.cells import checked_request, read_cell
from planner.columns import column_name, input_name, nearly_input, shown
from planner.documents import MOST_BYTES, Document, Path_, scan_yaml
from planner.errors import Fault, InputError, InvalidRequest, PlannerError, nearest
from planner.matrix import Matrix, Wanted, left_open
from planner.products import Product, Products, read_products
from planner.references import Folder
from planner.request import FIELDS
from planner.sheets import Sheet, Source, find_source, open_sheet
from planner.templates import Template, parse_template, placeholder

SUFFIXES: Final = (".yaml", ".yml")
KEYS: Final = ("workload", "products", "where", "each", "exclude", "key", "prompt", "defaults", "labels")
_HEAD_BYTES: Final = 4096


def is_matrix(source: Source) -> bool:
    """Whether a source is a matrix: by its name, or from a pipe by its first word."""
    if source.name.lower().endswith(SUFFIXES):
        return True
    if source.folder is not None:
        return False
    with source.open() as stream:
        lines = stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith((b"#", b"---"))), b"")
    return first.startswith(b"workload:")


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
        self.folder = Folder(source.folder)
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
        rows = [Product({}, line)] if found is None else self._meant(found.rows, wheres)
        rows = [row for row in rows if left_open(excludes, row.values) is not None]
        files = (self.source.name,) if found is None else (self.source.name, found.name)
        name = ", ".join(files)
        self._check_values(columns, rows, excludes, name)
        if not self.faults:
            self._check_key(columns, rows, name)
        return Matrix(files, columns, self.axes, excludes, rows, line)

    def _meant(self, rows: Sequence[Product], wheres: Wanted) -> list[Product]:
        """The products that the filter leaves; where it is wrong, all of them, to be checked all the same."""
        meant = [row for row in rows if all(row.values.get(name, "") in wheres[name] for name in wheres)]
        if rows and not meant and wheres.keys() <= {*self._product_columns()}:
            self.blame("`where` leaves no product", ("where",), "its values are compared letter by letter")
        return meant or [*rows]

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
            piped = "what comes by a pipe has no folder; save the matrix as a file"
            hint = piped if self.source.folder is None else "write the path of a table, such as products.csv"
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

    def _condition(self, given: Any, path: Path_, known: Sequence[str]) -> Wanted:
        found: dict[str, frozenset[str]] = {}
        if given is not None and not isinstance(given, dict):
            self.blame("not a mapping of names to values", path)
        for name, values in given.items() if isinstance(given, dict) else ():
            self._check_name(placeholder(name), (*path, name), known)
            found[placeholder(name)] = frozenset(self._texts(values, (*path, name)))
        return found

    def _excludes(self) -> list[Wanted]:
        given = self.data.get("exclude")
        known = [*self.axes, *self._product_columns()]
        if given is not None and not isinstance(given, list):
            self.blame("`exclude` is not a list", ("exclude",), "begin each exclude with `- `")
            return []
        found = [self._condition(item, ("exclude", place), known) for place, item in enumerate(given or [])]
        for place, exclude in enumerate(found):
            for name in exclude.keys() & self.axes.keys():
                for text in sorted(exclude[name].difference(self.axes[name])):
                    message = f"`{shown(text)}` is no value of the axis `{name}`"
                    self.blame(message, ("exclude", place, name), "an exclude that never holds is a slip")
        return [exclude for exclude in found if exclude]

    def _check_name(self, name: str, path: Path_, known: Sequence[str]) -> None:
        if name not in known and (self.products is not None or "products" not in self.data):
            guess = nearest(name, known)
            hint = f"did you mean `{guess}`?" if guess else "known: " + (", ".join(known) or "nothing")
            self.blame(f"there is no `{shown(name)}`", path, hint, "unknown_name")

    def _template(self, given: Any, path: Path_) -> Template | None:
        """The template that a value is; None after noting what is wrong with it."""
        if given is None or isinstance(given, (list, dict)):
            self.blame("not a text", path)
            return None
        try:
            found = parse_template(_text(given))
        except ValueError as error:
            self.blame(str(error), path, "write a brace twice where it is meant")
            return None
        for name in found.names:
            self._check_name(name, path, [*self.axes, *self._product_columns()])
        return found

    def _columns(self) -> dict[str, Template]:
        """The columns of the expanded table: key, prompt, inputs, axes, labels."""
        columns: dict[str, Template] = {}
        if "key" in self.data and (key := self._template(self.data["key"], ("key",))) is not None:
            columns["key"] = key
            for name in self.axes:
                if len(self.axes[name]) > 1 and name not in key.names:
                    self.blame(f"the key does not name the axis `{name}`", ("key",), f"add {{{name}}} to it")
        if "prompt" in self.data:
            self._put(columns, "prompt", self._template(self.data["prompt"], ("prompt",)), ("prompt",))
        elif "prompt" not in self.axes:
            self.blame("there is no `prompt`", (), "add one, such as prompt: '{title}, studio light'")
        for given, value in self._mapping("defaults").items():
            self._put(columns, given, self._template(value, ("defaults", given)), ("defaults", given))
        for name in self.axes:
            self._put(columns, name, Template(("", ""), (name,)), ("each", name))
        for given, value in self._mapping("labels").items():
            self._put(columns, given, self._template(value, ("labels", given)), ("labels", given))
        return columns

    def _put(self, columns: dict[str, Template], given: str, column: Template | None, path: Path_) -> None:
        """A further column, unless its name belongs elsewhere or is taken."""
        field, name = input_name(given), column_name(given)
        if (path[0] == "defaults" and field is None) or nearly_input(name):
            guess = nearly_input(name)
            hint = f"did you mean `{guess}`?" if guess else "a name of your own is a label"
            self.blame(f"`{shown(given)}` is not an input of model-create", path, hint, "unknown_field")
        elif path[0] == "labels" and field:
            self.blame(f"`{field}` is an input, not a label", path, "put it under `defaults`")
        elif not name or name == "key":
            self.blame(f"`{shown(given)}` cannot be a name here", path, "choose another one")
        elif (field or name) in columns:
            self.blame(f"`{shown(given)}` stands twice", path, "an axis and an input are columns already")
        elif column is not None:
            columns[field or name] = column

    def _check_values(
        self, columns: Mapping[str, Template], rows: Sequence[Product], excludes: Sequence[Wanted], name: str
    ) -> None:
        """Each distinct value of each input once, with the line on which it stands."""
        for field in FIELDS:
            column = columns.get(field)
            if column is None:
                continue
            if field in self.axes:
                for place, text in enumerate(self.axes[field]):
                    self._check_value(field, text, self.document.where(self._axis_path(field, place)))
            elif not (field == "prompt" and any(map(str.strip, column.pieces))):  # which is never empty
                for text, line in self._distinct(column, rows, excludes).items():
                    path = (field,) if field == "prompt" else ("defaults", field)
                    of_product = any(part not in self.axes for part in column.names)
                    where = f"{name}:{line}" if of_product else self.document.where(path)
                    self._check_value(field, text, where)

    def _axis_path(self, name: str, place: int) -> Path_:
        """Where a value of an axis stands, whatever the spelling of the axis."""
        each = self._mapping("each")
        given = next(given for given in each if name in (input_name(given), placeholder(given)))
        return ("each", given, place) if isinstance(each[given], list) else ("each", given)

    def _distinct(
        self, column: Template, rows: Sequence[Product], excludes: Sequence[Wanted]
    ) -> dict[str, int]:
        """Each text that a column comes to, and the line of the first product that it comes from."""
        asked = [name for name in column.names if name not in self.axes]
        axes = {name: self.axes[name] for name in column.names if name in self.axes}
        first = dict[tuple[str, ...], int]()
        for row in rows:
            first.setdefault(tuple(row.values.get(name, "") for name in asked), row.line)
        found = dict[str, int]()
        for texts, line in first.items():
            for turned in product(*axes.values()):
                values = dict(zip(asked, texts, strict=True)) | dict(zip(axes, turned, strict=True))
                if left_open(excludes, values) is not None:
                    found.setdefault(column.text(values), line)
        return found

    def _check_key(self, columns: Mapping[str, Template], rows: Sequence[Product], name: str) -> None:
        """That products with different requests have different keys, told of the first two that do not."""
        if "key" not in columns:
            return
        own = [part for part in columns["key"].names if part not in self.axes]
        asked = {part for field in FIELDS if field in columns for part in columns[field].names}
        asked -= self.axes.keys()
        holders = dict[tuple[str, ...], tuple[list[str], int]]()
        for row in rows:
            request = [row.values.get(part, "") for part in sorted(asked)]
            key = tuple(row.values.get(part, "") for part in own)
            first, line = holders.setdefault(key, (request, row.line))
            if first != request:
                message = f"this product has the key of the one on line {line}"
                self.faults.append(
                    Fault("key_conflict", message, f"{name}:{row.line}", "key", self._apart(rows))
                )
                return

    def _apart(self, rows: Sequence[Product]) -> str:
        """What tells all products apart, for a hint."""
        for column in self._product_columns():
            if len({row.values.get(column, "") for row in rows}) == len(rows):
                return f"add {{{column}}} to the key"
        return "name the columns in the key that tell the products apart"

    def _check_value(self, field: str, text: str, where: str) -> None:
        value = read_cell(field, text)[0]
        try:
            checked_request({"prompt": "-", **({} if value is None else {field: value})}, self.folder)
        except InvalidRequest as error:
            faults = [fault for fault in error.faults if fault.field == field]
            self.faults += [Fault(f.code, f.message, where, field, f.hint) for f in faults]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
