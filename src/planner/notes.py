"""What is noted while a workload file is read: faults, and repairs with their number.

Here belongs the record of a pass over a file, and the one repair that keys and labels get. Which
repair a cell gets belongs to `cells`; how any of it is shown belongs to the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        """A key or a label trimmed and NFC-normalised, case kept.

        >>> notes = Notes("looks.csv")
        >>> notes.cleaned(" Autumn ", 2), str(notes.repairs[0])
        ('Autumn', 'keys or labels trimmed or written in composed characters: 1 (first at looks.csv:2)')
        """
        trimmed = text.strip()
        clean = trimmed if trimmed.isascii() else normalize("NFC", trimmed)
        if clean != text:
            self.repair(TEXTS_TRIMMED, line)
        return clean

    def labels(self, names: Sequence[tuple[str, int]], texts: Sequence[str], line: int) -> dict[str, str]:
        """The labels of a row that have a text, from the places at which they stand."""
        found: dict[str, str] = {}
        for name, place in names:
            text = texts[place]
            if text and not (text.isascii() and text[0] > " " and text[-1] > " "):
                text = self.cleaned(text, line)  # apart, because nearly every label is clean already
            if text:
                found[name] = text
        return found
