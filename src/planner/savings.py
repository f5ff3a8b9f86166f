"""Cheaper ways to the same pictures, found in how many jobs a workload has of each price cell.

Here belongs what to look for and how much it saves; every figure is the difference between two quotes
of the price book. Nothing here changes a request: a policy may, and the studio decides.

All that a saving depends on is in the cell, except whether the same request came before; `workload`
knows that. No credit is counted twice. Each job is looked at in this order, and a later kind sees the
job as the kinds before it left it:

1. the same request again: the picture is there already, so all of its price is saved and the job is
   not looked at further;
2. 4k with a face reference: the output is capped at 2k, so 2k is the same picture;
3. an omitted mode that is billed above the fast one: worth a look, but not the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from planner.prices import PriceEntry
from planner.quoting import CELLS, quotes

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


def find_savings(
    jobs: Mapping[int, int], repeated: Mapping[int, int], entry: PriceEntry
) -> tuple[Saving, ...]:
    """What would save something in a workload, in the order in which it is looked for.

    `jobs` says how many jobs there are of each price cell (`Quote.cell`), `repeated` how many of them
    ask for a picture that an earlier job asks for (`Job.repeated`).

    >>> from planner.loading import shipped_prices
    >>> entry = shipped_prices().entry_at()
    >>> capped = CELLS.index(("4k", None, True, 1))
    >>> found = find_savings({capped: 2}, {capped: 1}, entry)
    >>> [(saving.jobs, saving.credits_saved, saving.same_picture) for saving in found]
    [(1, 8, True), (1, 1, True), (1, 2, False)]
    """
    ways = _ways(entry)
    again = {cell: quoted.credits for cell, quoted in enumerate(quotes(entry))}
    first = {cell: count - repeated.get(cell, 0) for cell, count in jobs.items()}
    found = (
        _total(REPEATED, repeated, again, True),
        _total(CAPPED, first, {cell: way.capped for cell, way in enumerate(ways)}, True),
        _total(OMITTED, first, {cell: way.omitted for cell, way in enumerate(ways)}, False),
    )
    return tuple(saving for saving in found if saving.credits_saved)


def _total(what: str, jobs: Mapping[int, int], saved: Mapping[int, int], same_picture: bool) -> Saving:
    touched = {cell: count for cell, count in jobs.items() if saved[cell]}
    credits_saved = sum(count * saved[cell] for cell, count in touched.items())
    return Saving(what, sum(touched.values()), credits_saved, same_picture)


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
