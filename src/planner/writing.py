"""Rows of text as a file of the format that its name says: CSV, Excel, JSON lines or Parquet.

Here belongs what reading (`sheets`) has the other half of: a file written here and read again holds the
same requests, keys and labels. A text that a spreadsheet would take for a formula is written as text into
a workbook; into CSV, which knows no types, it goes as it stands.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from planner.cells import read_cell
from planner.columns import input_name, shown
from planner.errors import InputError, nearest

Rows = Iterable[Sequence[str]]
_MOST_EXCEL_CHARS: Final = 32_767
_NOT_IN_EXCEL: Final = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""What XML cannot hold, and the carriage return, which it gives back as another line end."""
_ELSEWHERE: Final = "use .csv, .jsonl or .parquet"
_BATCH_ROWS: Final = 10_000


def write_sheet(path: Path, header: Sequence[str], rows: Rows) -> None:
    """Write a table to a file, streamed, in the format of its suffix; a reader sees all of it or nothing.

    `rows` have one text for each name of the header. Raises `InputError` for another suffix, a missing
    extra or a text that the format cannot hold, and `OSError` where the file cannot be written.

    >>> write_sheet(Path("looks.txt"), ["prompt"], [])
    Traceback (most recent call last):
    planner.errors.InputError: looks.txt: `.txt` is no format of a table (use .csv, .xlsx, .jsonl, .parquet)
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        guess = nearest(path.suffix.lower(), [*_WRITERS])
        hint = f"did you mean `{guess}`?" if guess else "use " + ", ".join(_WRITERS)
        message = f"`{shown(path.suffix)}` is no format of a table"
        raise InputError(message, code="unknown_format", where=str(path), hint=hint)
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as stream:
            writer(stream, header, rows)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def missing_extra(what: str, extra: str) -> InputError:
    """The error where a format's library is not installed."""
    hint = f"pip install 'fashn-planner[{extra}]', or use CSV"
    return InputError(f"{what} needs the extra `{extra}`", code="missing_extra", hint=hint)


def _write_csv(stream: IO[bytes], header: Sequence[str], rows: Rows) -> None:
    import io

    text = io.TextIOWrapper(stream, "utf-8", newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_MINIMAL)
    writer.writerow(header)
    for row in rows:
        # The writer itself quotes no lone carriage return, which a reader takes for the end of the row.
        writer.writerow(row) if "\r" not in "".join(row) else _write_quoted(text, row)
    text.flush()
    text.detach()


def _write_quoted(text: IO[str], row: Sequence[str]) -> None:
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(row)


def _write_json_lines(stream: IO[bytes], header: Sequence[str], rows: Rows) -> None:
    fields = [input_name(name) for name in header]
    for row in rows:
        typed = (_typed(field, text) for field, text in zip(fields, row, strict=True))
        found = {name: value for name, value in zip(header, typed, strict=True) if value is not None}
        stream.write(json.dumps(found, ensure_ascii=False).encode() + b"\n")


def _typed(field: str | None, text: str) -> Any:
    """A cell as JSON says it; None where it is left out."""
    return read_cell(field, text)[0] if field else text or None


def _write_workbook(stream: IO[bytes], header: Sequence[str], rows: Rows) -> None:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError:
        raise missing_extra("writing an Excel workbook", "sheets") from None
    book = Workbook(write_only=True)
    sheet = book.create_sheet("workload")

    def cell(text: str) -> Any:
        if len(text) > _MOST_EXCEL_CHARS:
            message = f"a cell of a workbook holds at most {_MOST_EXCEL_CHARS:,} characters"
            raise InputError(message, code="bad_text", hint=_ELSEWHERE)
        if _NOT_IN_EXCEL.search(text):
            message = "a workbook holds no control characters and no carriage returns"
            raise InputError(message, code="bad_text", hint=_ELSEWHERE)
        found = WriteOnlyCell(sheet, text)
        found.data_type = "s"
        return found

    try:
        sheet.append([cell(text) for text in header])
        for row in rows:
            sheet.append([cell(text) for text in row])
    finally:
        sheet.close()
    book.save(stream)


def _write_parquet(stream: IO[bytes], header: Sequence[str], rows: Rows) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("writing Parquet", "parquet") from None
    schema = pyarrow.schema([(name, pyarrow.string()) for name in header])
    with parquet.ParquetWriter(stream, schema) as writer:
        for batch in _batches(rows):
            columns = [pyarrow.array(column, pyarrow.string()) for column in zip(*batch, strict=True)]
            writer.write_table(pyarrow.table(columns, schema=schema))


def _batches(rows: Rows) -> Iterator[list[Sequence[str]]]:
    left = iter(rows)
    while batch := [*islice(left, _BATCH_ROWS)]:
        yield batch


_WRITERS: Final[Mapping[str, Callable[[IO[bytes], Sequence[str], Rows], None]]] = {
    ".csv": _write_csv,
    ".xlsx": _write_workbook,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
