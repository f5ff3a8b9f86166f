"""Whose credits are spent, and what stands in the way of spending them at this moment.

Here belong an account's profile, its slots, its rate window and its stop, inside a transaction that
`store` has begun. They are counted in the store, so that six at once holds across processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from planner.pacing import WINDOW_MARGIN
from policies.ledger.entries import Busy, Stopped, from_us, to_us
from policies.ledger.schema import accounts, entries, starts
from policies.ledger.statements import Statement, one_of
from policies.ledger.states import OPEN, State

DEFAULT_LIMITS: Final[Mapping[str, int]] = {
    "concurrency": 6,
    "run_limit": 50,
    "run_seconds": 60,
    "unknown_slot_seconds": 300,
}
"""An account's profile as the provider states it; an unknown keeps its slot as long as it might run."""

_KEPT_US: Final = 600_000_000
"""Starts older than ten minutes are in no window of any profile."""


def profile(connection: Connection, account: str) -> dict[str, int]:
    """The account's limits: concurrency, run_limit, run_seconds, unknown_slot_seconds."""
    row = _ACCOUNT.first(connection, {"account_": account})
    return {name: getattr(row, name) if row else default for name, default in DEFAULT_LIMITS.items()}


def bind(connection: Connection, account: str, address: str, *, live: bool) -> None:
    """Note the account's provider at its first use."""
    if _ACCOUNT.first(connection, {"account_": account}) is None:
        row = {"account": account, "address": address, "live": live, **DEFAULT_LIMITS}
        connection.execute(insert(accounts), row)


def hindrance(connection: Connection, account: str, now: datetime, speed: float) -> Busy | Stopped | None:
    """What stands in the way of one more paid POST: a stop, no slot, or a full rate window."""
    row = _ACCOUNT.first(connection, {"account_": account})
    if row is not None and row.stopped_us is not None:
        return Stopped(row.needed_credits or 1)
    if in_flight(connection, account, now) >= (row.concurrency if row else DEFAULT_LIMITS["concurrency"]):
        return Busy(None)
    return full_rate(connection, account, now, speed)


def in_flight(connection: Connection, account: str, now: datetime) -> int:
    """How many slots are taken: what is on its way, and what is unknown and may still be."""
    given = {"account_": account, "now_us": to_us(now)}
    (found,) = _IN_FLIGHT.first(connection, given)
    return int(found)


def stopped(connection: Connection, account: str) -> bool:
    """Whether the provider said OutOfCredits and no balance has shown enough since."""
    row = _ACCOUNT.first(connection, {"account_": account})
    return row is not None and row.stopped_us is not None


def full_rate(connection: Connection, account: str, now: datetime, speed: float) -> Busy | None:
    """The instant at which the rate window has room again, where it is full."""
    limits = profile(connection, account)
    window = timedelta(seconds=limits["run_seconds"] * WINDOW_MARGIN / speed)
    place = {"account_": account, "n": limits["run_limit"] - 1, "now_us": to_us(now)}
    oldest = _NTH_START.first(connection, place)
    if oldest is None or from_us(oldest.at_us) + window <= now:
        return None
    return Busy(from_us(oldest.at_us) + window)


def take_rate(connection: Connection, account: str, now_us: int) -> None:
    """Count a paid POST in the window, and forget those that are in no window any more."""
    _TAKE.run(connection, {"account": account, "at_us": now_us})
    _FORGET.run(connection, {"account_": account, "before_us": now_us - _KEPT_US})


def stop(connection: Connection, account: str, needed_credits: int, now_us: int) -> None:
    """The provider says OutOfCredits: nothing more is sent until a balance shows enough."""
    values = {"stopped_us": now_us, "needed_credits": needed_credits}
    connection.execute(update(accounts).where(accounts.c.account == account).values(**values))


def record_balance(connection: Connection, account: str, credits: int, now_us: int) -> None:
    """Keep a balance that was read; one that is enough ends the stop."""
    values: dict[str, Any] = {"balance_credits": credits, "balance_us": now_us}
    row = _ACCOUNT.first(connection, {"account_": account})
    if row is not None and row.stopped_us is not None and credits >= (row.needed_credits or 1):
        values |= {"stopped_us": None, "needed_credits": None}
    connection.execute(update(accounts).where(accounts.c.account == account).values(**values))


_ACCOUNT: Final = Statement(select(accounts).where(accounts.c.account == bindparam("account_")))
_TAKE: Final = Statement(insert(starts).inline(), ["account", "at_us"])
_FORGET: Final = Statement(
    delete(starts).where(starts.c.account == bindparam("account_"), starts.c.at_us < bindparam("before_us"))
)
_NTH_START: Final = Statement(
    select(starts.c.at_us)
    # What a clock that ran ahead has noted for later fills no window.
    .where(starts.c.account == bindparam("account_"), starts.c.at_us <= bindparam("now_us"))
    .order_by(starts.c.at_us.desc())
    .offset(bindparam("n"))
    .limit(1)
)
_IN_FLIGHT: Final = Statement(
    select(func.count().label("number"))
    .select_from(entries)
    .where(
        entries.c.account == bindparam("account_"),
        or_(
            one_of(entries.c.state, OPEN),
            (entries.c.state == State.UNKNOWN) & (entries.c.slot_until_us > bindparam("now_us")),
        ),
    )
)
