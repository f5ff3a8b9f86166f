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
    row = connection.execute(_ACCOUNT, {"account_": account}).mappings().first()
    return {name: row[name] if row else default for name, default in DEFAULT_LIMITS.items()}


def bind(connection: Connection, account: str, address: str, *, live: bool) -> None:
    """Note the account's provider at its first use."""
    if connection.execute(_ACCOUNT, {"account_": account}).first() is None:
        row = {"account": account, "address": address, "live": live, **DEFAULT_LIMITS}
        connection.execute(insert(accounts), row)


def hindrance(connection: Connection, account: str, now: datetime, speed: float) -> Busy | Stopped | None:
    """What stands in the way of one more paid POST: a stop, no slot, or a full rate window."""
    row = connection.execute(_ACCOUNT, {"account_": account}).first()
    if row is not None and row.stopped_us is not None:
        return Stopped(row.needed_credits or 1)
    if in_flight(connection, account, now) >= (row.concurrency if row else DEFAULT_LIMITS["concurrency"]):
        return Busy(None)
    return full_rate(connection, account, now, speed)


def in_flight(connection: Connection, account: str, now: datetime) -> int:
    """How many slots are taken: what is on its way, and what is unknown and may still be."""
    given = {"account_": account, "now_us": to_us(now)}
    return int(connection.execute(_IN_FLIGHT, given).scalar_one())


def stopped(connection: Connection, account: str) -> bool:
    """Whether the provider said OutOfCredits and no balance has shown enough since."""
    row = connection.execute(_ACCOUNT, {"account_": account}).first()
    return row is not None and row.stopped_us is not None


def full_rate(connection: Connection, account: str, now: datetime, speed: float) -> Busy | None:
    """The instant at which the rate window has room again, where it is full."""
    limits = profile(connection, account)
    window = timedelta(seconds=limits["run_seconds"] * WINDOW_MARGIN / speed)
    place = {"account_": account, "n": limits["run_limit"] - 1, "now_us": to_us(now)}
    oldest = connection.execute(_NTH_START, place).scalar()
    if oldest is None or from_us(oldest) + window <= now:
        return None
    return Busy(from_us(oldest) + window)


def take_rate(connection: Connection, account: str, now_us: int) -> None:
    """Count a paid POST in the window, and forget those that are in no window any more."""
    connection.execute(_TAKE, {"account": account, "at_us": now_us})
    connection.execute(_FORGET, {"account_": account, "before_us": now_us - _KEPT_US})


def stop(connection: Connection, account: str, needed_credits: int, now_us: int) -> None:
    """The provider says OutOfCredits: nothing more is sent until a balance shows enough."""
    values = {"stopped_us": now_us, "needed_credits": needed_credits}
    connection.execute(update(accounts).where(accounts.c.account == account).values(**values))


def record_balance(connection: Connection, account: str, credits: int, now_us: int) -> None:
    """Keep a balance that was read; one that is enough ends the stop."""
    values: dict[str, Any] = {"balance_credits": credits, "balance_us": now_us}
    row = connection.execute(_ACCOUNT, {"account_": account}).first()
    if row is not None and row.stopped_us is not None and credits >= (row.needed_credits or 1):
        values |= {"stopped_us": None, "needed_credits": None}
    connection.execute(update(accounts).where(accounts.c.account == account).values(**values))


_ACCOUNT: Final = select(accounts).where(accounts.c.account == bindparam("account_"))
_TAKE: Final = insert(starts)
_FORGET: Final = delete(starts).where(
    starts.c.account == bindparam("account_"), starts.c.at_us < bindparam("before_us")
)
_NTH_START: Final = (
    select(starts.c.at_us)
    # What a clock that ran ahead has noted for later fills no window.
    .where(starts.c.account == bindparam("account_"), starts.c.at_us <= bindparam("now_us"))
    .order_by(starts.c.at_us.desc())
    .offset(bindparam("n"))
    .limit(1)
)
_IN_FLIGHT: Final = (
    select(func.count())
    .select_from(entries)
    .where(
        entries.c.account == bindparam("account_"),
        or_(
            entries.c.state.in_(sorted(OPEN)),
            (entries.c.state == State.UNKNOWN) & (entries.c.slot_until_us > bindparam("now_us")),
        ),
    )
)
