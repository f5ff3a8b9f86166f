"""What is to be done with a row, by what the ledger knows about its key: send, wait, ask, or nothing.

Here belongs the sorting before anything is sent, and again whenever another process turns out to have
been faster. Doing it belongs to `runner`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from policies.guard.batch import Ending, Line, ending_of, names_of, pictures_of
from policies.guard.machine import in_flight_elsewhere
from policies.guard.pictures import PictureFolder
from policies.guard.takes import Takes, Wish
from policies.ledger.entries import Entry
from policies.ledger.owners import Owner
from policies.ledger.states import TAKEN, State
from policies.ledger.store import Store


class Step(Enum):
    """What a row needs."""

    SEND = auto()
    """To be decided and sent: its key is free."""
    WAIT = auto()
    """Another process has it in flight."""
    ASK = auto()
    """The provider knows more than we do: where its pictures are, or what became of it."""
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch is run."""

    retake_failed: bool = False
    retake_changed: bool = False
    """Make another take of every row whose request is not the one that its key was used for."""
    takes: Mapping[str, int] = field(default_factory=dict)
    """By key the take that is wished for; the others stand for what they have."""
    max_credits: int | None = None


class Triage:
    """Sorts rows by the entries that speak for their keys."""

    def __init__(self, store: Store, owner: Owner, pictures: PictureFolder | None, options: Options) -> None:
        self._store = store
        self._owner = owner
        self._pictures = pictures
        self._options = options
        self._wish = Wish(options.takes, options.retake_changed)

    def sort(self, lines: Sequence[Line], known: Mapping[str, Takes]) -> dict[Step, list[Line]]:
        """The lines by what they need, each kind in the order of the file."""
        sorted_lines: dict[Step, list[Line]] = {step: [] for step in Step}
        for line in lines:
            sorted_lines[self.step(line, known.get(line.key, {}))].append(line)
        return sorted_lines

    def step(self, line: Line, takes: Takes) -> Step:
        """What a line needs, given the takes of its key; the line takes over what is known."""
        if line.request is None:
            entry = takes.get(line.take)
            return Step.NOTHING if entry is None else self.known(line, entry)
        course = self._wish.course(line.key, line.request, takes, self._store)
        if course.is_conflict:
            line.refuse("KeyConflict")
            return Step.NOTHING
        line.take = course.take
        if course.request is not None:
            line.request = course.request
            return Step.SEND
        return Step.SEND if course.entry is None else self.known(line, course.entry)

    def known(self, line: Line, entry: Entry) -> Step:
        """What a line needs whose key stands for this very request."""
        if line.request is not None and self._is_free(entry):
            return Step.SEND
        line.conclude(entry, reused=True)
        if in_flight_elsewhere(entry, self._owner):
            return Step.WAIT
        if entry.state is State.UNKNOWN and entry.prediction_id:
            return Step.ASK
        return Step.ASK if self._lacks_pictures(line, entry) else Step.NOTHING

    def _is_free(self, entry: Entry) -> bool:
        """Whether a key may be sent again: a job that ran and failed is left alone unless it is wished."""
        if entry.state in TAKEN:
            return False
        return ending_of(entry) is not Ending.FAILED or self._options.retake_failed

    def _lacks_pictures(self, line: Line, entry: Entry) -> bool:
        if self._pictures is None or line.ending is not Ending.COMPLETED:
            return False
        expected = pictures_of(entry)
        line.files = self._pictures.home(names_of(line, expected))
        missing = expected - len(line.files)
        # Without an id, as where a person settled it, nobody can be asked where the pictures are.
        if entry.outputs_lost or not entry.prediction_id:
            line.pictures_gone = missing
            return False
        line.pictures_missing = missing
        # A run that was killed may have written a picture and not have noted it.
        return missing > 0 or entry.outputs_home < entry.outputs
