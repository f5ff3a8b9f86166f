"""Has a ledger's file gone back in time: the number of its last event, kept in a file beside it.

An older copy put back in place is a ledger like any other, and does not know what was paid since: the
same rows would be paid again. The ledger cannot tell by itself, so commits leave their number in
`spend.db-latest`, and who is about to spend compares. The number is written after the commit, at most
once a second and when the ledger is closed, and is not forced to the disk, so it may lag behind the ledger
and never runs ahead of it; where it is missing or cannot be written, nothing is known and nothing is
refused.

Here belongs SQLite's file alone: a server is restored by its administrator, not by copying a file.
"""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Final

SUFFIX: Final = "-latest"

_LINE: Final = re.compile(rb"([0-9a-f]{32}) ([0-9]{20})\n")
_LAST: Final = "SELECT (SELECT value FROM facts WHERE name = 'ledger_id'), (SELECT max(seq) FROM events)"

Last = tuple[str, int]
"""A ledger's id, and the number of its last event."""


def mark_of(ledger: Path) -> Path:
    """The file beside a ledger's file."""
    return ledger.with_name(ledger.name + SUFFIX)


def last_event(connection: sqlite3.Connection) -> Last | None:
    """The ledger and the number of its last event, within a transaction; None where they cannot be read."""
    try:
        ledger_id, last = connection.execute(_LAST).fetchone()
    except sqlite3.Error:
        return None  # what is about to be committed matters more than noticing some day that it is gone
    return ledger_id, last or 0


def note(mark: str, last: Last | None) -> None:
    """Keep the number of the last event, which is committed, unless this ledger was further already."""
    if last is None:
        return
    ledger_id, number = last
    try:
        file = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            known_id, known = _read(file)
            if known_id != ledger_id or known < number:
                os.pwrite(file, f"{ledger_id} {number:020d}\n".encode(), 0)
        finally:
            os.close(file)
    except OSError:
        return  # what was committed is more important than noticing some day that it is gone


def missing_events(mark: str, connection: sqlite3.Connection) -> int:
    """How many events this ledger has had and has no longer; 0 where nothing is known."""
    try:
        file = os.open(mark, os.O_RDONLY)
        try:
            known_id, known = _read(file)
        finally:
            os.close(file)
    except OSError:
        return 0
    # The ledger is read after its mark, so what others commit meanwhile makes no newest one look old.
    ledger_id, last = connection.execute(_LAST).fetchone()
    return max(known - (last or 0), 0) if known_id == ledger_id else 0


def _read(file: int) -> tuple[str, int]:
    """The ledger that stands there and its number; nothing for what cannot be read."""
    found = _LINE.fullmatch(os.pread(file, 64, 0))
    return (found[1].decode(), int(found[2])) if found else ("", 0)
