"""What would pass, in words: `num_images 1 (4 credits)`, a wait, more credits.

Here belongs how alternatives and rewrites are said to people. How they are found belongs to
`policies.alternatives` and to the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from planner.money import usd_from_micro
from policies.alternatives import Alternatives
from policies.cli.output import counted, credits_text, usd_text
from policies.decision import ASSUMED, Alternative, Change, More
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


def changes_text(changes: Sequence[Change]) -> str:
    """What rewriting comes to, field by field, with the rules that did it.

    >>> changes_text([Change("resolution", "4k", "2k", "no-4k", 1), Change("seed", 7, None, "no-4k", 0)])
    'resolution 4k → 2k, seed 7 → absent by `no-4k`'
    """
    fields = dict.fromkeys(change.field for change in changes)
    before = {change.field: change.before for change in reversed(changes)}
    after = {change.field: change.after for change in changes}
    told = ", ".join(
        f"{name} {_value(before[name])} → {_value(after[name])}"
        for name in fields
        if before[name] != after[name]
    )
    rules = ", ".join(dict.fromkeys(f"`{change.rule}`" for change in changes))
    return f"{told} by {rules}"


def _value(value: object) -> str:
    return "absent" if value is None else str(value)


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
