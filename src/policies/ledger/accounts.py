"""Whose credits are spent, and what stands in the way of spending them at this moment.

Here belong an account's profile, its slots, its rate window and its stop, inside a transaction that
`store` has begun. They are counted in the store, so that six at once holds across processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update

from planner.pacing import WINDOW_MARGIN
from policies.ledger.entries import Busy, Stopped, from_us, to_us
from policies.ledger.schema import accounts, entries, starts
from policies.ledger.statements import ONE, Statement, is_open, may_run

DEFAULT_LIMITS: Final[Mapping[str, int]] = {
    "concurrency": 6,
    "run_limit": 50,
    "run_seconds": 60,
    "unknown_slot_seconds": 300,
}
"""An account's profile as the provider states it; an unknown keeps its slot as long as it might run."""

_KEPT_US: Final = 600_000_000
"""Starts older than ten minutes are in no window of any profile."""
_FORGET_EVERY: Final = 64


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
    row = _standing(connection, account, now)
    if row.stopped_us is not None:
        return Stopped(row.needed_credits or 1)
    if row.in_flight >= _limit(row, "concurrency"):
        return Busy(None)
    return _full_rate(row, now, speed)


def in_flight(connection: Connection, account: str, now: datetime) -> int:
    """How many slots are taken: what is on its way, and what is unknown and may still be."""
    return int(_standing(connection, account, now).in_flight)


def stopped(connection: Connection, account: str) -> bool:
    """Whether the provider said OutOfCredits and no balance has shown enough since."""
    row = _ACCOUNT.first(connection, {"account_": account})
    return row is not None and row.stopped_us is not None


def full_rate(connection: Connection, account: str, now: datetime, speed: float) -> Busy | None:
    """The instant at which the rate window has room again, where it is full."""
    return _full_rate(_standing(connection, account, now), now, speed)


def _full_rate(row: Any, now: datetime, speed: float) -> Busy | None:
    if row.filled_us is None:
        return None
    window = timedelta(seconds=_limit(row, "run_seconds") * WINDOW_MARGIN / speed)
    until = from_us(row.filled_us) + window
    return Busy(until) if until > now else None


def _standing(connection: Connection, account: str, now: datetime) -> Any:
    """How an account stands at that instant; its profile is empty before its first use."""
    return _STANDING.first(connection, {"account_": account, "now_us": to_us(now)})


def _limit(row: Any, name: str) -> int:
    return int(DEFAULT_LIMITS[name] if row.account is None else getattr(row, name))


def take_rate(connection: Connection, account: str, now_us: int) -> None:
    """Count a paid POST in the window; now and then forget those that are in no window any more."""
    number = _TAKE.first(connection, {"account": account, "at_us": now_us}).id
    if number % _FORGET_EVERY == 0:
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


def balance(connection: Connection, account: str) -> int | None:
    """The last balance that was read; None where none ever was."""
    row = _ACCOUNT.first(connection, {"account_": account})
    return None if row is None else row.balance_credits


_ACCOUNT: Final = Statement(select(accounts).where(accounts.c.account == bindparam("account_")))
_TAKE: Final = Statement(insert(starts).returning(starts.c.id), ["account", "at_us"])
_FORGET: Final = Statement(
    delete(starts).where(starts.c.account == bindparam("account_"), starts.c.at_us < bindparam("before_us"))
)
_OWN: Final = accounts.alias("own")
_RUN_LIMIT: Final = select(func.coalesce(func.max(_OWN.c.run_limit), DEFAULT_LIMITS["run_limit"])).where(
    _OWN.c.account == bindparam("account_")
)
_IN_FLIGHT: Final = (
    select(func.count())
    .select_from(entries)
    .where(
        entries.c.account == bindparam("account_"),
        may_run(entries.c.state),
        or_(
            is_open(entries.c.state),
            # What a clock that was set back has sent later than now would keep its slot until then.
            and_(entries.c.slot_until_us > bindparam("now_us"), entries.c.sent_us <= bindparam("now_us")),
        ),
    )
)
_FILLED: Final = (
    select(starts.c.at_us)
    # What a clock that ran ahead has noted for later fills no window.
    .where(starts.c.account == bindparam("account_"), starts.c.at_us <= bindparam("now_us"))
    .order_by(starts.c.at_us.desc())
    .offset(_RUN_LIMIT.scalar_subquery() - 1)
    .limit(1)
)
_STANDING: Final = Statement(
    select(
        *(accounts.c[name] for name in ("account", "concurrency", "run_limit", "run_seconds")),
        *(accounts.c[name] for name in ("stopped_us", "needed_credits")),
        _IN_FLIGHT.scalar_subquery().label("in_flight"),
        _FILLED.scalar_subquery().label("filled_us"),
    ).select_from(ONE.outerjoin(accounts, accounts.c.account == bindparam("account_")))
)
"""An account's row, the slots that are taken, and the start that the rate window goes back to when full."""
