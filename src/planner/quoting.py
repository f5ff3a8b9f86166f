"""What a request costs: `quote(request, book, at)` and the lines that add up to it.

Here belongs the price function and nothing else; the numbers come from the price book. The part of
a request that decides its price is one of 96 cells (3 resolutions x 4 modes with the omitted one x
face or not x 4 counts), so each entry has 96 quotes, made once and shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import Any, Final

from planner.prices import PriceBook, PriceEntry
from planner.request import RESOLUTIONS, ModelCreateRequest, parse_request

MODES: Final = (None, "fast", "balanced", "quality")
COUNTS: Final = (1, 2, 3, 4)
CELLS: Final = tuple(product(RESOLUTIONS, MODES, (False, True), COUNTS))
"""(resolution, mode or None, face reference, number of images), in the order of `price_cell`."""

_RESOLUTION_OFFSET: Final[Mapping[str | None, int]] = {None: 0, "1k": 0, "2k": 32, "4k": 64}
_MODE_OFFSET: Final[Mapping[str | None, int]] = {None: 0, "fast": 8, "balanced": 16, "quality": 24}
_COUNT_OFFSET: Final[Mapping[int | None, int]] = {None: 0, 1: 0, 2: 1, 3: 2, 4: 3}


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """One line of a quote: `credits` per image, `times` images."""

    what: str
    credits: int
    times: int

    @property
    def total(self) -> int:
        return self.credits * self.times

    def as_json(self) -> dict[str, Any]:
        return {"what": self.what, "credits": self.credits, "times": self.times, "total": self.total}


@dataclass(frozen=True, slots=True)
class Quote:
    """The exact price of one request, in credits, and where it comes from."""

    credits: int
    billed_mode: str
    price_book: str
    lines: tuple[QuoteLine, ...]
    cell: int
    """The request's index in `CELLS`."""


def price_cell(request: ModelCreateRequest) -> int:
    """The index in `CELLS` of the part of a request that decides its price."""
    return (
        _RESOLUTION_OFFSET[request.resolution]
        + _MODE_OFFSET[request.generation_mode]
        + (4 if request.face_reference is not None else 0)
        + _COUNT_OFFSET[request.num_images]
    )


def quote(
    request: ModelCreateRequest | Mapping[str, Any], book: PriceBook, at: datetime | None = None
) -> Quote:
    """The price of a request under the entry in force at an instant.

    Without an instant, the entry in force when the book was last checked. Raises `InvalidRequest`
    for what the provider would refuse and `NoPrice` outside the book.

    >>> from planner.loading import shipped_prices
    >>> found = quote({"prompt": "x", "resolution": "2k", "num_images": 2}, shipped_prices())
    >>> found.credits, found.billed_mode, [line.what for line in found.lines]
    (8, 'quality', ['quality at 2k (mode omitted)'])
    """
    return quotes(book.entry_at(at))[price_cell(parse_request(request))]


@lru_cache(maxsize=256)
def quotes(entry: PriceEntry) -> tuple[Quote, ...]:
    """All 96 quotes of an entry, in the order of `CELLS`."""
    return tuple(_price(entry, index) for index in range(len(CELLS)))


def _price(entry: PriceEntry, index: int) -> Quote:
    resolution, mode, face, images = CELLS[index]
    billed = mode or entry.omitted_mode[resolution]
    omitted = "" if mode else " (mode omitted)"
    lines = [QuoteLine(f"{billed} at {resolution}{omitted}", entry.credits[billed][resolution], images)]
    if face:
        lines.append(QuoteLine("face reference", entry.face_reference, images))
    return Quote(sum(line.total for line in lines), billed, entry.id, tuple(lines), index)
