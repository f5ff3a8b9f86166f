"""The results of a shoot, beside its pictures: `results.csv` for people, `results.jsonl` for programs.

Here belong the records, how new ones join those of earlier runs, and both files. The page to look at
belongs to `contact`. `results.jsonl` is also the memory of what the pictures of a key are called, and
`.planner.json` says whose pictures they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from planner.errors import InputError, OperatorError
from policies.guard.batch import Ending, Line
from policies.guard.naming import is_inside
from policies.guard.pictures import ENDINGS, write_whole

CSV_NAME: Final = "results.csv"
JSONL_NAME: Final = "results.jsonl"
PAGE_NAME: Final = "contact.html"
MARKER_NAME: Final = ".planner.json"
OWN_COLUMNS: Final = ("state", "credits", "files", "reason")
MOST_CREDITS: Final = 999_999
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_TOLD: Final = {
    **dict.fromkeys(("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"), "no connection"),
    **dict.fromkeys(("RemoteProtocolError", "ReadError", "WriteError"), "the connection broke"),
    "ReadTimeout": "no answer in time",
    "OutOfCredits": "out of credits",
    "UnauthorizedAccess": "the API key is not known",
    "KeyConflict": "the key belongs to another request",
}
"""Names of errors in words that need no knowledge of their origin."""


# -- whose they are ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose pictures a folder holds: keys, and so the names of pictures, are unique only in one shoot."""

    ledger: str
    """The id that the ledger was made with."""
    account: str
    shoot: str


def check_holder(folder: Path, holder: Holder, names: Iterable[str] = ()) -> None:
    """Raise `InputError` where the folder holds what somebody else wrote.

    In a folder that is nobody's yet, the files of those names and of the results must not be there.
    """
    try:
        found = json.loads((folder / MARKER_NAME).read_text("utf-8"))
    except FileNotFoundError:
        if folder.is_dir() and (foreign := _first_there(folder, names)):
            raise _not_ours(f"`{folder / foreign}` was not written by this ledger") from None
        return
    except (ValueError, RecursionError):
        found = None
    if found == asdict(holder):
        return
    ours = isinstance(found, dict) and found.get("ledger") == holder.ledger
    what = "account or shoot" if ours else "ledger"
    raise _not_ours(f"`{folder}` holds the pictures of another {what}")


def claim(folder: Path, holder: Holder) -> None:
    """Note whose pictures the folder holds from now on; raises `InputError` if somebody was faster."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / MARKER_NAME).open("x", encoding="utf-8") as file:
            file.write(json.dumps(asdict(holder)))
    except FileExistsError:
        check_holder(folder, holder)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OperatorError(
            f"`{folder}` cannot be written: {reason}", code="unwritable", hint="nothing was sent"
        ) from error


def _first_there(folder: Path, names: Iterable[str]) -> str | None:
    pictures = (f"{name}.{ending}" for name in names for ending in ENDINGS)
    files = (JSONL_NAME, CSV_NAME, PAGE_NAME, *pictures)
    return next((file for file in files if (folder / file).exists()), None)


def _not_ours(message: str) -> InputError:
    hint = "name another folder with --pictures"
    return InputError(message, code="foreign_pictures", hint=hint)


# -- what became of each key ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one key: where it stands, what it cost, and where its pictures are."""

    key: str
    state: str
    credits: int
    estimated: bool
    """The provider did not say what it cost: `credits` is the quote until it does."""
    files: Sequence[str]
    """Relative to the folder of the results."""
    reason: str
    names: Sequence[str]
    """What its pictures are called, home or not, without an ending."""
    fields: Mapping[str, Any]
    """The closed fields of what was sent; empty where nothing was."""
    columns: Mapping[str, str] = field(repr=False)
    """The user's own columns as they stood in the file."""
    take: int = 1
    """Which take the rest speaks of: the latest; the pictures of earlier ones stay in the folder."""
    reused_from: str = ""
    """The key whose pictures were copied, because it had asked for the same."""

    @classmethod
    def of(cls, line: Line) -> Record:
        entry = line.entry
        return cls(
            key=line.key,
            state=line.ending.value,
            credits=line.credits,
            estimated=entry is not None and entry.estimated,
            files=tuple(line.files),
            reason=reason_of(line),
            names=line.names,
            fields=entry.closed_fields if entry is not None else {},
            columns=dict(line.columns),
            take=line.take,
            reused_from=line.reused_from,
        )

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Record:
        """From a line of `results.jsonl`; what is not there is empty. Raises `ValueError` for what is none.

        The file lies where anybody may write: a name in it that leads out of its folder is no name.
        """
        empty: dict[str, Any] = {"credits": 0, "estimated": False, "files": [], "names": []}
        empty |= {"fields": {}, "columns": {}, "take": 1}
        values = {item.name: found.get(item.name, empty.get(item.name, "")) for item in fields(cls)}
        if not all(_SHAPES[name](value) for name, value in values.items()):
            raise ValueError
        return cls(**values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_paths(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and is_inside(item) for item in value)


_SHAPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "key": _is_text,
    "state": lambda value: value in [*Ending],
    "credits": lambda value: type(value) is int and 0 <= value <= MOST_CREDITS,
    "estimated": lambda value: isinstance(value, bool),
    "files": _are_paths,
    "reason": _is_text,
    "names": _are_paths,
    "fields": lambda value: isinstance(value, dict),
    "columns": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "take": lambda value: type(value) is int and value > 0,
    "reused_from": _is_text,
}
"""What the values of a record are, by name."""


def reason_of(line: Line) -> str:
    """Why a row is not wholly there, in a few words."""
    texts = [told_reason(line.reason)] if line.reason else []
    if line.reused_from:
        texts.append(f"reused: {line.reused_from} asked for the same")
    if line.pictures_gone and line.entry is not None and not line.entry.prediction_id:
        texts.append("settled by hand, no pictures")
    elif line.pictures_gone:
        texts.append(f"{line.pictures_gone} expired before they were fetched")
    if line.pictures_missing:
        texts.append(f"{line.pictures_missing} not fetched yet")
    if line.entry is not None and 0 < line.entry.outputs < (line.entry.num_images or 1):
        texts.append(f"{line.entry.outputs} of {line.entry.num_images} pictures were made")
    return "; ".join(texts)


def told_reason(reason: str) -> str:
    """A reason for people.

    >>> told_reason("ConnectError"), told_reason("PoseError")
    ('no connection', 'PoseError')
    """
    return _TOLD.get(reason, reason)


def read_records(folder: Path) -> dict[str, Record]:
    """The records of earlier runs by key, in their order; none where there is no such file.

    A line that cannot be read is passed over: the ledger, not this file, knows what was paid.
    """
    try:
        text = (folder / JSONL_NAME).read_bytes().decode("utf-8", "surrogatepass")
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    records = filter(None, map(_record, text.split("\n")))
    return {record.key: record for record in records}


def _record(line: str) -> Record | None:
    try:
        found = json.loads(line)
        return Record.read(found) if isinstance(found, dict) and "key" in found else None
    except (ValueError, RecursionError):
        return None


def joined(earlier: Mapping[str, Record], now: Iterable[Record]) -> list[Record]:
    """The records of this run in its order, then those of rows that were not in it."""
    newest = {record.key: record for record in now}
    others = (record for key, record in earlier.items() if key not in newest)
    return [*newest.values(), *others]


def write_records(folder: Path, records: Sequence[Record]) -> None:
    """Write `results.jsonl`; raises `OperatorError` when it cannot be written."""
    lines = (json.dumps(asdict(record), ensure_ascii=False) for record in records)
    text = "".join(f"{line}\n" for line in lines)
    write_whole(folder / JSONL_NAME, text.encode("utf-8", "surrogatepass"))


def write_table(folder: Path, records: Sequence[Record]) -> None:
    """Write `results.csv`: the user's own columns, then state, credits, files and reason."""
    columns = list(dict.fromkeys(name for record in records for name in record.columns))
    # A column of the user's that is called like one of ours keeps its name, and ours steps aside.
    own = [name if name not in columns else f"planner_{name}" for name in OWN_COLUMNS]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(map(harmless, [*columns, *own]))
    for record in records:
        cells = [record.columns.get(name, "") for name in columns]
        told = [record.state, str(record.credits), "; ".join(record.files), record.reason]
        writer.writerow(map(harmless, [*cells, *told]))
    write_whole(folder / CSV_NAME, out.getvalue().encode("utf-8", "surrogatepass"))


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    >>> harmless("=cmd|' /C calc'!A0"), harmless("look-1")
    ("'=cmd|' /C calc'!A0", 'look-1')
    """
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
