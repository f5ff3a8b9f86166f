"""A matrix of jobs: products x poses x ratios x seeds, expanded into the rows of a table, or only counted.

Here belong the expansion and its price cells counted without expanding. How such a matrix is written down
belongs to `matrix_files`; what its rows mean to `workload`, which reads them as those of any sheet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Final

from planner.cells import NO_FOLDER, checked_request, read_cell
from planner.products import Product
from planner.quoting import price_cell
from planner.sheets import Row
from planner.templates import Template

_PRICED: Final = ("resolution", "generation_mode", "num_images", "face_reference")

Wanted = Mapping[str, frozenset[str]]
"""By name the texts that are meant; a condition holds where all its names do."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A checked matrix; nothing of it is expanded before it is asked for."""

    files: tuple[str, ...]
    """The YAML file, and the products file if there is one: in the last one the lines of its rows count."""
    columns: Mapping[str, Template]
    """By column of the expanded table, in its order."""
    axes: Mapping[str, Sequence[str]]
    excludes: Sequence[Wanted]
    products: Sequence[Product]
    line: int

    @property
    def name(self) -> str:
        """What stands before the lines of its rows."""
        return ", ".join(self.files)

    def rows(self) -> Iterator[Row]:
        """The rows of the expanded table, the last axis turning fastest, each with its product's line."""
        return chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[list[Row]]:
        axes = [*self.axes.items()]
        for item in self.products:
            left = left_open(self.excludes, item.values)
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
                if left_open(self.excludes, values) is not None:
                    found[self._cell(priced, values)] += number * times
        return found

    def _cell(self, priced: Mapping[str, Template], values: Mapping[str, str]) -> int:
        read = {field: read_cell(field, column.text(values))[0] for field, column in priced.items()}
        given = {field: value for field, value in read.items() if value is not None}
        if "face_reference" in given:
            given["face_reference"] = "https://"  # that there is one decides the price
        return price_cell(checked_request({"prompt": "-", **given}, NO_FOLDER))


def left_open(excludes: Sequence[Wanted], values: Mapping[str, str]) -> list[Wanted] | None:
    """The excludes that those values leave open; None where one of them holds."""
    left = list[Wanted]()
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
    excludes: Sequence[Wanted],
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
        left = left_open(excludes, {name: value})
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
