"""Chance without a generator: every draw is a pure function of the seed and of what it is drawn for.

A draw does not depend on the draws before it, so adding a fault never moves another one, and a
restarted sandbox goes on with the same luck. What the draws decide belongs to `faults` and `service`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import cos, log, pi, sqrt
from typing import Final, TypeVar

T = TypeVar("T")

_ONE: Final = 2.0**64


def unit(*what: object) -> float:
    """An even draw in [0, 1) for the thing named by `what`.

    >>> unit(7, "failed", 3) == unit(7, "failed", 3) != unit(7, "failed", 4)
    True
    """
    name = ":".join(map(str, what)).encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest()) / _ONE


def normal(*what: object) -> float:
    """A draw from the standard normal distribution for the thing named by `what`."""
    radius = sqrt(-2.0 * log(1.0 - unit(*what, "radius")))
    return radius * cos(2.0 * pi * unit(*what, "angle"))


def pick(items: Sequence[T], *what: object) -> T:
    """One of `items`, each as likely as the others."""
    return items[int(unit(*what) * len(items))]


def hex_id(*what: object) -> str:
    """32 hexadecimal digits for the thing named by `what`."""
    return blake2b(":".join(map(str, what)).encode(), digest_size=16).hexdigest()
