"""Grants: what a named person lets a budget pass its limit by, in one window.

Here belong adding one and the sum of those that stand, inside a transaction that `store` has begun. A
grant ends by itself: with its window, at its own instant, or with the job that it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, func, insert, or_, select

from policies.budgets import Allowance
from policies.ledger.entries import canonical_json, from_us, to_us
from policies.ledger.schema import entries, grants
from policies.ledger.statements import Statement


@dataclass(frozen=True, slots=True)
class Grant:
    """So much on top of an allowance, in its unit, and who said so."""

    policy: str
    allowance: Allowance
    """Its limit is not kept with a grant."""
    amount: int
    at: datetime
    until: datetime | None
    """When it ends; None where it ends with its window."""
    who: str
    because: str
    entry: int | None = None
    """The job that it was made for; None for a raise that anybody may use."""


def scope_text(allowance: Allowance) -> str:
    return canonical_json(dict(allowance.scope))


def place(policy: str, allowance: Allowance) -> dict[str, Any]:
    """The columns by which a counter, or a grant, is known."""
    return {
        "policy": policy,
        "budget": allowance.budget,
        "scope": scope_text(allowance),
        "start_us": to_us(allowance.start),
    }


def add(connection: Connection, grant: Grant) -> None:
    """Let it stand from now on."""
    allowance = grant.allowance
    values = {
        **place(grant.policy, allowance),
        "at_us": to_us(grant.at),
        "end_us": end_us(allowance),
        "unit": allowance.unit,
        "amount": grant.amount,
        "until_us": None if grant.until is None else to_us(grant.until),
        "entry": grant.entry,
        "who": grant.who,
        "because": grant.because,
    }
    connection.execute(insert(grants), values)


def granted(connection: Connection, policy: str, allowance: Allowance, at: datetime) -> int:
    """What stands on top of the limit at that instant, in the allowance's unit.

    A grant that was made for one job shrinks by what that job turns out to cost less, so nothing of it is
    left over for others.
    """
    return int(_GRANTED.first(connection, of_window(policy, allowance, at)).amount)


def of_window(policy: str, allowance: Allowance, at: datetime) -> dict[str, Any]:
    """What `STANDING` asks for."""
    return {**_window(policy, allowance), "at_us_": to_us(at)}


@lru_cache(maxsize=1024)
def _window(policy: str, allowance: Allowance) -> Mapping[str, Any]:
    """Remembered, because the same few allowances are asked about again and again."""
    return {**place(policy, allowance), "unit_": allowance.unit, "end_us_": end_us(allowance)}


def all_of(connection: Connection, at: datetime | None) -> tuple[Grant, ...]:
    """Every grant in the order in which it was made; only those that stand at `at` where it is given."""
    query = select(grants).order_by(grants.c.id)
    if at is not None:
        for ends in (grants.c.end_us, grants.c.until_us):
            query = query.where(or_(ends.is_(None), ends > to_us(at)))
    return tuple(_grant(row) for row in connection.execute(query).mappings())


def _grant(row: Any) -> Grant:
    allowance = Allowance(
        budget=row["budget"],
        scope=tuple(json.loads(row["scope"]).items()),
        start=from_us(row["start_us"]),
        end=None if row["end_us"] is None else from_us(row["end_us"]),
        limit=0,
        unit=row["unit"],
    )
    until = None if row["until_us"] is None else from_us(row["until_us"])
    at, entry = from_us(row["at_us"]), row["entry"]
    return Grant(row["policy"], allowance, row["amount"], at, until, row["who"], row["because"], entry)


def end_us(allowance: Allowance) -> int | None:
    """The end of a window as the tables have it; None where it has none."""
    return None if allowance.end is None else to_us(allowance.end)


_CHEAPER: Final[Any] = (entries.c.quoted_credits - entries.c.credits) * case(
    (grants.c.unit == "credits", 1), else_=entries.c.rate_microusd
)
"""How much less than its quote the job counts that a grant was made for; all of it once it is released."""
_LEFT: Final[Any] = case(
    (grants.c.entry.is_(None) | (_CHEAPER <= 0), grants.c.amount),
    (grants.c.amount <= _CHEAPER, 0),
    else_=grants.c.amount - _CHEAPER,
)
STANDING: Final = (
    select(func.coalesce(func.sum(_LEFT), 0))
    .select_from(grants.outerjoin(entries, grants.c.entry == entries.c.id))
    .where(
        grants.c.policy == bindparam("policy"),
        grants.c.budget == bindparam("budget"),
        grants.c.scope == bindparam("scope"),
        grants.c.start_us == bindparam("start_us"),
        grants.c.unit == bindparam("unit_"),
        grants.c.end_us.is_not_distinct_from(bindparam("end_us_")),
        or_(grants.c.until_us.is_(None), grants.c.until_us > bindparam("at_us_")),
    )
    .scalar_subquery()
)
"""The sum of what stands on top of an allowance at an instant."""
_GRANTED: Final = Statement(select(STANDING.label("amount")))
