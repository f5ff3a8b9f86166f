"""Bytes of a workload file as rows of text, each with the line on which it starts.

Here belong encodings, separators, quotes, JSON lines, Excel workbooks and Parquet: what a spreadsheet does to
a table on its way out. What the columns mean belongs to `columns`, what a cell means to `cells`.
Files are streamed; only standard input and pipes, which cannot be read twice, are kept in memory.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import IO, Any, BinaryIO, Final, TextIO

from planner.columns import input_name, shown
from planner.errors import InputError

SEPARATORS: Final = (",", ";", "\t")
MOST_CELL_CHARS: Final = 2**25
"""Room for a picture as base64; a quote that is never closed ends here at the latest."""

_CHUNK_BYTES: Final = 2**20
_HEAD_CHARS: Final = 2**16
_BATCH_ROWS: Final = 10_000
_ZIP: Final = b"PK\x03\x04"
_OLD_EXCEL: Final = b"\xd0\xcf\x11\xe0"
_PARQUET: Final = b"PAR1"


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not be read at all, and why."""

    message: str
    hint: str


Row = tuple[int, list[str] | Broken]
Record = tuple[int, dict[str, Any] | Broken]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file taken apart: either a table (a header and rows) or records (JSON lines)."""

    header: list[str]
    header_line: int
    rows: Iterator[Row]
    """The rows below the header; empty for records."""
    records: Iterator[Record]
    is_records: bool
    encoding: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that can be opened again and again, under the name its user typed."""

    name: str
    open: Callable[[], BinaryIO]
    folder: str | None = None
    """Where the file lies; None where it came from a pipe."""


def find_source(path: str | os.PathLike[str]) -> Source:
    """The source at a path, `-` for standard input; raises `InputError` when it cannot be read."""
    if path == "-":
        data = sys.stdin.buffer.read()
        return Source("stdin", lambda: io.BytesIO(data))
    name = os.fspath(path)
    with _open_file(name) as stream:
        if stream.seekable():
            return Source(name, lambda: _open_file(name), os.path.dirname(name) or ".")
        piped = stream.read()
    return Source(name, lambda: io.BytesIO(piped))


def _open_file(name: str) -> BinaryIO:
    try:
        return open(name, "rb")
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise _unreadable(name, f"cannot read `{name}`: {reason}", "check the path") from None


def _unreadable(name: str, message: str, hint: str) -> InputError:
    return InputError(message, code="unreadable_file", where=name, hint=hint)


@contextmanager
def open_sheet(source: Source) -> Iterator[Sheet]:
    """The rows of a source, for as long as the `with` block lasts.

    The format follows from the content, then from the name: an Excel workbook saved as `.csv` is
    still a workbook. Raises `InputError` for what is no table at all.
    """
    with source.open() as stream:
        head = stream.read(4)
        stream.seek(0)
        if head == _OLD_EXCEL:
            raise _unreadable(source.name, "an old Excel workbook (.xls)", "save it as .xlsx or CSV")
        if head == _ZIP or source.name.lower().endswith((".xlsx", ".xlsm")):
            yield _table(source.name, _workbook_rows(stream, source.name), "xlsx")
            return
        if head == _PARQUET or source.name.lower().endswith(".parquet"):
            yield _table(source.name, _parquet_rows(stream, source.name), "parquet")
            return
        encoding = _encoding(stream, source.name)
        with io.TextIOWrapper(stream, encoding, newline="") as text:
            start = text.read(_HEAD_CHARS)
            text.seek(0)
            if source.name.lower().endswith((".jsonl", ".ndjson")) or start.lstrip().startswith("{"):
                yield _records(source.name, start, text, encoding)
            else:
                yield _table(source.name, _csv_rows(text, _separator(start)), encoding)


def _encoding(stream: IO[bytes], name: str) -> str:
    """The encoding of a text: by its byte order mark, else UTF-8, else Windows-1252."""
    head = stream.read(4)
    if head.startswith(codecs.BOM_UTF8):
        candidates: tuple[str, ...] = ("utf-8-sig",)
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ("utf-16",)
    else:
        candidates = ("utf-8", "cp1252")
    for encoding in candidates:
        if _decodes(stream, encoding):
            return encoding
    raise _unreadable(name, "neither UTF-8, UTF-16 nor Windows-1252 text", "save the file as UTF-8")


def _decodes(stream: IO[bytes], encoding: str) -> bool:
    """Whether the whole stream is text in that encoding; read once beforehand, so a late byte is found."""
    decoder = codecs.getincrementaldecoder(encoding)()
    stream.seek(0)
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    finally:
        stream.seek(0)
    return True


def _separator(start: str) -> str:
    """The separator under which the header names the most inputs, then the most columns."""

    _allow_long_cells()

    def merit(separator: str) -> tuple[int, int]:
        header = next(filter(any, csv.reader(io.StringIO(start, newline=""), delimiter=separator)), [])
        return sum(input_name(name) is not None for name in header), len(header)

    return max(SEPARATORS, key=merit)


def _allow_long_cells() -> None:
    """The csv module has one limit for the whole process: it is only ever raised."""
    csv.field_size_limit(max(csv.field_size_limit(), MOST_CELL_CHARS))


def _csv_rows(text: TextIO, separator: str) -> Iterator[Row]:
    """The rows of a CSV text; a row with broken quotes is reported and the next one goes on."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
            return
        except csv.Error as error:
            yield line, _broken_quotes(str(error))


def _broken_quotes(problem: str) -> Broken:
    if "unexpected end" in problem:
        return Broken("a quote is opened here and never closed", "close the quote")
    if "limit" in problem:
        return Broken(f"a cell has more than {MOST_CELL_CHARS} characters", "close the quote")
    return Broken("text follows a closing quote", "double the quotes inside a quoted cell")


def _table(name: str, rows: Iterator[Row], encoding: str) -> Sheet:
    for line, header in rows:
        if isinstance(header, Broken):
            raise InputError(header.message, code="broken_row", where=f"{name}:{line}", hint=header.hint)
        if any(map(str.strip, header)):
            return Sheet(header, line, rows, iter(()), False, encoding)
    raise _empty(name)


def _empty(name: str) -> InputError:
    hint = "a workload has a header with a `prompt` column, and rows"
    return InputError("the file is empty", code="empty_file", where=f"{name}:1", hint=hint)


def _records(name: str, start: str, text: TextIO, encoding: str) -> Sheet:
    if not start.strip():
        raise _empty(name)
    return Sheet([], 0, iter(()), _json_lines(text), True, encoding)


def _json_lines(text: TextIO) -> Iterator[Record]:
    decode = json.JSONDecoder(object_pairs_hook=_object).decode
    for line, content in enumerate(text, 1):
        if content.isspace():
            continue
        try:
            found = decode(content.strip())
        except _TwiceError as error:
            yield line, Broken(f"`{error}` stands twice", "keep one of the two")
        except (ValueError, RecursionError):
            yield line, Broken("not a JSON object", "write one object per line")
        else:
            if not isinstance(found, dict):
                yield line, Broken("not a JSON object", "write one object per line")
            elif "\\u" in content and not _is_text(found):
                yield line, Broken("half of a surrogate pair", "write the characters themselves, as UTF-8")
            else:
                yield line, found


def _is_text(found: dict[str, Any]) -> bool:
    r"""Whether every text can be encoded: JSON lets `\ud800` stand alone, no file or request does."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class _TwiceError(ValueError):
    """A name stands twice in one JSON object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(shown(next(name for name in names if names.count(name) > 1)))
    return found


def _workbook_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """The rows of a workbook's first sheet, with each cell as the text a CSV export would hold."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        message = "reading an Excel workbook needs the extra `sheets`"
        hint = "pip install 'fashn-planner[sheets]', or save the sheet as CSV"
        raise InputError(message, code="missing_extra", where=name, hint=hint) from None
    try:
        book = load_workbook(stream, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says about its size is often wrong
        for line, values in enumerate(sheet.iter_rows(values_only=True), 1):
            yield line, [cell_text(value) for value in values]
    except Exception:  # a damaged workbook fails in zip, XML or openpyxl itself: no family of errors
        raise _unreadable(name, "not an Excel workbook, or a damaged one", "save it again") from None


def _parquet_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """The rows of a Parquet file, batch by batch; its names are line 1."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        message = "reading Parquet needs the extra `parquet`"
        hint = "pip install 'fashn-planner[parquet]', or save the table as CSV"
        raise InputError(message, code="missing_extra", where=name, hint=hint) from None
    try:
        file, line = ParquetFile(stream), 1
        yield line, list(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            columns = [[cell_text(value) for value in column.to_pylist()] for column in batch.columns]
            for cells in zip(*columns, strict=True):
                line += 1
                yield line, list(cells)
    except (ArrowException, OSError):
        raise _unreadable(name, "not a Parquet file, or a damaged one", "write it again") from None


def cell_text(value: object) -> str:
    """A workbook cell as text.

    >>> cell_text(2.0), cell_text(time(16, 9)), cell_text(True), cell_text(None)
    ('2', '16:09:00', 'TRUE', '')
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case float() if value.is_integer():
            return str(int(value))
        case timedelta():
            minutes, seconds = divmod(int(value.total_seconds()), 60)
            return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)
