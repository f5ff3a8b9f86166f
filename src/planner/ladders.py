"""What a job may go down to: the fields that can be given up, rung by rung, and what each option costs.

Here belong ladders, floors and the options of one price cell. Which option how many jobs take, so that a
whole workload fits, belongs to `fitting`; what a policy's `downgrade` does to one request to
`policies.downgrading`, which means the same by the same words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from planner.capacity import look_delay_seconds
from planner.errors import Fault, InputError, nearest
from planner.latency import Seconds
from planner.pacing import Limits
from planner.prices import PriceEntry
from planner.quoting import CELLS, quotes
from planner.rungs import LADDERS, floor_faults

CAP: Final = "2k"
"""The most that is made with a face reference: above it nothing is lost by asking for less."""

TICK_MS: Final = 100
"""Service times are rounded up to this, so that sums over a million jobs stay small whole numbers."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """What may be given up: the fields, the first to go first, and what none of them falls below.

    >>> GiveUp(("num_images",), {"num_images": 2}).floor
    {'num_images': 2}
    """

    order: tuple[str, ...] = ()
    floor: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if faults := [*_bad_order(self.order), *floor_faults(self.floor)]:
            raise InputError(faults=faults)


def _bad_order(order: Sequence[str]) -> list[Fault]:
    faults = []
    for place, name in enumerate(order):
        if name not in LADDERS:
            guess = nearest(name, tuple(LADDERS))
            hint = f"did you mean `{guess}`?" if guess else f"use {', '.join(LADDERS)}"
            faults.append(Fault("bad_order", f"`{name}` cannot be given up", field=name, hint=hint))
        elif name in order[:place]:
            faults.append(Fault("bad_order", f"`{name}` stands twice", field=name, hint="name it once"))
    return faults


@dataclass(frozen=True, slots=True)
class Option:
    """A form that a job may take: its price cell, what it gives up, what it costs and how long it takes."""

    cell: int
    steps: tuple[int, ...]
    """Steps down the ladder of each field of the order, the last-named field first."""
    credits: int
    work_ms: int
    """Nine of ten such jobs are seen to have ended within this."""


def work_ms(seconds: Seconds, limits: Limits) -> int:
    """For how long a job takes a slot, nine times of ten, until polling sees its end: whole ticks.

    >>> work_ms(Seconds(14.0, 20.0, "documented"), Limits())
    20500
    """
    return math.ceil((seconds.p90_seconds + look_delay_seconds(limits)) * 1000 / TICK_MS) * TICK_MS


def options(
    cell: int, give_up: GiveUp, entry: PriceEntry, by_cell: Sequence[Seconds], limits: Limits
) -> tuple[Option, ...]:
    """Every form a job of that price cell may take, the best first: what it is itself, then what is less.

    A field below its floor stays as it is. An omitted mode is the one it is billed as: it is written out
    where it is given up, or where at another resolution another one would be billed.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> entry = shipped_prices().entry_at()
    >>> by_cell = shipped_latency().by_cell(entry)
    >>> asked = CELLS.index(("2k", None, False, 2))
    >>> found = options(asked, GiveUp(("num_images", "resolution")), entry, by_cell, Limits())
    >>> [(CELLS[option.cell], option.steps, option.credits) for option in found]
    ... # doctest: +NORMALIZE_WHITESPACE
    [(('2k', None, False, 2), (0, 0), 8), (('2k', None, False, 1), (0, 1), 4),
     (('1k', 'quality', False, 2), (1, 0), 6), (('1k', 'quality', False, 1), (1, 1), 3)]
    """
    resolution, mode, face, images = CELLS[cell]
    billed = mode or entry.omitted_mode[resolution]
    asked: dict[str, Any] = {"num_images": images, "generation_mode": billed, "resolution": resolution}
    last_first = give_up.order[::-1]
    found = []
    for values in product(*(_down(name, asked[name], give_up.floor.get(name)) for name in last_first)):
        now = {**asked, **dict(zip(last_first, values, strict=True))}
        stays_omitted = (
            mode is None
            and now["generation_mode"] == billed
            and entry.omitted_mode[now["resolution"]] == billed
        )
        written = None if stays_omitted else now["generation_mode"]
        target = CELLS.index((now["resolution"], written, face, now["num_images"]))
        steps = tuple(_steps(name, asked[name], now[name], face) for name in last_first)
        found.append(Option(target, steps, quotes(entry)[target].credits, work_ms(by_cell[target], limits)))
    return tuple(found)


def difference(before: int, after: int) -> dict[str, Any]:
    """The fields in which one price cell differs from another, with their values in the second.

    >>> difference(CELLS.index(("2k", None, False, 2)), CELLS.index(("2k", "fast", False, 1)))
    {'num_images': 1, 'generation_mode': 'fast'}
    """
    resolution, mode, _, images = CELLS[before]
    new_resolution, new_mode, _, new_images = CELLS[after]
    found = {
        "num_images": (images, new_images),
        "generation_mode": (mode, new_mode),
        "resolution": (resolution, new_resolution),
    }
    return {name: value for name, (old, value) in found.items() if old != value}


def _down(name: str, value: Any, floor: Any) -> tuple[Any, ...]:
    """What a field may become, from what it is downwards."""
    ladder = LADDERS[name]
    now = ladder.index(value)
    least = 0 if floor is None else min(ladder.index(floor), now)
    return ladder[least : now + 1][::-1]


def _steps(name: str, before: Any, after: Any, face: bool) -> int:
    """How many steps of what is seen lie between two values of a field."""
    ladder = LADDERS[name]
    most = ladder.index(CAP) if face and name == "resolution" else len(ladder)
    return min(most, ladder.index(before)) - min(most, ladder.index(after))
