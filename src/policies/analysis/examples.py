"""One concrete request for a cell: fields, labels and an instant that a person can try out.

Here belongs the way back from the cells of a space to what somebody would type. Which cell is worth
showing belongs to those who found it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from planner.prices import PriceEntry
from planner.request import OPEN_FIELDS, ModelCreateRequest
from policies.conditions import WEEKDAYS
from policies.space import Space

_CLOCK: Final = ("time", "weekday")
_NOON_ISH: Final = 600
_DAYS: Final = 15


@dataclass(frozen=True, slots=True)
class Example:
    """A request as asked, its labels, and the instant at which it is asked."""

    inputs: Mapping[str, Any]
    labels: Mapping[str, str]
    at: datetime

    def __str__(self) -> str:
        """As a person would write it down; a picture only as being there.

        >>> str(Example({"prompt": "x", "face_reference": "https://…"}, {"team": "a"}, datetime.max))
        'face_reference: present, team: a'
        """
        told = {name: "present" if name in OPEN_FIELDS else value for name, value in self.inputs.items()}
        told = {**{name: value for name, value in told.items() if name != "prompt"}, **self.labels}
        return ", ".join(f"{name}: {value}" for name, value in told.items()) or "a plain request"


def example_of(
    space: Space, told: Mapping[str, Any], request: ModelCreateRequest, entry: PriceEntry, now: datetime
) -> Example | None:
    """An example of a request in a context, of which `told` is one.

    None where the price entry ends before the clock shows such a time.
    """
    at = _instant(told, entry, max(now, entry.start), space.policy.zone)
    if at is None:
        return None
    declared = {name for policy in space.policies for name in policy.labels}
    given = {name: value for name, value in told.items() if value is not None and name not in _CLOCK}
    inputs = {**request.inputs(), **{name: value for name, value in given.items() if name not in declared}}
    return Example(inputs, {name: value for name, value in given.items() if name in declared}, at)


def _instant(told: Mapping[str, Any], entry: PriceEntry, base: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant from the base on with that time and weekday on the clock."""
    if not any(name in told for name in _CLOCK):
        return base
    local = base.astimezone(zone)
    hour, minute = divmod(told.get("time", _NOON_ISH), 60)
    for days in range(_DAYS):
        wall = (local + timedelta(days=days)).replace(
            hour=hour, minute=minute, second=0, microsecond=0, fold=0
        )
        at = wall.astimezone(base.tzinfo)
        there = at.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None)
        right_day = told.get("weekday") in (None, WEEKDAYS[wall.weekday()])
        if right_day and there and at >= base and (entry.end is None or at < entry.end):
            return at
    return None
