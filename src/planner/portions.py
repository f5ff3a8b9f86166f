"""The same pictures asked for one, two, three or four in a request: what that does to time and slots.

Here belong asking in smaller portions and what it comes to. A job's pictures share its prompt, so a job
can be split into more requests, and jobs are never merged. The credits stay the same, because the price
is for each picture; a seed gives other pictures when it is asked in other portions.

Nobody has said whether a request for four pictures takes one slot or four. Both are simulated, and what
is found is given as the pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from statistics import median
from typing import Any, Final

from planner.capacity import Draws, look_delay_seconds
from planner.latency import Seconds
from planner.pacing import Limits
from planner.queues import schedule_wide
from planner.quoting import CELLS

WIDE_TRIALS: Final = 20
"""Draws that are walked with requests that take several slots, which is slower than the recursion."""

_PLACES: Final = {cell: place for place, cell in enumerate(CELLS)}


@dataclass(frozen=True, slots=True)
class Portion:
    """A batch asked with at most so many pictures in a request."""

    images_per_request: int
    requests: int
    slot_seconds: tuple[float, float]
    """How long slots are taken in all: if a request takes one slot, and if each of its pictures does."""
    finish_seconds: tuple[float, float]
    """The median finish, under the same two readings."""

    def as_json(self) -> dict[str, Any]:
        """One element of `images_per_request` in the `timing` of the `plan` document."""
        return {
            "images_per_request": self.images_per_request,
            "requests": self.requests,
            "slot_seconds": _pair_json(self.slot_seconds),
            "finish_p50_seconds": _pair_json(self.finish_seconds),
        }


def _pair_json(pair: tuple[float, float]) -> dict[str, float]:
    return {"one_slot": round(pair[0], 1), "slot_for_each_image": round(pair[1], 1)}


def portions(
    cells: Sequence[int], by_cell: Sequence[Seconds], limits: Limits | None = None, *, seed: int = 0
) -> tuple[Portion, ...]:
    """A batch asked in portions of 1 up to the most pictures that any of its jobs asks for.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> by_cell = shipped_latency().by_cell(shipped_prices().entry_at())
    >>> pairs = bytes([CELLS.index(("1k", "fast", False, 2))] * 60)
    >>> [(found.images_per_request, found.requests) for found in portions(pairs, by_cell)]
    [(1, 120), (2, 60)]
    """
    most = max((CELLS[cell][3] for cell in set(cells)), default=0)
    return tuple(
        _portion(split(cells, images), images, by_cell, limits or Limits(), seed)
        for images in range(1, most + 1)
    )


def split(cells: Sequence[int], images: int) -> bytes:
    """The price cells of the requests when no request asks for more than so many pictures.

    >>> three = CELLS.index(("2k", "quality", True, 3))
    >>> [CELLS[cell] for cell in split([three], 2)]
    [('2k', 'quality', True, 2), ('2k', 'quality', True, 1)]
    """
    parts = {cell: _parts(cell, images) for cell in set(cells)}
    return b"".join(map(parts.__getitem__, cells))


def _parts(cell: int, images: int) -> bytes:
    resolution, mode, face, asked = CELLS[cell]
    whole, rest = divmod(asked, images)
    numbers = [images] * whole + [rest] * bool(rest)
    return bytes(_PLACES[resolution, mode, face, number] for number in numbers)


def _portion(
    cells: Sequence[int], images: int, by_cell: Sequence[Seconds], limits: Limits, seed: int
) -> Portion:
    draws = Draws.of(cells, by_cell, seed=seed)
    narrow = draws.under(limits).p50_seconds
    asked = Counter(cells)
    work = {cell: by_cell[cell].mean_seconds * requests for cell, requests in asked.items()}
    return Portion(
        images_per_request=images,
        requests=len(cells),
        slot_seconds=(
            fsum(work.values()),
            fsum(seconds * CELLS[cell][3] for cell, seconds in work.items()),
        ),
        finish_seconds=(narrow, _wide_seconds(draws, limits) if images > 1 else narrow),
    )


def _wide_seconds(draws: Draws, limits: Limits) -> float:
    """The median finish if each picture of a request takes a slot."""
    delay, widths = look_delay_seconds(limits), [CELLS[cell][3] for cell in draws.cells]
    runs = ([end + delay for end in trial.seen_seconds] for trial in draws.trials[:WIDE_TRIALS])
    return draws.growth * median(schedule_wide(run, widths, limits).finish_seconds for run in runs)
