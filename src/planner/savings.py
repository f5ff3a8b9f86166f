"""Cheaper ways to the same pictures, and what other pictures would save, from the jobs of each price cell.

Here belongs what to look for, how much it saves and what a request would become; every figure is the
difference between two quotes of the price book. Nothing here changes a request: `plan --apply` or a
policy may, and the studio decides.

All that a saving depends on is in the cell, except whether the same request came before; `workload` knows
that. The first two ways give the same picture, and no credit of theirs is counted twice: a job is looked at
in this order, and the second way sees it as the first left it.

1. the same request again: the picture is there already, so all of its price is saved and the job is not
   looked at further;
2. 4k with a face reference: the output is capped at 2k, so 2k is the same picture.

The others make another picture. Each stands alone, on top of these two; their figures do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from planner.prices import PriceEntry
from planner.quoting import CELLS, quotes

REPEATED: Final = "ask once for a picture that is asked for again"
CAPPED: Final = "ask for 2k where a face reference caps 4k at 2k"
OMITTED: Final = "write `fast` where the mode is omitted and billed higher"
BALANCED: Final = "make in `balanced` what is billed as `quality`"
SMALLER: Final = "make at 2k what is asked for at 4k"

NAMES: Final[Mapping[str, str]] = {
    REPEATED: "repeated",
    CAPPED: "capped",
    OMITTED: "omitted-mode",
    BALANCED: "balanced",
    SMALLER: "2k",
}
"""Each way by the name that `--apply-also` takes."""


@dataclass(frozen=True, slots=True)
class Saving:
    """One cheaper way: how many jobs it touches and how many credits it saves."""

    what: str
    jobs: int
    credits_saved: int
    same_picture: bool
    """False where the picture would be another one: worth a look, not a free gain, and it stands alone."""

    @property
    def name(self) -> str:
        """What it is called where it is chosen."""
        return NAMES[self.what]

    def as_json(self) -> dict[str, Any]:
        """One item of `savings` in the `plan` document."""
        return {
            "what": self.what,
            "jobs": self.jobs,
            "credits_saved": self.credits_saved,
            "same_picture": self.same_picture,
            "name": self.name,
        }


def find_savings(
    jobs: Mapping[int, int], repeated: Mapping[int, int], entry: PriceEntry
) -> tuple[Saving, ...]:
    """What would save something in a workload, the same picture first.

    `jobs` says how many jobs there are of each price cell (`Quote.cell`), `repeated` how many of them
    ask for a picture that an earlier job asks for (`Job.repeated`).

    >>> from planner.loading import shipped_prices
    >>> entry = shipped_prices().entry_at()
    >>> capped = CELLS.index(("4k", None, True, 1))
    >>> found = find_savings({capped: 2}, {capped: 1}, entry)
    >>> [(saving.name, saving.jobs, saving.credits_saved) for saving in found]
    [('repeated', 1, 8), ('capped', 1, 1), ('omitted-mode', 1, 2), ('balanced', 1, 1)]
    """
    again = {cell: quoted.credits for cell, quoted in enumerate(quotes(entry))}
    first = {cell: count - repeated.get(cell, 0) for cell, count in jobs.items()}
    found = [_total(REPEATED, repeated, again), _total(CAPPED, first, _saved(entry, ()))]
    capped = _saved(entry, ())
    for what in _OTHERS:
        both = _saved(entry, (what,))
        found.append(_total(what, first, {cell: both[cell] - capped[cell] for cell in both}))
    return tuple(saving for saving in found if saving.credits_saved)


def _total(what: str, jobs: Mapping[int, int], saved: Mapping[int, int]) -> Saving:
    touched = {cell: count for cell, count in jobs.items() if saved[cell]}
    credits_saved = sum(count * saved[cell] for cell, count in touched.items())
    return Saving(what, sum(touched.values()), credits_saved, what in (REPEATED, CAPPED))


@lru_cache(maxsize=64)
def _saved(entry: PriceEntry, others: tuple[str, ...]) -> Mapping[int, int]:
    """What each of the 96 cells saves in the same picture and those other ways: changed and quoted again."""
    credits = [quoted.credits for quoted in quotes(entry)]
    return {cell: credits[cell] - credits[cheaper(cell, entry, others)] for cell in range(len(CELLS))}


def cheaper(cell: int, entry: PriceEntry, others: tuple[str, ...] = ()) -> int:
    """The price cell that a job becomes for the same picture, and in those other ways one after the other.

    No step is taken that saves nothing.

    >>> from planner.loading import shipped_prices
    >>> entry, asked = shipped_prices().entry_at(), CELLS.index(("4k", "quality", True, 1))
    >>> CELLS[cheaper(asked, entry)], CELLS[cheaper(asked, entry, (BALANCED,))]
    (('2k', 'quality', True, 1), ('2k', 'balanced', True, 1))
    """
    credits = quotes(entry)
    for step in (_capped, *(_OTHERS[what] for what in others)):
        changed = step(entry, *CELLS[cell])
        if changed is not None and credits[changed].credits < credits[cell].credits:
            cell = changed
    return cell


_Step = Callable[[PriceEntry, str, str | None, bool, int], int | None]
"""From the parts of a cell to the cell it becomes; None where the way does not speak of it."""


def _capped(entry: PriceEntry, resolution: str, mode: str | None, face: bool, images: int) -> int | None:
    return _at_2k(entry, resolution, mode, face, images) if face else None


def _at_2k(entry: PriceEntry, resolution: str, mode: str | None, face: bool, images: int) -> int | None:
    """At 2k in the same mode: an omitted one is written where it would be billed as another there."""
    if resolution != "4k":
        return None
    if mode is None and entry.omitted_mode["4k"] != entry.omitted_mode["2k"]:
        mode = entry.omitted_mode["4k"]
    return CELLS.index(("2k", mode, face, images))


def _fast(entry: PriceEntry, resolution: str, mode: str | None, face: bool, images: int) -> int | None:
    return CELLS.index((resolution, "fast", face, images)) if mode is None else None


def _balanced(entry: PriceEntry, resolution: str, mode: str | None, face: bool, images: int) -> int | None:
    billed = mode or entry.omitted_mode[resolution]
    return CELLS.index((resolution, "balanced", face, images)) if billed == "quality" else None


_OTHERS: Final[Mapping[str, _Step]] = {OMITTED: _fast, BALANCED: _balanced, SMALLER: _at_2k}
"""The ways to another picture."""
