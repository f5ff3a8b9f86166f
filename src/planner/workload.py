"""A workload file as jobs: rows with a key, labels and a request, in the order of the file.

Here belongs what concerns a file as a whole: keys, identical rows, faults and repairs. Bytes and
rows belong to `sheets`, the meaning of columns to `columns`, that of cells to `cells`. What a job
costs belongs to `quoting`; whether it may go is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from unicodedata import category

from planner.cells import Reading, RowReader, identity, read_record, request_of, row_faults
from planner.columns import Columns, picked, read_columns, shown
from planner.errors import Fault, InputError, InvalidRequest
from planner.matrix import Matrix
from planner.matrix_files import is_matrix, open_rows, read_matrix
from planner.notes import Notes, Repair, composed, look_clean
from planner.records import read_object
from planner.references import Folder
from planner.request import ModelCreateRequest
from planner.sheets import Broken, Record, Row, Sheet, Source, find_source

MOST_KEY_CHARS: Final = 200
_CONTROLS: Final = ("Cc", "Cs", "Zl", "Zp")
_CLAIM_BYTES: Final = 8
"""Of a picture's digest, kept for each key: enough where only rows under one key are compared."""
_LINE_BYTES: Final = 6

COLUMNS_RESPELLED: Final = "columns known as inputs in another spelling"
WINDOWS_TEXT: Final = "files read as Windows-1252, because they are not UTF-8"
SAME_JOB: Final = "rows that repeat the key and the request of an earlier row: one job"


@dataclass(frozen=True, slots=True)
class Job:
    """One row that will be one paid request."""

    request: ModelCreateRequest
    key: str | None
    """The row's idempotency key; None: derived later from the fingerprint and the occurrence."""
    occurrence: int
    """Among the rows without a key, the n-th (from 1) that asks for this picture; 1 with a key."""
    labels: Mapping[str, str]
    """Every other column that has a text; which of them reach a ledger is decided by the policy."""
    columns: Mapping[str, str]
    """The user's own columns as they stood, under their own names, for the results file."""
    where: str
    line: int
    repeated: bool
    """Whether an earlier job asks for this very picture, under whatever key."""

    def __repr__(self) -> str:
        """Without the columns, which hold the prompt and the references."""
        return f"Job({self.where}, key={self.key!r}, {self.request!r})"


_Place = tuple[int, bool]
"""Of a job among those before it: its occurrence, and whether one of them asks for the same picture."""
_Row = tuple[Reading, str, _Place, bool, Sequence[str], Sequence[tuple[str, int]], Sequence[str], int]
"""A row that is a job: reading, key, place, whether its labels are clean as they stand, names of the
columns, where the labels stand, texts of the columns, line."""


class Workload:
    """A file of jobs. Each pass reads the file anew; memory grows by the keys of its rows only.

    >>> from importlib.resources import files
    >>> workload = open_workload(str(files("planner") / "data" / "lookbook.csv"))
    >>> job = next(workload.jobs())
    >>> job.key, job.request.resolution, job.labels["team"], job.line
    ('look-0001', '2k', 'brand', 2)
    """

    def __init__(self, source: Source, key_column: str | None = None) -> None:
        self.name = source.name
        self._source = source
        self._key_column = key_column
        self._notes = Notes(source.name)
        self._keys = _Keys(self._notes)
        self._folder = Folder(source.folder)

    @property
    def faults(self) -> list[Fault]:
        """What the last pass found wrong, in the order of the file."""
        return self._notes.faults

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """What the last pass repaired, in the order in which each repair was first needed."""
        return self._notes.repairs

    def jobs(self, *, skip_bad: bool = False) -> Iterator[Job]:
        """The jobs of the file, streamed; raises `InputError` with every fault of the file at its end.

        From the first fault on no job comes, but the rest of the file is read for its faults: who must
        not act on half a file reads to the end first (`read_workload`). With `skip_bad` faulty rows
        are only listed in `faults` and the good ones go on; a wrong header or file still raises.
        """
        return map(self._job, self._pass(skip_bad))

    def outlines(self, *, skip_bad: bool = False) -> Iterator[tuple[int, bool]]:
        """Each job as its index in `quoting.CELLS` and whether an earlier job asks for this very picture.

        All that a plan needs, without making a request; faults and repairs are those of `jobs`.

        >>> from importlib.resources import files
        >>> from planner.quoting import CELLS
        >>> workload = open_workload(str(files("planner") / "data" / "lookbook.csv"))
        >>> cell, repeated = next(workload.outlines())
        >>> CELLS[cell], repeated
        (('2k', None, False, 1), False)
        """
        return ((row[0][0].cell, row[2][1]) for row in self._pass(skip_bad))

    def matrix(self) -> Matrix | None:
        """The matrix that the file is, not expanded; None for any other file."""
        return read_matrix(self._source) if is_matrix(self._source) else None

    def _job(self, row: _Row) -> Job:
        reading, key, (occurrence, repeated), clean, names, places, texts, line = row
        if clean:
            labels = {name: text for name, place in places if (text := texts[place])}
        else:
            labels = {name: text for name, place in places if (text := composed(texts[place]))}
        own = dict(zip(names, texts, strict=False))
        own.pop("", None)
        where = f"{self._notes.name}:{line}"
        return Job(request_of(reading), key or None, occurrence, labels, own, where, line, repeated)

    def _pass(self, skip_bad: bool) -> Iterator[_Row]:
        notes = self._notes = Notes(self.name)
        self._keys = _Keys(notes)
        self._folder = Folder(self._source.folder)
        with open_rows(self._source) as (sheet, notes.name):
            if sheet.encoding == "cp1252":
                notes.repair(WINDOWS_TEXT, 1)
            rows = self._records(sheet.records) if sheet.is_records else self._table(sheet)
            wrong_header = bool(notes.faults)
            for row in rows:
                if not notes.faults or (skip_bad and not wrong_header):
                    yield row
        if notes.faults and (wrong_header or not skip_bad):
            raise InputError(faults=notes.faults)

    def _table(self, sheet: Sheet) -> Iterator[_Row]:
        """The rows of a table; what is wrong with its header is noted before the first of them."""
        columns, faults = read_columns(sheet.header, self._key_column)
        self._notes.blame(faults, sheet.header_line)
        if columns.loose:
            self._notes.repair(COLUMNS_RESPELLED, sheet.header_line, columns.loose)
        return self._table_rows(sheet.rows, columns) if "prompt" in columns.inputs else iter(())

    def _table_rows(self, rows: Iterator[Row], columns: Columns) -> Iterator[_Row]:
        notes, read, admit = self._notes, RowReader(columns, self._folder).read, self._keys.admit
        names, labels, key_place = columns.names, columns.labels, columns.key
        width = -1 if columns.unnamed else len(names)
        own_texts = picked([place for _, place in labels] + ([] if key_place is None else [key_place]))
        for line, row in rows:
            cells = row if type(row) is list and len(row) == width else self._fit(row, columns, line)
            if cells is None:
                continue
            key, clean = "" if key_place is None else cells[key_place], look_clean(own_texts(cells))
            if not clean:
                key = notes.cleaned(key, line)
            try:
                reading = read(cells)
            except InvalidRequest as error:
                if any(map(str.strip, cells)):  # a blank row is no row
                    notes.blame(row_faults(error), line)
                continue
            if place := admit(key, reading, line):
                if not clean:
                    self._count_labels(labels, cells, line)
                yield reading, key, place, clean, names, labels, cells, line

    def _count_labels(self, labels: Sequence[tuple[str, int]], texts: Sequence[str], line: int) -> None:
        for _, place in labels:
            self._notes.cleaned(texts[place], line)

    def _fit(self, row: list[str] | Broken, columns: Columns, line: int) -> list[str] | None:
        """The cells of a row, one for each column; None after noting why there are none."""
        if isinstance(row, Broken):
            self._notes.broken(row, line)
            return None
        width = len(columns.names)
        beyond = [*row[width:], *(row[place] for place in columns.unnamed if place < len(row))]
        if any(map(str.strip, beyond)):
            self._notes.broken(_TOO_LONG, line)
            return None
        return row[:width] + [""] * (width - len(row))

    def _records(self, records: Iterator[Record]) -> Iterator[_Row]:
        for line, found in records:
            if isinstance(found, Broken):
                self._notes.broken(found, line)
                continue
            record = read_object(found, self._key_column)
            self._notes.blame(record.faults, line)
            key = self._notes.cleaned(record.key, line)
            try:
                reading = read_record(record.inputs, self._folder)
            except InvalidRequest as error:
                self._notes.blame(row_faults(error), line)
                continue
            if record.faults:
                continue
            if place := self._keys.admit(key, reading, line):
                self._count_labels(record.labels, record.texts, line)
                yield reading, key, place, False, record.names, record.labels, record.texts, line


_TOO_LONG: Final = Broken(
    "the row has text beyond the columns of the header",
    "quote a cell that contains the separator, or name the column",
)


def open_workload(path: str | os.PathLike[str], key_column: str | None = None) -> Workload:
    """The workload in a file, `-` for standard input; nothing but its presence is checked yet."""
    return Workload(find_source(path), key_column)


def read_workload(path: str | os.PathLike[str], key_column: str | None = None) -> list[Job]:
    """All jobs of a file; raises `InputError` with every fault of it, in the order of its lines."""
    return list(open_workload(path, key_column).jobs())


class _Keys:
    """Which rows are jobs of their own. Grows by a key and 14 bytes for each key, 15 for each picture."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._holders: dict[str, bytes] = {}
        self._asked: dict[bytes, int] = {}
        """How many jobs without a key ask for each picture; of one that only jobs with a key ask for, 0."""

    def admit(self, key: str, reading: Reading, line: int) -> _Place | None:
        """The place of a valid row among the jobs; None when its key is wrong or it is a job already."""
        digest = identity(reading)
        if key and not self._claim(key, digest, line):
            return None
        before = self._asked.get(digest)
        occurrence = 1 if key else (before or 0) + 1
        if not key:
            self._asked[digest] = occurrence
        elif before is None:
            self._asked[digest] = 0
        for repair in reading[0].repairs:
            self._notes.repair(repair, line)
        return occurrence, before is not None

    def _claim(self, key: str, digest: bytes, line: int) -> bool:
        """Whether the row is the first under its key; notes what it is instead."""
        if not _sound_key(key):
            message = f"the key is longer than {MOST_KEY_CHARS} characters or has control characters"
            self._notes.blame([Fault("invalid_value", message, "", "key", "use a shorter, plain key")], line)
            return False
        claim = digest[:_CLAIM_BYTES] + line.to_bytes(_LINE_BYTES, "big")
        holder = self._holders.setdefault(key, claim)
        if holder is claim:
            return True
        if holder[:_CLAIM_BYTES] == claim[:_CLAIM_BYTES]:
            self._notes.repair(SAME_JOB, line)
            return False
        first = int.from_bytes(holder[_CLAIM_BYTES:], "big")
        message = f"the key `{shown(key)}` stands on line {first} with a different request"
        hint = "give one of the two rows another key"
        self._notes.blame([Fault("key_conflict", message, "", "key", hint)], line)
        return False


def _sound_key(key: str) -> bool:
    return len(key) <= MOST_KEY_CHARS and (
        key.isprintable() or all(category(letter) not in _CONTROLS for letter in key)
    )
