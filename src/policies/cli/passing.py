"""What would pass, in words: `num_images 1 (4 credits)`, a wait, more credits.

Here belongs how an alternative is said to people. How it is found belongs to `policies.alternatives`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from planner.money import usd_from_micro
from policies.alternatives import Alternatives
from policies.cli.output import counted, credits_text, usd_text
from policies.decision import ASSUMED, Alternative, More
from policies.spending import scope_name


def ways(passing: Alternatives) -> list[str]:
    """The nearest alternative of each kind: other fields, a wait, more credits.

    >>> ways(Alternatives((Alternative({"num_images": 1}, 4), Alternative({"resolution": "1k"}, 2))))
    ['num_images 1 (4 credits)']
    """
    kinds: dict[tuple[bool, bool], Alternative] = {}
    for found in passing.found:
        kinds.setdefault((found.wait_until is None, not found.more), found)
    return [", and ".join(_parts(found)) for found in kinds.values()]


def _parts(found: Alternative) -> Iterator[str]:
    """What has to be done for one alternative, one thing after the other."""
    if found.changes:
        changes = ", ".join(f"{name} {value}" for name, value in found.changes.items())
        yield f"{changes} ({credits_text(found.credits)})"
    if found.wait_until is not None:
        yield f"wait until {instant_text(found.wait_until)} if {ASSUMED}"
    if found.more:
        yield " and ".join(map(_more_text, found.more))


def instant_text(at: datetime) -> str:
    """An instant of the coming months with its zone.

    >>> from zoneinfo import ZoneInfo
    >>> instant_text(datetime(2026, 12, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    'Tue 1 Dec 00:00 Europe/Berlin'
    """
    return f"{at:%a} {at.day} {at:%b %H:%M} {at.tzinfo}"


def _more_text(more: More) -> str:
    place = scope_name(more.allowance)
    if more.allowance.unit == "credits":
        return f"{counted(more.amount, 'more credit')} in {place}"
    return f"{usd_text(usd_from_micro(more.amount))} more in {place}"
