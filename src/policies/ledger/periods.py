"""Which span of time a report is about: `2026-10`, `2026-10-03`, `2026-Q3`, `2026`, or `FROM..TO`.

Here belongs what a person may type for a period and for a zone. The calendar itself stands in `budgets`:
a month of a report and a month of a budget are the same instants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from planner.errors import InputError, nearest
from policies.budgets import Per, window

_MOMENT: Final = timedelta(microseconds=1)
_HINT: Final = "use 2026-10, 2026-10-03, 2026-Q3, 2026, or two of them as FROM..TO"


@dataclass(frozen=True, slots=True)
class Period:
    """The half-open span [start, end) in UTC."""

    start: datetime
    end: datetime

    def days(self, zone: ZoneInfo) -> str:
        """The first and the last day of it, as the zone's calendar names them."""
        first, last = day_of(self.start, zone), day_of(self.end - _MOMENT, zone)
        return first if first == last else f"{first} to {last}"


def parse_period(text: str, zone: ZoneInfo) -> Period:
    """The period in a zone's calendar; raises `InputError` for anything else.

    >>> period = parse_period("2026-10", ZoneInfo("Europe/Berlin"))
    >>> period.start.isoformat(), period.end.isoformat()
    ('2026-09-30T22:00:00+00:00', '2026-10-31T23:00:00+00:00')
    >>> parse_period("2026-10..2026-11-15", ZoneInfo("UTC")).days(ZoneInfo("UTC"))
    '2026-10-01 to 2026-11-15'
    """
    first, dots, last = text.strip().partition("..")
    start, end = _span(first, zone, text), _span(last if dots else first, zone, text)
    if end.end <= start.start:
        raise InputError(f"`{text}` ends before it begins", code="bad_period", hint=_HINT)
    return Period(start.start, end.end)


def months_around(first: datetime, last: datetime, zone: ZoneInfo) -> Period:
    """The whole months from one instant to another."""
    _, end = window("month", last, zone)
    assert end is not None
    return Period(window("month", first, zone)[0], end)


def day_of(at: datetime, zone: ZoneInfo) -> str:
    """The day in a zone, such as `2026-10-03`."""
    return at.astimezone(zone).date().isoformat()


def named_zone(name: str | None) -> ZoneInfo:
    """The zone of that name, UTC where none is named; raises `InputError` for an unknown one.

    >>> named_zone("Europe/Berln")
    Traceback (most recent call last):
    planner.errors.InputError: `Europe/Berln` is not a time zone (did you mean `Europe/Berlin`?)
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, KeyError, OSError):
        known = {zone.lower(): zone for zone in available_timezones()}
        guess = nearest(str(name), sorted(known))
        hint = f"did you mean `{known[guess]}`?" if guess else "use a name such as Europe/Berlin"
        raise InputError(f"`{name}` is not a time zone", code="bad_timezone", hint=hint) from None


_FORMS: Final[tuple[tuple[str, Per], ...]] = (
    (r"(?P<year>\d{4})", "year"),
    (r"(?P<year>\d{4})-[Qq](?P<quarter>[1-4])", "quarter"),
    (r"(?P<year>\d{4})-(?P<month>\d{2})", "month"),
    (r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})", "day"),
)


def _span(text: str, zone: ZoneInfo, whole: str) -> Period:
    for form, per in _FORMS:
        if found := re.fullmatch(form, text.strip(), re.ASCII):
            parts = {name: int(value) for name, value in found.groupdict().items()}
            month = parts.get("month", 3 * parts.get("quarter", 1) - 2)
            try:
                noon = datetime(parts["year"], month, parts.get("day", 1), 12, tzinfo=zone)
                start, end = window(per, noon.astimezone(UTC), zone)
            except (ValueError, OverflowError):
                break
            assert end is not None
            return Period(start, end)
    raise InputError(f"`{whole}` is not a period", code="bad_period", hint=_HINT)
