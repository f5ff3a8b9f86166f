"""Counters: what already counts in a budget's allowance, kept as sums beside the entries.

Here belong reading, moving and recounting those sums inside a transaction that `store` has begun. A
counter is a cache: entries are the source, and `recount` is how a new or changed policy gets its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, delete, insert, or_, select, update

from policies.budgets import Allowance, Usage
from policies.engine import Policy
from policies.ledger.entries import Counter, Entry, canonical_json, from_us, to_us
from policies.ledger.schema import counted, counters, entries
from policies.ledger.states import TAKEN, Bucket, State

_CREDITS: Final = "credits"
_BOOKED: Final = TAKEN | {State.RELEASED}


def scope_text(allowance: Allowance) -> str:
    return canonical_json(dict(allowance.scope))


def usage(connection: Connection, policy: str, allowance: Allowance) -> Usage:
    """What counts in an allowance now; an allowance nobody has booked in counts nothing."""
    row = connection.execute(_FIND, _place(policy, allowance)).first()
    return Usage() if row is None else Usage(row.settled, row.held, row.unknown, row.granted)


_FIND = select(
    counters.c.id, counters.c.settled, counters.c.held, counters.c.unknown, counters.c.granted
).where(
    counters.c.policy == bindparam("policy"),
    counters.c.budget == bindparam("budget"),
    counters.c.scope == bindparam("scope"),
    counters.c.start_us == bindparam("start_us"),
)


def _place(policy: str, allowance: Allowance) -> dict[str, Any]:
    return {
        "policy": policy,
        "budget": allowance.budget,
        "scope": scope_text(allowance),
        "start_us": to_us(allowance.start),
    }


def enter(connection: Connection, entry: Entry, policy: str, allowances: Iterable[Allowance]) -> None:
    """Let a new entry stand in the counters of its allowances, which are made where there are none."""
    for allowance in allowances:
        counter = _counter_id(connection, policy, allowance)
        connection.execute(_COUNT, {"entry": entry.id, "counter": counter})


_COUNT = insert(counted)


def _counter_id(connection: Connection, policy: str, allowance: Allowance) -> int:
    place = _place(policy, allowance)
    row = connection.execute(_FIND, place).first()
    if row is not None:
        return int(row.id)
    values = {
        **place,
        "end_us": None if allowance.end is None else to_us(allowance.end),
        "unit": allowance.unit,
        "limit": allowance.limit,
        **dict.fromkeys(("granted", "settled", "held", "unknown"), 0),
    }
    made = connection.execute(insert(counters).values(**values).returning(counters.c.id))
    return int(made.scalar_one())


def move(connection: Connection, before: Entry | None, after: Entry) -> None:
    """Bring every counter of an entry from what it counted before to what it counts after."""
    deltas = dict.fromkeys(Bucket, 0)
    if before is not None and before.bucket is not None:
        deltas[before.bucket] -= before.credits
    if after.bucket is not None:
        deltas[after.bucket] += after.credits
    if any(deltas.values()):
        values = {f"{bucket}_credits": delta for bucket, delta in deltas.items()}
        values |= {f"{bucket}_micro": delta * after.rate_microusd for bucket, delta in deltas.items()}
        connection.execute(_MOVE, {"of_entry": after.id, **values})


def _plus(bucket: Bucket) -> Any:
    column = counters.c[bucket]
    in_credits: Any = bindparam(f"{bucket}_credits")
    in_micro: Any = bindparam(f"{bucket}_micro")
    return column + case((counters.c.unit == _CREDITS, in_credits), else_=in_micro)


_MOVE = (
    update(counters)
    .where(counters.c.id.in_(select(counted.c.counter).where(counted.c.entry == bindparam("of_entry"))))
    .values({counters.c[bucket]: _plus(bucket) for bucket in Bucket})
)


def recount(connection: Connection, policy: Policy, at: datetime) -> None:
    """Derive a policy's counters of the windows in force at `at` from the entries booked in them."""
    now_us = to_us(at)
    current = (
        counters.c.policy == policy.name,
        or_(counters.c.end_us.is_(None), counters.c.end_us > now_us),
    )
    replaced = select(counters.c.id).where(*current)
    connection.execute(delete(counted).where(counted.c.counter.in_(replaced)))
    connection.execute(delete(counters).where(*current))
    for entry in booked_entries(connection):
        running = [item for item in policy.allowances(entry.facts) if item.end is None or item.end > at]
        enter(connection, entry, policy.name, running)
        add(connection, entry, policy.name, running)


def add(connection: Connection, entry: Entry, policy: str, allowances: Sequence[Allowance]) -> None:
    """Add what an entry counts to the counters of these allowances only."""
    if entry.bucket is None:
        return
    for allowance in allowances:
        amount = amount_in(allowance.unit, entry)
        column = counters.c[entry.bucket]
        place = _place(policy, allowance)
        where = [counters.c[name] == value for name, value in place.items()]
        connection.execute(update(counters).where(*where).values({column: column + amount}))


def amount_in(unit: str, entry: Entry) -> int:
    """What an entry counts, in a budget's unit."""
    return entry.credits if unit == _CREDITS else entry.credits * entry.rate_microusd


def booked_entries(connection: Connection) -> Iterator[Entry]:
    """Every entry that was ever held, in the order of booking.

    Released ones count nothing and stand in their counters all the same: a late charge finds them.
    """
    found = select(entries).where(entries.c.state.in_(sorted(_BOOKED))).order_by(entries.c.id)
    for row in connection.execute(found).mappings():
        yield Entry.of({**row})


def all_counters(connection: Connection, at: datetime | None = None) -> tuple[Counter, ...]:
    """The counters, only those whose window holds `at` where it is given."""
    query = select(counters).order_by(counters.c.policy, counters.c.budget, counters.c.scope)
    if at is not None:
        now_us = to_us(at)
        query = query.where(
            counters.c.start_us <= now_us, or_(counters.c.end_us.is_(None), counters.c.end_us > now_us)
        )
    return tuple(_counter(row) for row in connection.execute(query).mappings())


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
    return Counter(
        row["id"], row["policy"], allowance, row["settled"], row["held"], row["unknown"], row["granted"]
    )
