"""Balances as the provider said them, held against the ledger: what was charged between two readings.

Here belong keeping a reading beside what the ledger knew at that moment, and the bracket of two of them.
What is done about a difference belongs to `guard.reconciling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select

from policies.ledger import accounts
from policies.ledger.entries import Entry, from_us, to_us
from policies.ledger.schema import entries, events, observations
from policies.ledger.states import State


@dataclass(frozen=True, slots=True)
class Balance:
    """What the provider said that an account has."""

    total: int
    subscription: int | None = None
    on_demand: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """A balance, and what the ledger knew when it was read."""

    at: datetime
    account: str
    balance: Balance
    settled_credits: int
    """All that the ledger had settled for the account."""
    in_flight: int
    """Jobs that were on their way, or began while the balance was read."""
    exclusive: bool
    """Whether nobody else spends from the account, as somebody said."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """Two readings, and the unconfirmed jobs that were sent between them."""

    before: Observation
    after: Observation
    unknown: tuple[Entry, ...]
    estimated: tuple[Entry, ...]
    """Jobs settled at their quote since the first reading, because no header said what they cost."""

    @property
    def charged_credits(self) -> int:
        """By how much the balance went down."""
        return self.before.balance.total - self.after.balance.total

    @property
    def booked_credits(self) -> int:
        """What the ledger settled meanwhile."""
        return self.after.settled_credits - self.before.settled_credits

    @property
    def difference(self) -> int:
        """What was charged beyond what is booked."""
        return self.charged_credits - self.booked_credits

    @property
    def unknown_credits(self) -> int:
        return sum(entry.credits for entry in self.unknown)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the bracket cannot decide anything; empty where it can."""
        found = []
        if not (self.before.exclusive and self.after.exclusive):
            found.append("nobody said that the account is used by this ledger alone (--exclusive)")
        if self.before.in_flight or self.after.in_flight:
            found.append("jobs were in flight at a reading")
        if self._was_filled:
            found.append("credits were added between the readings")
        return tuple(found)

    @property
    def _was_filled(self) -> bool:
        """Whether a top-up or a reset lies between the readings."""
        old, new = self.before.balance, self.after.balance
        parts = [(old.total, new.total), (old.subscription, new.subscription), (old.on_demand, new.on_demand)]
        return any(was is not None and now is not None and now > was for was, now in parts)


def last_event(connection: Connection) -> int:
    """The number of the last thing that happened."""
    found: int | None = connection.execute(select(func.max(events.c.seq))).scalar()
    return found or 0


def keep(
    connection: Connection, account: str, balance: Balance, at: datetime, *, since_event: int, exclusive: bool
) -> Observation:
    """Keep a balance that was read after event `since_event`."""
    happened = last_event(connection) - since_event
    settled = connection.execute(_SETTLED, {"account_": account}).scalar()
    found = Observation(
        at=at,
        account=account,
        balance=balance,
        settled_credits=settled or 0,
        in_flight=max(accounts.in_flight(connection, account, at), min(happened, 1)),
        exclusive=exclusive,
    )
    values = {
        "at_us": to_us(at),
        "account": account,
        "total": balance.total,
        "subscription": balance.subscription,
        "on_demand": balance.on_demand,
        "settled_credits": found.settled_credits,
        "in_flight": found.in_flight,
        "exclusive": exclusive,
    }
    connection.execute(insert(observations), values)
    return found


def latest(connection: Connection, account: str) -> Observation | None:
    """The last balance that was kept; None where there is none."""
    row = connection.execute(_LATEST, {"account_": account}).mappings().first()
    return None if row is None else _observation(row)


def bracket(connection: Connection, before: Observation, after: Observation) -> Bracket:
    """What lies between two readings."""
    place = {
        "account_": after.account,
        "since_us": to_us(before.at),
        "until_us": to_us(after.at),
    }
    return Bracket(
        before,
        after,
        _found(connection, _UNKNOWN, place),
        _found(connection, _ESTIMATED, place),
    )


def _found(connection: Connection, query: Any, place: dict[str, Any]) -> tuple[Entry, ...]:
    rows: Sequence[Any] = connection.execute(query, place).mappings().all()
    return tuple(Entry.of({**row}) for row in rows)


def _observation(row: Any) -> Observation:
    balance = Balance(row["total"], row["subscription"], row["on_demand"])
    at, account = from_us(row["at_us"]), row["account"]
    return Observation(at, account, balance, row["settled_credits"], row["in_flight"], row["exclusive"])


_OWN: Final = entries.c.account == bindparam("account_")
_SETTLED: Final = select(func.sum(entries.c.credits)).where(_OWN, entries.c.state == State.SETTLED)
_LATEST: Final = (
    select(observations)
    .where(observations.c.account == bindparam("account_"))
    .order_by(observations.c.id.desc())
    .limit(1)
)
_UNKNOWN: Final = (
    select(entries)
    .where(
        _OWN,
        entries.c.state == State.UNKNOWN,
        entries.c.sent_us >= bindparam("since_us"),
        entries.c.sent_us < bindparam("until_us"),
    )
    .order_by(entries.c.id)
)
_ESTIMATED: Final = (
    select(entries)
    .where(
        _OWN,
        entries.c.state == State.SETTLED,
        entries.c.estimated,
        entries.c.ended_us >= bindparam("since_us"),
        entries.c.ended_us < bindparam("until_us"),
    )
    .order_by(entries.c.id)
)
