"""Contexts: what conditions read besides a request that rules move, and those that they take alike.

Here belongs a context and how the parts of several come together. Which parts there are belongs to
`space`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

Masks = tuple[int, ...]
"""What each matcher lets hold, in their order."""
Kind = tuple[Masks, tuple[bool, ...], tuple[int, ...]]
"""Equal for contexts that are taken alike."""


@dataclass(frozen=True, slots=True)
class Context:
    """Contexts that all conditions take alike, and the one of them that says least."""

    masks: Masks
    unlisted: tuple[bool, ...]
    """For each policy whether a label has a value that its list does not have; that is denied."""
    limits: tuple[int, ...] = ()
    """The limits that depend on labels, in the same order for all contexts."""
    example: Mapping[str, Any] = field(default_factory=dict)
    """A value for every label and field that somebody reads; None where it is absent."""
    said: tuple[int, int] = (0, 0)
    """How many fields and how many labels of the example are there."""
    at: datetime | None = None
    """An instant at which the clock is like that; None in a part that says nothing of it."""

    @property
    def kind(self) -> Kind:
        return self.masks, self.unlisted, self.limits


class TooLarge(Exception):
    """There are more requests, or more cells, than were asked for; says how many that is."""


def plainest(group: Iterable[Context]) -> list[Context]:
    """One of those that are taken alike, the one that says least."""
    found: dict[Kind, Context] = {}
    for context in group:
        known = found.setdefault(context.kind, context)
        if context.said < known.said:
            found[context.kind] = context
    return list(found.values())


def together(before: Iterable[Context], group: Iterable[Context], most: int) -> list[Context]:
    """Each context with each of other attributes; of those that are taken alike the one that says least.

    Raises `TooLarge` where more than so many are left.
    """
    found: dict[Kind, Context] = {}
    for one, other in product(before, plainest(group)):
        kind = _kind(one, other)
        said = one.said[0] + other.said[0], one.said[1] + other.said[1]
        known = found.get(kind)
        if known is None or said < known.said:
            found[kind] = Context(*kind, {**one.example, **other.example}, said, other.at or one.at)
            if len(found) > most:
                raise TooLarge
    return list(found.values())


def _kind(one: Context, other: Context) -> Kind:
    masks = tuple(a & b for a, b in zip(one.masks, other.masks, strict=True))
    unlisted = tuple(a or b for a, b in zip(one.unlisted, other.unlisted, strict=True))
    return masks, unlisted, one.limits + other.limits
