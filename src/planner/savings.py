"""Cheaper ways to the same pictures, found while a workload streams by.

Here belongs what to look for and how much it saves; every figure is the difference between two quotes
of the price book. Nothing here changes a request: a policy may, and the studio decides.

No credit is counted twice. Each row is looked at in this order, and a later kind sees the row as the
kinds before it left it:

1. the same request again: the picture is there already, so all of its price is saved and the row is
   not looked at further;
2. 4k with a face reference: the output is capped at 2k, so 2k is the same picture;
3. an omitted mode that is billed above the fast one: worth a look, but not the same picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from planner.prices import PriceBook, PriceEntry
from planner.quoting import CELLS, Quote, quotes
from planner.request import ModelCreateRequest, canonical

REPEATED: Final = "ask once for a picture that is asked for again"
CAPPED: Final = "ask for 2k where a face reference caps 4k at 2k"
OMITTED: Final = "write `fast` where the mode is omitted and billed higher"


@dataclass(frozen=True, slots=True)
class Saving:
    """One cheaper way: how many jobs it touches and how many credits it saves."""

    what: str
    jobs: int
    credits_saved: int
    same_picture: bool
    """False where the picture would be another one: worth a look, not a free gain."""

    def as_json(self) -> dict[str, Any]:
        """One item of `savings` in the `plan` document."""
        return {
            "what": self.what,
            "jobs": self.jobs,
            "credits_saved": self.credits_saved,
            "same_picture": self.same_picture,
        }


class Savings:
    """Adds up savings row by row; memory grows with the number of distinct requests.

    >>> from planner.loading import shipped_prices
    >>> from planner.quoting import quote
    >>> savings = Savings(shipped_prices())
    >>> request = ModelCreateRequest(prompt="x", resolution="4k", face_reference="https://a.example/f.png")
    >>> for _ in range(2):
    ...     savings.add(request, quote(request, shipped_prices()))
    >>> [(found.jobs, found.credits_saved, found.same_picture) for found in savings.found()]
    [(1, 8, True), (1, 1, True), (1, 2, False)]
    """

    __slots__ = ("_cells", "_repeated_credits", "_repeated_jobs", "_seen", "_ways")

    def __init__(self, book: PriceBook, at: datetime | None = None) -> None:
        self._ways = _ways(book.entry_at(at))
        self._seen: set[Hashable] = set()
        self._cells = [0] * len(CELLS)
        self._repeated_jobs = self._repeated_credits = 0

    def add(
        self, request: ModelCreateRequest, quote: Quote, count: int = 1, digest: Hashable | None = None
    ) -> None:
        """Count a request that stands `count` times in the workload.

        `digest` stands for the picture (`fingerprint`, or its bytes); a caller that has it saves the
        work of making it again, and must then give one for every request.
        """
        if digest is None:
            digest = hashlib.sha256(canonical(request)).digest()
        repeats = count
        if digest not in self._seen:
            self._seen.add(digest)
            self._cells[quote.cell] += 1
            repeats -= 1
        if repeats:
            self._repeated_jobs += repeats
            self._repeated_credits += repeats * quote.credits

    def found(self) -> tuple[Saving, ...]:
        """What would save something, in the order in which it was looked for."""
        repeated = Saving(REPEATED, self._repeated_jobs, self._repeated_credits, True)
        capped = self._total(CAPPED, [way.capped for way in self._ways], True)
        omitted = self._total(OMITTED, [way.omitted for way in self._ways], False)
        return tuple(saving for saving in (repeated, capped, omitted) if saving.credits_saved)

    def _total(self, what: str, saved: list[int], same_picture: bool) -> Saving:
        found = [(jobs, credits) for jobs, credits in zip(self._cells, saved, strict=True) if credits]
        return Saving(
            what,
            sum(jobs for jobs, _ in found),
            sum(jobs * credits for jobs, credits in found),
            same_picture,
        )


@dataclass(frozen=True, slots=True)
class _Ways:
    """Credits that a request of one price cell can save, never less than none."""

    capped: int
    omitted: int


@lru_cache(maxsize=16)
def _ways(entry: PriceEntry) -> tuple[_Ways, ...]:
    """What each of the 96 cells can save under an entry: the change is made and quoted again."""
    priced = {cell: quoted.credits for cell, quoted in zip(CELLS, quotes(entry), strict=True)}
    ways = []
    for resolution, mode, face, images in CELLS:
        asked = capped = priced[resolution, mode, face, images]
        if face and resolution == "4k" and priced["2k", mode, face, images] < asked:
            resolution, capped = "2k", priced["2k", mode, face, images]
        fast = capped if mode else priced[resolution, "fast", face, images]
        ways.append(_Ways(asked - capped, max(0, capped - fast)))
    return tuple(ways)
