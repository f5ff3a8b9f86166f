"""Guarantees: what a policy promises that no decision under it ever is.

Here belongs what one says. Whether it holds belongs to `analysis`, which visits every case; at load it
is only read.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.conditions import Condition


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A condition that no decision may satisfy; it speaks of the final request and of the verdict."""

    name: str
    never: Condition
    because: str
    """Why, in the author's words; empty where nothing is said."""
    where: str
    """The policy's file and line, such as `studio.yaml:31`."""
