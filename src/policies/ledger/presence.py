"""Which owners a ledger knows, which of them live, and what becomes of what dead ones left.

Here belong the rows of owners, inside a transaction that `store` has begun. The lock and the lease by which
an owner shows that it lives belong to `owners`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, union, update

from policies.ledger.database import is_server, is_shared, shown
from policies.ledger.entries import Entry, Evidence, Stale, Step, to_us
from policies.ledger.owners import LEASE, Owner, is_alive, shows_life
from policies.ledger.schema import entries, owners
from policies.ledger.statements import Statement, is_open
from policies.ledger.states import Happened, State

Lives = Callable[[str], bool]
"""Tells whether the owner of that id lives, by what is known now."""


def locks_of(engine: Engine, ledger_id: str) -> Path:
    """The folder with the locks of a ledger's owners on this host."""
    if is_server(engine):
        return Path(tempfile.gettempdir()) / f"planner-owners-{os.getuid()}-{ledger_id}"
    path = Path(shown(engine))
    return path.with_name(path.name + "-owners")


def enter(connection: Connection, owner: Owner, now_us: int) -> None:
    """Note a new owner; where others are elsewhere, also that it has just shown that it lives."""
    row = {"owner": owner.id, "host": owner.host, "pid": owner.pid, "since_us": now_us}
    connection.execute(insert(owners), {**row, "seen_us": now_us} if is_shared(connection) else row)


def renew(connection: Connection, owner: Owner, now_us: int) -> bool:
    """Note that an owner lives; false where it is not known any more."""
    row = update(owners).where(owners.c.owner == owner.id)
    return connection.execute(row.values(seen_us=now_us)).rowcount == 1


def sign_off(connection: Connection, owner_ids: Collection[str]) -> None:
    """Forget owners: whatever they still hold is anybody's."""
    connection.execute(delete(owners).where(owners.c.owner.in_(owner_ids)))


def living(connection: Connection, locks: Path, now: datetime) -> Lives:
    """Who lives at that instant: on one host the locks say it, on many the leases do."""
    if not is_shared(connection):
        return partial(is_alive, locks)
    rows = {row.owner: row for row in connection.execute(select(owners))}
    oldest_us = to_us(now - LEASE)

    def lives(owner_id: str) -> bool:
        row = rows.get(owner_id)
        return row is not None and shows_life(locks, owner_id, row.host, row.seen_us > oldest_us)

    return lives


def count(connection: Connection, lives: Lives) -> tuple[int, int]:
    """How many owners are at work now, and how many are gone and left their work behind."""
    known = [row.owner for row in _REGISTERED.rows(connection)]
    alive = sum(map(lives, known))
    return alive, len(known) - alive


def dead(connection: Connection, owner: Owner, lives: Lives) -> list[str]:
    """The other owners that live no more, also those that only an open entry still names."""
    known = dict.fromkeys(row.owner for row in _KNOWN.rows(connection))
    return [other for other in known if other != owner.id and not lives(other)]


def left_by(connection: Connection, owner_ids: Iterable[str]) -> list[Entry]:
    """The open entries of those owners, in the order of booking."""
    query = select(entries).where(entries.c.owner.in_(owner_ids), is_open(entries.c.state))
    return [Entry.of({**row}) for row in connection.execute(query.order_by(entries.c.id)).mappings()]


def inherited(entry: Entry) -> Step:
    """What happens to an entry that is taken over: what was accepted is adopted, the rest ends."""
    match entry.state:
        case State.ACCEPTED:
            return Happened.ADOPTED, Evidence()
        case State.SENDING:
            return Happened.LOST, Evidence(reason="owner gone")
        case _:
            return Happened.ABANDONED, Evidence(reason="owner gone")


def is_known(connection: Connection, owner: Owner) -> bool:
    """Whether nobody has taken that owner for dead."""
    return _ONE.first(connection, {"owner_": owner.id}) is not None


def let_in(owner: Owner, *, is_known: bool) -> None:
    """Only an owner that the ledger knows may send: one that was taken for dead is closed for good."""
    if not is_known:
        owner.close()
    if not owner.alive:
        raise Stale("this owner was closed or taken over")


_ONE: Final = Statement(select(owners.c.owner).where(owners.c.owner == bindparam("owner_")))
_REGISTERED: Final = Statement(select(owners.c.owner))
_KNOWN: Final = Statement(
    union(select(owners.c.owner), select(entries.c.owner).where(is_open(entries.c.state)))
)
