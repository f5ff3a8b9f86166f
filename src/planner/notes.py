"""What is noted while a workload file is read: faults, and repairs with their number.

Here belongs the record of a pass over a file, and the one repair that keys and labels get. Which
repair a cell gets belongs to `cells`; how any of it is shown belongs to the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from unicodedata import normalize

from planner.columns import one_line
from planner.errors import Fault
from planner.sheets import Broken

TEXTS_TRIMMED: Final = "keys or labels trimmed or written in composed characters"


@dataclass(frozen=True, slots=True)
class Repair:
    """What was read differently from how it stood, and how often."""

    what: str
    count: int
    example_where: str

    def __str__(self) -> str:
        return f"{self.what}: {self.count} (first at {self.example_where})"


class Notes:
    """The faults and repairs of one pass over the file of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self._repairs: dict[str, tuple[int, int]] = {}

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """Each repair once, in the order in which it was first needed."""
        found = self._repairs.items()
        return tuple(Repair(what, count, f"{self.name}:{line}") for what, (count, line) in found)

    def blame(self, faults: Iterable[Fault], line: int) -> None:
        """Notes faults of that line; what they quote from the file stays on one line."""
        where = f"{self.name}:{line}"
        self.faults += [replace(fault, where=where, message=one_line(fault.message)) for fault in faults]

    def broken(self, row: Broken, line: int) -> None:
        """Notes a row that could not be read."""
        self.blame([Fault("broken_row", row.message, hint=row.hint)], line)

    def repair(self, what: str, line: int, times: int = 1) -> None:
        """Counts a repair; the line of the first one is kept as the example."""
        count, first = self._repairs.get(what, (0, line))
        self._repairs[what] = (count + times, first)

    def cleaned(self, text: str, line: int) -> str:
        """A key or a label as `composed` makes it, counted as a repair when that is another text.

        >>> notes = Notes("looks.csv")
        >>> notes.cleaned(" Autumn ", 2), str(notes.repairs[0])
        ('Autumn', 'keys or labels trimmed or written in composed characters: 1 (first at looks.csv:2)')
        """
        clean = composed(text)
        if clean != text:
            self.repair(TEXTS_TRIMMED, line)
        return clean


def composed(text: str) -> str:
    """A key or a label trimmed and NFC-normalised, case kept."""
    trimmed = text.strip()
    return trimmed if trimmed.isascii() else normalize("NFC", trimmed)


def look_clean(texts: Iterable[str]) -> bool:
    """Whether `composed` changes none of the texts, by one look at all: a no may be wrong, a yes is not.

    >>> look_clean(["Autumn", "", "fast track"]), look_clean(["Autumn "]), look_clean(["Größe"])
    (True, False, False)
    """
    joined = f"|{'|'.join(texts)}|"  # among printable ASCII only the space is trimmed
    return joined.isascii() and joined.isprintable() and "| " not in joined and " |" not in joined
