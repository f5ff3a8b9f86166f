"""Counters: what already counts in a budget's allowance, kept as sums beside the entries.

Here belong reading, moving and recounting those sums inside a transaction that `store` has begun. A
counter is a cache: entries are the source, and `recount` is how a new or changed policy gets its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from policies.budgets import BEGINNING, Allowance, Usage, window
from policies.engine import Policy
from policies.ledger import grants
from policies.ledger.entries import Counter, Entry, from_us, to_us
from policies.ledger.grants import end_us, place
from policies.ledger.schema import counted, counters, entries
from policies.ledger.statements import ONE, Statement
from policies.ledger.states import TAKEN, Bucket, State

_CREDITS: Final = "credits"
_BOOKED: Final = TAKEN | {State.RELEASED}


def usage(connection: Connection, policy: str, allowance: Allowance, at: datetime) -> Usage:
    """What counts in an allowance, and what stands on top of it at that instant."""
    return found(connection, policy, allowance, at)[1]


def found(
    connection: Connection, policy: str, allowance: Allowance, at: datetime
) -> tuple[int | None, Usage]:
    """The same, with the allowance's counter; None where there is none yet."""
    row = _USED.first(connection, grants.of_window(policy, allowance, at))
    if row.id is None or not _is_for(row, allowance):
        return None, Usage(granted=int(row.granted))
    return row.id, Usage(row.settled, row.held, row.unknown, int(row.granted))


_COUNTER = (counters.c.id, counters.c.end_us, counters.c.unit)
_SUMS = (counters.c.settled, counters.c.held, counters.c.unknown)
_HERE = and_(
    counters.c.policy == bindparam("policy"),
    counters.c.budget == bindparam("budget"),
    counters.c.scope == bindparam("scope"),
    counters.c.start_us == bindparam("start_us"),
)
_USED = Statement(
    select(*_COUNTER, *_SUMS, grants.STANDING.label("granted")).select_from(ONE.outerjoin(counters, _HERE))
)
_FIND = Statement(select(*_COUNTER).where(_HERE))


def _is_for(row: Any, allowance: Allowance) -> bool:
    """Whether a counter at its place is the allowance's own.

    It is not where it was left by an earlier text of the policy, under which the window that begins
    there was another one: the first day of what is a month by now.
    """
    return bool(row.end_us == end_us(allowance) and row.unit == allowance.unit)


Place = tuple[str, Allowance]
"""What a counter is for: the name of a policy, and one of its allowances."""


def counter_ids(
    connection: Connection, places: Iterable[Place], known: Mapping[Place, int | None]
) -> dict[Place, int]:
    """The counters of these allowances, which are made where there are none; some are `known` already."""
    return {place: known.get(place) or _counter_id(connection, *place) for place in places}


def lock(connection: Connection, ids: Iterable[int]) -> dict[int, Usage]:
    """Let nobody else move these counters until the transaction ends; what each of them says now."""
    rows = _LOCK.rows(connection, {"ids": [*ids]})
    return {row.id: Usage(row.settled, row.held, row.unknown) for row in rows}


_LOCK = Statement(
    select(counters.c.id, *_SUMS)
    .where(counters.c.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))))
    # One order for all, so that no two wait for each other.
    .order_by(counters.c.id)
    .with_for_update()
)


def enter(connection: Connection, entry: Entry, ids: Iterable[int]) -> None:
    """Let a new entry stand in these counters."""
    for counter in ids:
        _COUNT.run(connection, {"entry": entry.id, "counter": counter})


_COUNT = Statement(insert(counted).inline(), ["entry", "counter"])


def _counter_id(connection: Connection, policy: str, allowance: Allowance) -> int:
    row = _FIND.first(connection, place(policy, allowance))
    if row is not None and _is_for(row, allowance):
        return int(row.id)
    if row is not None:
        # By its id, never by its place: what somebody else has just made there is not to be dropped.
        _drop(connection, counters.c.id == row.id)
    return _make(connection, policy, allowance, {})


def _make(connection: Connection, policy: str, allowance: Allowance, sums: Mapping[Bucket, int]) -> int:
    """A new counter where there is none; the database refuses a second one."""
    values = {
        **place(policy, allowance),
        "end_us": end_us(allowance),
        "unit": allowance.unit,
        "limit": allowance.limit,
        **{bucket.value: sums.get(bucket, 0) for bucket in Bucket},
    }
    return int(connection.execute(_MAKE, values).scalar_one())


_MAKE = insert(counters).returning(counters.c.id)


def move(connection: Connection, before: Entry | None, after: Entry) -> None:
    """Bring every counter of an entry from what it counted before to what it counts after."""
    left, gone = (before.bucket, before.credits) if before else (None, 0)
    entered, come = after.bucket, after.credits
    if left is entered and (left is None or gone == come):
        return
    values, rate = {"of_entry": after.id}, after.rate_microusd
    for bucket, in_credits, in_micro in _DELTAS:
        delta = (come if bucket is entered else 0) - (gone if bucket is left else 0)
        values[in_credits], values[in_micro] = delta, delta * rate
    _MOVE.run(connection, values)


_DELTAS: Final = tuple((bucket, f"{bucket}_credits", f"{bucket}_micro") for bucket in Bucket)
"""What `_MOVE` is given for each bucket."""


def _plus(bucket: Bucket) -> Any:
    column = counters.c[bucket]
    in_credits: Any = bindparam(f"{bucket}_credits")
    in_micro: Any = bindparam(f"{bucket}_micro")
    return column + case((counters.c.unit == _CREDITS, in_credits), else_=in_micro)


_OF_ENTRY = (
    select(counters.c.id)
    .join(counted, counted.c.counter == counters.c.id)
    .where(counted.c.entry == bindparam("of_entry"))
    .order_by(counters.c.id)
    .with_for_update(of=counters)
)
_MOVE = Statement(
    update(counters)
    .where(counters.c.id.in_(_OF_ENTRY))
    .values({counters.c[bucket]: _plus(bucket) for bucket in Bucket})
)


def recount(connection: Connection, policy: Policy, at: datetime) -> None:
    """Derive a policy's counters of the windows in force at `at` from the entries booked in them."""
    forget(connection, policy.name, at)
    sums: dict[Allowance, dict[Bucket, int]] = {}
    standing: dict[Allowance, list[int]] = {}
    for entry in booked_entries(connection, since=_earliest(policy, at)):
        for allowance in policy.allowances(entry.facts):
            if allowance.end is not None and allowance.end <= at:
                continue
            found = sums.setdefault(allowance, dict.fromkeys(Bucket, 0))
            standing.setdefault(allowance, []).append(entry.id)
            if entry.bucket is not None:
                found[entry.bucket] += amount_in(allowance.unit, entry)
    for allowance, ids in standing.items():
        here = place(policy.name, allowance)
        _drop(connection, *(counters.c[name] == value for name, value in here.items()))
        counter = _make(connection, policy.name, allowance, sums[allowance])
        connection.execute(insert(counted), [{"entry": entry, "counter": counter} for entry in ids])


def forget(connection: Connection, policy: str, at: datetime) -> None:
    """Remove a policy's counters of the windows in force at `at`; those of the past are history."""
    running = or_(counters.c.end_us.is_(None), counters.c.end_us > to_us(at))
    _drop(connection, counters.c.policy == policy, running)


def _drop(connection: Connection, *which: ColumnElement[bool]) -> None:
    dropped = select(counters.c.id).where(*which)
    connection.execute(delete(counted).where(counted.c.counter.in_(dropped)))
    connection.execute(delete(counters).where(*which))


def _earliest(policy: Policy, at: datetime) -> datetime:
    """Where the first of a policy's running windows began: nothing before it counts now."""
    begun = (window(item.budget.per, at, policy.zone)[0] for item in policy.budgets)
    return min(begun, default=at)


def amount_in(unit: str, entry: Entry) -> int:
    """What an entry counts, in a budget's unit."""
    return entry.credits if unit == _CREDITS else entry.credits * entry.rate_microusd


def booked_entries(connection: Connection, since: datetime = BEGINNING) -> Iterator[Entry]:
    """Every entry that was ever held and is not older than that, in the order of booking.

    Released ones count nothing and stand in their counters all the same: a late charge finds them.
    """
    found = (
        select(entries)
        .where(entries.c.state.in_(sorted(_BOOKED)), entries.c.booked_us >= to_us(since))
        .order_by(entries.c.id)
    )
    for row in connection.execute(found).mappings():
        yield Entry.of({**row})


def all_counters(connection: Connection, at: datetime | None = None) -> tuple[Counter, ...]:
    """The counters with what stands on top of them; only those whose window holds `at` where it is given."""
    query = select(counters).order_by(counters.c.policy, counters.c.budget, counters.c.scope)
    if at is not None:
        now_us = to_us(at)
        query = query.where(
            counters.c.start_us <= now_us, or_(counters.c.end_us.is_(None), counters.c.end_us > now_us)
        )
    found = [_counter(row) for row in connection.execute(query).mappings()]
    return tuple(
        replace(one, granted=grants.granted(connection, one.policy, one.allowance, at or BEGINNING))
        for one in found
    )


def _counter(row: Any) -> Counter:
    end = row["end_us"]
    allowance = Allowance(
        budget=row["budget"],
        scope=tuple(json.loads(row["scope"]).items()),
        start=from_us(row["start_us"]),
        end=None if end is None else from_us(end),
        limit=row["limit"],
        unit=row["unit"],
    )
    return Counter(row["id"], row["policy"], allowance, row["settled"], row["held"], row["unknown"])
