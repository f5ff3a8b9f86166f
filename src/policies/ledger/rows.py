"""What turns entries into report rows: sums over entries, grouped and by period.

Here belong the figures and how they are added up. The database does the adding, exactly and in whole
numbers: each entry counts at the rate recorded with its hold, and in the period of its booking. How a
report looks belongs to the command line and to `planner.report`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, not_, or_, select

from planner.errors import InputError, nearest
from planner.money import usd_from_micro
from planner.request import DEFAULTS, MODEL_NAME
from policies.decision import Verdict
from policies.ledger.entries import from_us, to_us
from policies.ledger.periods import Period, months_around
from policies.ledger.schema import entries, events
from policies.ledger.states import OPEN, Happened, State
from policies.ledger.store import Store

Value = str | int | bool | None
"""What a row is grouped by: a label (None where it is missing), a setting, or a span of the calendar."""


class Figures(NamedTuple):
    """The sums of one row: credits, whole micro-dollars at recorded rates, and numbers of jobs."""

    settled: int
    """Charged, estimates included."""
    estimated: int
    """The part of it that no header confirmed, what was settled by hand included."""
    by_hand: int
    """The part of `settled` that stands at what a named person said."""
    by_hand_jobs: int
    by_hand_quoted: int
    """What `by_hand` should have cost by its quotes."""
    held: int
    unknown: int
    released: int
    """Set aside once and given back."""
    usd_micro: int
    """What `settled` cost."""
    usd_at_most_micro: int
    """What it costs if all that is held or unknown is charged."""
    quoted: int
    """What `settled` should have cost by its quotes."""
    saved_by_rewrites: int
    """How much more `settled` would have been quoted at without the policy's rewrites."""
    jobs: int
    """Entries that went to the provider; what was given back unsent is none."""
    failed: int
    denied: int
    """Jobs whose last entry of the period was denied, however often they were tried."""
    waiting: int
    """Jobs whose last entry of the period waits for a person."""

    @property
    def price_difference(self) -> int:
        """Charged minus quoted, where the provider and no person said what was charged."""
        return (self.settled - self.by_hand) - (self.quoted - self.by_hand_quoted)

    @property
    def at_most(self) -> int:
        """What is charged if everything open or unconfirmed is."""
        return self.settled + self.held + self.unknown

    def as_json(self) -> dict[str, Any]:
        """The figures as `report --format json` names them."""
        return {
            "settled": self.settled,
            "estimated": self.estimated,
            "settled_by_hand": {"jobs": self.by_hand_jobs, "credits": self.by_hand},
            "held": self.held,
            "unknown": self.unknown,
            "usd": str(usd_from_micro(self.usd_micro)),
            "jobs": self.jobs,
            "failed": self.failed,
            "quoted": self.quoted,
            "price_difference": self.price_difference,
            "saved_by_rewrites": self.saved_by_rewrites,
            "released": self.released,
            "denied": self.denied,
            "waiting": self.waiting,
            "usd_at_most": str(usd_from_micro(self.usd_at_most_micro)),
        }


def summed(found: Iterable[Figures]) -> Figures:
    """All of them together.

    >>> summed([]).settled
    0
    """
    rows = list(found)
    return Figures(*(map(sum, zip(*rows, strict=True)) if rows else (0 for _ in Figures._fields)))


@dataclass(frozen=True, slots=True)
class ReportRow:
    group: tuple[Value, ...]
    """One value for each name that the report is grouped by."""
    figures: Figures


@dataclass(frozen=True, slots=True)
class Report:
    """Where the credits of a period went."""

    by: tuple[str, ...]
    period: Period
    zone: ZoneInfo
    kind: str | None
    """`live` or `sandbox`: one ledger, and so one report, never holds both."""
    rows: tuple[ReportRow, ...]
    total: Figures

    def as_json(self) -> dict[str, Any]:
        """The `report` document, without the name of its shape."""
        return {
            "period": [at.astimezone(self.zone).isoformat() for at in (self.period.start, self.period.end)],
            "timezone": self.zone.key,
            "kind": self.kind,
            "by": list(self.by),
            "rows": [
                {"labels": dict(zip(self.by, row.group, strict=True)), **row.figures.as_json()}
                for row in self.rows
            ],
            "total": {"labels": {}, **self.total.as_json()},
        }


def report(store: Store, by: Sequence[str], period: Period | None, zone: ZoneInfo) -> Report:
    """The figures of a period, by labels, settings (`SETTINGS`) or spans of the calendar (`SPANS`).

    Without a period, the whole months that the ledger knows of. Raises `InputError` for a name that
    no policy in force declares and no entry has.
    """
    names = tuple(dict.fromkeys(by))
    with store.snapshot() as connection:
        span = period or _whole(connection, store.now(), zone)
        groups = _grouped(connection, names, span, zone)
        unknown = set(names) - {*SETTINGS, *SPANS} - _labels_of(connection)
    if unknown:
        _refuse(sorted(unknown), store)
    rows = [ReportRow(group, summed(found)) for group, found in groups.items()]
    rows.sort(key=lambda row: [(value is None, isinstance(value, str), value) for value in row.group])
    return Report(names, span, zone, store.kind(), tuple(rows), summed(row.figures for row in rows))


def declared_labels(store: Store) -> tuple[str, ...]:
    """The labels that the policies in force declare, in the order of their files."""
    found = (name for policy in store.policies_in_force().values() for name in policy.labels)
    return tuple(dict.fromkeys(found))


# -- grouping ------------------------------------------------------------------------------------

SPANS: Final[Mapping[str, Callable[[date], str]]] = {
    "year": lambda day: f"{day:%Y}",
    "quarter": lambda day: f"{day:%Y}-Q{(day.month + 2) // 3}",
    "month": lambda day: f"{day:%Y-%m}",
    "week": lambda day: "{}-W{:02}".format(*day.isocalendar()),
    "day": date.isoformat,
}
"""Spans of the zone's calendar, by the day that an entry was booked on; weeks are those of ISO 8601."""


def _setting(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((entries.c.model == MODEL_NAME, column))


SETTINGS: Final[Mapping[str, ColumnElement[Any]]] = {
    "resolution": _setting(func.coalesce(entries.c.resolution, DEFAULTS["resolution"])),
    "generation_mode": _setting(entries.c.billed_mode),
    "num_images": _setting(func.coalesce(entries.c.num_images, DEFAULTS["num_images"])),
    "face_reference": _setting(entries.c.face_reference),
    "output_format": _setting(func.coalesce(entries.c.output_format, DEFAULTS["output_format"])),
}
"""Settings of the final request, as the provider acts on them; another model has none."""

_QUARTER_HOUR_US: Final = 900_000_000
"""Every zone's days begin on a quarter of an hour, so entries of the same one share their day."""


def _grouped(
    connection: Connection, by: tuple[str, ...], period: Period, zone: ZoneInfo
) -> dict[tuple[Value, ...], list[Figures]]:
    """The figures of each group, in parts: the database groups by what it can compare."""
    parts = {name: SETTINGS[name] for name in by if name in SETTINGS}
    if set(by) & set(SPANS):
        parts["quarter_hour"] = entries.c.booked_us // _QUARTER_HOUR_US
    if set(by) - {*SPANS, *SETTINGS}:
        parts["labels"] = entries.c.labels
    columns = [column.label(name) for name, column in parts.items()]
    query = (
        select(*columns, *_figures(period))
        .select_from(_ENTRIES)
        .where(entries.c.booked_us >= to_us(period.start), entries.c.booked_us < to_us(period.end))
        .group_by(*parts.values())
        .having(func.count() > 0)
    )
    found: dict[tuple[Value, ...], list[Figures]] = {}
    read = _Reading(zone)
    for row in connection.execute(query):
        known = dict(zip(parts, row, strict=False))
        group = tuple(read.value(name, known) for name in by)
        found.setdefault(group, []).append(Figures._make(map(int, row[len(parts) :])))
    return found


class _Reading:
    """What the database's groups mean; the same labels and the same quarter of an hour come often."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._labels: Callable[[str], dict[str, str]] = lru_cache(maxsize=10_000)(json.loads)
        self._day = lru_cache(maxsize=10_000)(self._day_at)
        self._zone = zone

    def _day_at(self, place: int) -> date:
        return from_us(place * _QUARTER_HOUR_US).astimezone(self._zone).date()

    def value(self, name: str, known: Mapping[str, Any]) -> Value:
        if name in SETTINGS:
            value: Value = known[name]
            return value
        if name in SPANS:
            return SPANS[name](self._day(known["quarter_hour"]))
        return self._labels(known["labels"]).get(name)


def _whole(connection: Connection, now: datetime, zone: ZoneInfo) -> Period:
    first, last = connection.execute(
        select(func.min(entries.c.booked_us), func.max(entries.c.booked_us))
    ).one()
    if first is None:
        return months_around(now, now, zone)
    return months_around(from_us(first), from_us(last), zone)


def _labels_of(connection: Connection) -> set[str]:
    texts = connection.execute(select(entries.c.labels).distinct()).scalars()
    return {name for text in texts for name in json.loads(text)}


def _refuse(names: Sequence[str], store: Store) -> None:
    """Complain about names that are neither declared nor anywhere in the ledger."""
    declared = declared_labels(store)
    for name in names:
        if declared and name not in declared:
            known = (*declared, *SPANS, *SETTINGS)
            guess = nearest(name, known)
            hint = f"did you mean `{guess}`?" if guess else f"use {', '.join(known)}"
            raise InputError(f"no policy declares the label `{name}`", code="unknown_label", hint=hint)


# -- figures -------------------------------------------------------------------------------------


def _had(*happened: Happened) -> ColumnElement[bool]:
    """Whether one of these happened to the entry."""
    return exists().where(events.c.entry == entries.c.id, events.c.happened.in_(happened))


_STATE: Final = entries.c.state
_SETTLED: Final = _STATE == State.SETTLED
_OPEN: Final = _STATE.in_(sorted(OPEN))
_UNKNOWN: Final = _STATE == State.UNKNOWN
_RELEASED: Final = _STATE == State.RELEASED
_GIVEN_BACK: Final = and_(_RELEASED, _had(Happened.CANCELLED, Happened.EXPIRED, Happened.ABANDONED))
_FAILED: Final = or_(
    and_(_RELEASED, _had(Happened.FAILED, Happened.REFUSED)),
    # Charged all the same: the provider named a cost and made no picture.
    and_(_SETTLED, entries.c.outputs == 0, _had(Happened.CHARGED, Happened.FAILED, Happened.REFUSED)),
)
_MICRO: Final = entries.c.credits * entries.c.rate_microusd
_QUOTED: Final = case((entries.c.price_entry == "", entries.c.credits), else_=entries.c.quoted_credits)
"""What it should have cost: for what has no price, whatever it did cost."""

_HAND: Final = (
    select(events.c.entry)
    .where(
        events.c.happened == Happened.SETTLED_BY,
        # Evidence that came later outranks the person's word.
        events.c.entry.not_in(select(events.c.entry).where(events.c.happened == Happened.ADJUSTED)),
    )
    .distinct()
    .cte("settled_by_hand")
)
_ENTRIES: Final = entries.outerjoin(_HAND, _HAND.c.entry == entries.c.id)
_BY_HAND: Final = and_(_SETTLED, _HAND.c.entry.is_not(None))
_ESTIMATED: Final = and_(_SETTLED, or_(entries.c.estimated, _HAND.c.entry.is_not(None)))


def _latest(until: datetime | None = None) -> ColumnElement[bool]:
    """Whether no entry of the same key came after this one, up to an instant."""
    later = entries.alias("later")
    same = [later.c[name] == entries.c[name] for name in ("account", "shoot", "key")]
    within = [] if until is None else [later.c.booked_us < to_us(until)]
    return not_(exists().where(*same, later.c.id > entries.c.id, *within))


def _sum(name: str, what: ColumnElement[Any] | int, where: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((where, what), else_=0)), 0).label(f"figure_{name}")


def _figures(period: Period) -> tuple[ColumnElement[Any], ...]:
    """One column for each of `Figures`, in its order."""
    latest = _latest(period.end)
    return (
        _sum("settled", entries.c.credits, _SETTLED),
        _sum("estimated", entries.c.credits, _ESTIMATED),
        _sum("by_hand", entries.c.credits, _BY_HAND),
        _sum("by_hand_jobs", 1, _BY_HAND),
        _sum("by_hand_quoted", _QUOTED, _BY_HAND),
        _sum("held", entries.c.credits, _OPEN),
        _sum("unknown", entries.c.credits, _UNKNOWN),
        _sum("released", entries.c.quoted_credits, _RELEASED),
        _sum("usd_micro", _MICRO, _SETTLED),
        _sum("usd_at_most_micro", _MICRO, or_(_SETTLED, _OPEN, _UNKNOWN)),
        _sum("quoted", _QUOTED, _SETTLED),
        _sum("saved_by_rewrites", entries.c.asked_credits - entries.c.quoted_credits, _SETTLED),
        _sum("jobs", 1, and_(entries.c.verdict == Verdict.ALLOW, not_(_GIVEN_BACK))),
        _sum("failed", 1, _FAILED),
        _sum("denied", 1, and_(_STATE == State.DENIED, latest)),
        _sum("waiting", 1, and_(_STATE == State.WAITING, latest)),
    )


# -- how the ledger stands -----------------------------------------------------------------------

COUNTS: Final = (
    ("settled", (State.SETTLED,)),
    ("held", (State.HELD, State.SENDING, State.ACCEPTED)),
    ("unknown", (State.UNKNOWN,)),
    ("released", (State.RELEASED,)),
    ("denied", (State.DENIED,)),
    ("waiting", (State.WAITING,)),
)
"""Every entry is counted under one of these."""


def standing(store: Store) -> dict[str, Any]:
    """The sums of `ledger show` over all entries, without the budgets.

    `counts` is of entries, and a job that is turned down has one for each time it was tried;
    `stopped_jobs` is of the jobs whose last entry is denied or waiting.
    """
    stopped = _STATE.in_([State.DENIED, State.WAITING])
    query = (
        select(
            _STATE,
            func.count(),
            func.sum(entries.c.credits),
            func.sum(entries.c.quoted_credits),
            _sum("estimated", entries.c.credits, _ESTIMATED),
            _sum("stopped", 1, and_(stopped, _latest())),
        )
        .select_from(_ENTRIES)
        .group_by(_STATE)
    )
    with store.snapshot() as connection:
        found = {row[0]: [int(value) for value in row[1:]] for row in connection.execute(query)}

    def total(place: int, states: Iterable[State]) -> int:
        return sum(found[state][place] for state in states if state in found)

    groups = dict(COUNTS)
    return {
        "settled": total(1, groups["settled"]),
        "estimated": total(3, groups["settled"]),
        "held": total(1, groups["held"]),
        "unknown": total(1, groups["unknown"]),
        "released": total(2, groups["released"]),
        "counts": {name: total(0, states) for name, states in COUNTS},
        "stopped_jobs": {name: total(4, groups[name]) for name in ("denied", "waiting")},
    }
