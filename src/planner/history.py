"""A history file as past requests: what was asked, when, what became of it and what it cost.

Here belong what the columns of a history mean and what concerns a file as a whole. Bytes and rows
belong to `sheets`, the cells of one row to `past`. What would have become of the requests under a
policy, and how they enter a ledger, is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from planner.columns import column_name, input_name, nearly_input, picked, shown
from planner.errors import Fault, InputError, nearest
from planner.notes import Notes, Repair
from planner.past import END, Cells, End, PastRequest, read_end, read_fields, read_labels
from planner.request import FIELDS
from planner.sheets import Broken, Record, Sheet, find_source, open_sheet

WINDOWS_TEXT: Final = "files read as Windows-1252, because they are not UTF-8"
COLUMNS_RESPELLED: Final = "columns known in another spelling"
SAME_PREDICTION: Final = "rows that repeat an earlier row: one request"

MEANINGS: Final = (
    "submitted_at",
    "completed_at",
    "status",
    "credits_quoted",
    "credits_used",
    "usd_per_credit",
    "prediction_id",
    "key",
)
"""The columns that are neither inputs of the request nor labels."""

_REQUIRED: Final[Mapping[str, str]] = {
    "submitted_at": "name the column with the instant of each request `submitted_at`",
    "status": "name the column that says what became of each request `status`",
}
_IN_UTC: Final[Mapping[str, str]] = {"submittedatutc": "submitted_at", "completedatutc": "completed_at"}
"""In a column of this name an instant may leave out its offset, as the cells of a workbook do."""
_BY_LETTERS: Final[Mapping[str, str]] = {name.replace("_", ""): name for name in MEANINGS} | {**_IN_UTC}
_GUESSED: Final = tuple(name for name in MEANINGS if len(name) > 3)
"""The names long enough for a slip of the keyboard to be told from another word."""
_MOST_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class History:
    """The past requests of a file, in the order in which they were submitted."""

    name: str
    past: tuple[PastRequest, ...] = field(repr=False)
    repairs: tuple[Repair, ...]
    """What was read differently from how it stood in the file."""


def read_history(path: str | os.PathLike[str], labels: Collection[str] | None = None) -> History:
    """All past requests of a file, `-` for standard input; formats are those of workload files.

    `labels` names the columns that are kept as labels; None keeps every column that has no other
    meaning. Raises `InputError` with every fault of the file, in the order of its lines.
    """
    source = find_source(path)
    notes = Notes(source.name)
    reader = _Reader(notes)
    wanted = None if labels is None else frozenset(labels)
    with open_sheet(source) as sheet:
        if sheet.encoding == "cp1252":
            notes.repair(WINDOWS_TEXT, 1)
        for layout, texts, line in _rows(sheet, notes, wanted):
            reader.read(layout, texts, line)
    if notes.faults:
        raise InputError(faults=notes.faults)
    return History(source.name, tuple(sorted(reader.past, key=_BY_INSTANT)), notes.repairs)


_BY_INSTANT: Final = attrgetter("submitted_at")


# -- columns -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some columns that are read together; equal only to itself, so what it read can be remembered."""

    names: tuple[str, ...]
    pick: Callable[[Sequence[str]], tuple[str, ...]]
    read: Callable[[Mapping[str, str]], tuple[Any, tuple[str, ...]]]
    """What their texts mean, and the repairs that it took; raises `InputError`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where everything stands in a row."""

    width: int
    own: Mapping[str, int]
    """What is a row's own: its instants, its prediction and its key."""
    in_utc: frozenset[str]
    request: _Part
    end: _Part
    labels: _Part
    loose: int
    """How many columns were known although they are spelled differently."""


@lru_cache(maxsize=256)
def _layout(names: tuple[str, ...], wanted: frozenset[str] | None) -> tuple[_Layout, tuple[Fault, ...]]:
    """The meaning of a header, or of the names of an object, and everything that is wrong with it."""
    taken, faults = _meanings(names)
    known = {name: place for name, place in taken.items() if name in MEANINGS}
    inputs = {name: place for name, place in taken.items() if name in FIELDS}
    labels = {name: place for name, place in taken.items() if name not in known | inputs}
    faults += _missing(known, inputs, {fault.field for fault in faults})
    in_utc = frozenset(name for name, place in known.items() if _letters(names[place]) in _IN_UTC)
    layout = _Layout(
        width=len(names),
        own={name: place for name, place in known.items() if name not in END},
        in_utc=in_utc,
        request=_part({name: at for name, at in inputs.items() if name != "prompt"}, read_fields),
        end=_part({name: at for name, at in known.items() if name in END}, read_end),
        labels=_part(
            {name: at for name, at in labels.items() if wanted is None or name in wanted}, read_labels
        ),
        loose=sum(names[at] not in (name, f"{name}_utc") for name, at in (known | inputs).items()),
    )
    return layout, tuple(faults)


def _part(
    places: Mapping[str, int], read: Callable[[Mapping[str, str]], tuple[Any, tuple[str, ...]]]
) -> _Part:
    return _Part(tuple(places), picked(places.values()), read)


def _meanings(names: Sequence[str]) -> tuple[dict[str, int], list[Fault]]:
    """Where each meaning stands; a column without letters has none."""
    taken: dict[str, int] = {}
    faults: list[Fault] = []
    for place, text in enumerate(names):
        meaning = _BY_LETTERS.get(_letters(text)) or input_name(text) or column_name(text)
        if guess := _nearly_known(text):
            message = f"`{shown(text)}` is not a column of a history"
            faults.append(Fault("unknown_field", message, field=guess, hint=f"did you mean `{guess}`?"))
        elif meaning in taken:
            message = f"the columns `{shown(names[taken[meaning]])}` and `{shown(text)}` mean the same"
            faults.append(Fault("duplicate_column", message, field=meaning, hint="keep one of the two"))
        elif meaning:
            taken[meaning] = place
    return taken, faults


def _letters(text: str) -> str:
    return column_name(text).replace("_", "")


def _nearly_known(text: str) -> str | None:
    """The column that a name almost spells; such a column is a slip, not a label."""
    if _letters(text) in _BY_LETTERS or input_name(text):
        return None
    return nearly_input(text) or nearest(column_name(text), _GUESSED, cutoff=0.85)


def _missing(
    known: Mapping[str, int], inputs: Mapping[str, int], blamed: Collection[str | None]
) -> Iterator[Fault]:
    for name, hint in _REQUIRED.items():
        if name not in known and name not in blamed:
            yield Fault("missing_column", f"there is no `{name}` column", field=name, hint=hint)
    if not inputs and not set(FIELDS).intersection(blamed):
        hint = "name the columns of the request as the provider does, such as `resolution`"
        yield Fault("missing_column", "no column is an input of the request", hint=hint)


# -- rows ----------------------------------------------------------------------------------------


def _rows(
    sheet: Sheet, notes: Notes, wanted: frozenset[str] | None
) -> Iterator[tuple[_Layout, Sequence[str], int]]:
    """Every row that could be read, with its layout and its line."""
    if sheet.is_records:
        yield from _objects(sheet.records, notes, wanted)
        return
    layout, faults = _layout(tuple(sheet.header), wanted)
    notes.blame(faults, sheet.header_line)
    if layout.loose:
        notes.repair(COLUMNS_RESPELLED, sheet.header_line, layout.loose)
    for line, row in sheet.rows if not faults else ():
        texts = _fitted(row, layout.width)
        if isinstance(texts, Broken):
            notes.broken(texts, line)
        elif any(map(str.strip, texts)):  # a blank row is no row
            yield layout, texts, line


def _fitted(row: list[str] | Broken, width: int) -> list[str] | Broken:
    """The cells of a row, one for each column."""
    if isinstance(row, Broken) or len(row) == width:
        return row
    if any(map(str.strip, row[width:])):
        hint = "quote a cell that contains the separator, or name the column"
        return Broken("the row has text beyond the columns of the header", hint)
    return row[:width] + [""] * (width - len(row))


def _objects(
    records: Iterator[Record], notes: Notes, wanted: frozenset[str] | None
) -> Iterator[tuple[_Layout, Sequence[str], int]]:
    """JSON objects as rows; the request's inputs, and labels, may stand in objects of their own."""
    for line, found in records:
        if isinstance(found, Broken):
            notes.broken(found, line)
            continue
        nested = [found.pop(name) for name in ("request", "labels") if isinstance(found.get(name), dict)]
        pairs = [pair for part in (found, *nested) for pair in part.items()]
        plain = [(name, value) for name, value in pairs if not isinstance(value, (list, dict))]
        layout, faults = _layout(tuple(name for name, _ in plain), wanted)
        notes.blame(faults, line)
        if not faults:
            yield layout, [_text(value) for _, value in plain], line


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Reader:
    """Reads rows one after the other; what many rows have in common is read once and shared."""

    def __init__(self, notes: Notes) -> None:
        self.past: list[PastRequest] = []
        self._notes = notes
        self._found: dict[tuple[_Part, tuple[str, ...]], tuple[Any, tuple[str, ...]]] = {}
        self._predictions: dict[str, PastRequest] = {}

    def read(self, layout: _Layout, texts: Sequence[str], line: int) -> None:
        """Adds the past request of a row, or notes what is wrong with it."""
        cells = Cells({name: texts[at] for name, at in layout.own.items()}, layout.in_utc)
        request = self._shared(layout.request, texts, cells)
        submitted_at, completed_at = cells.span()
        end: End = self._shared(layout.end, texts, cells)
        labels = self._shared(layout.labels, texts, cells)
        if cells.faults or submitted_at is None:
            self._notes.blame(cells.faults, line)
            return
        for repair in cells.repairs:
            self._notes.repair(repair, line)
        prediction_id, key = cells.text("prediction_id") or None, cells.text("key") or None
        where = f"{self._notes.name}:{line}"
        past = PastRequest(submitted_at, completed_at, request, *end, prediction_id, key, labels, where)
        self._add(past, line)

    def _shared(self, part: _Part, texts: Sequence[str], cells: Cells) -> Any:
        """What those columns say; None after noting why they say nothing."""
        place = part, part.pick(texts)
        found = self._found.get(place)
        if found is None:
            try:
                found = part.read(dict(zip(part.names, place[1], strict=True)))
            except InputError as error:
                cells.faults += error.faults
                return None
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()  # labels come from outside, so there has to be an end
            self._found[place] = found
        cells.repairs += found[1]
        return found[0]

    def _add(self, past: PastRequest, line: int) -> None:
        """A prediction stands in a history once; the very same row again is no second request."""
        first = self._predictions.setdefault(past.prediction_id, past) if past.prediction_id else past
        if first is past:
            self.past.append(past)
        elif replace(past, where=first.where) == first:
            self._notes.repair(SAME_PREDICTION, line)
        else:
            before = first.where.rpartition(":")[2]
            message = f"the prediction `{shown(past.prediction_id or '')}` stands on line {before} as well"
            hint = "the two rows differ: keep the one that is right"
            fault = Fault("duplicate_prediction", message, field="prediction_id", hint=hint)
            self._notes.blame([fault], line)
