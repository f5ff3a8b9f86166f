"""How an entry moves: one conditional update on (state, owner, epoch), its event and its counters.

Here belongs the only code that changes an entry, inside a transaction that `store` has begun. Which
moves there are stands in `states`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from policies.ledger import counting
from policies.ledger.accounts import profile
from policies.ledger.entries import Entry, Evidence, Stale, Step, canonical_json
from policies.ledger.schema import entries, events
from policies.ledger.statements import Statement
from policies.ledger.states import TAKEN, TRANSITIONS, Happened, State, after

_KEPT: Final = ("reason", "prediction_id", "outputs", "outputs_home", "outputs_lost")
"""What evidence brings into the entry of the same name."""


def apply(
    connection: Connection,
    entry: Entry,
    happened: Happened,
    evidence: Evidence,
    *,
    now_us: int,
    speed: float,
    owner: str | None = None,
) -> Entry:
    """Move an entry; a new `owner` takes it over. Raises `Stale` when it has been moved meanwhile."""
    changes = changed_by(entry, happened, evidence, now_us)
    if owner is not None:
        changes |= {"owner": owner, "epoch": entry.epoch + 1}
    if happened is Happened.LOST:
        seconds = profile(connection, entry.account)["unknown_slot_seconds"] / speed
        changes["slot_until_us"] = (entry.sent_us or now_us) + int(seconds * 1e6)
    if entry.state is State.RELEASED and changes["state"] in TAKEN:
        changes["take"] = _free_take(connection, entry)
    _write(connection, entry, changes)
    moved = entry._replace(**changes)
    reason = {"reason": evidence.reason} if evidence.reason else {}
    note(connection, moved, happened, now_us, {**evidence.detail, **reason})
    counting.move(connection, entry, moved)
    return moved


def late_step(entry: Entry, happened: Happened, evidence: Evidence) -> Step | None:
    """The step by which late evidence reaches an entry that was moved meanwhile, or None."""
    if (entry.state, happened) in TRANSITIONS:
        return happened, evidence
    if entry.state not in (State.SETTLED, State.RELEASED):
        return None
    credits = {Happened.CHARGED: evidence.credits, Happened.FAILED: 0}.get(happened)
    if credits is None or (credits == entry.credits and not entry.estimated):
        return None
    return Happened.ADJUSTED, replace(evidence, credits=credits)


def _free_take(connection: Connection, entry: Entry) -> int:
    """The entry's own take, or the next one where its key was taken again since it was released."""
    same_key = (
        entries.c.account == entry.account,
        entries.c.shoot == entry.shoot,
        entries.c.key == entry.key,
    )
    taken = connection.execute(
        select(entries.c.take).where(*same_key, entries.c.state.in_(sorted(TAKEN)))
    ).scalars()
    takes = {*taken}
    return entry.take if entry.take not in takes else max(takes) + 1


def _write(connection: Connection, entry: Entry, changes: Mapping[str, Any]) -> None:
    # An update that changes nothing would still have to find its row, so it writes the state again.
    names = ["state"]
    values = {"id_": entry.id, "state_": entry.state, "owner_": entry.owner, "epoch_": entry.epoch}
    values["state_to"] = changes["state"]
    for name, value in changes.items():
        if name != "state" and value != getattr(entry, name):
            names.append(name)
            values[f"{name}_to"] = value
    if _move(tuple(names)).run(connection, values) != 1:
        raise Stale(f"entry {entry.id} was moved by somebody else")


@cache
def _move(names: tuple[str, ...]) -> Statement:
    """Write these columns of an entry, if it is still the one that was read."""
    return Statement(
        update(entries)
        .where(
            entries.c.id == bindparam("id_"),
            entries.c.state == bindparam("state_"),
            entries.c.owner.is_not_distinct_from(bindparam("owner_")),
            entries.c.epoch == bindparam("epoch_"),
        )
        .values({entries.c[name]: bindparam(f"{name}_to") for name in names})
    )


def note(
    connection: Connection, entry: Entry, happened: Happened, at_us: int, detail: Mapping[str, Any]
) -> None:
    """Append the event."""
    _NOTE.run(
        connection,
        {
            "entry": entry.id,
            "at_us": at_us,
            "happened": happened.value,
            "state": entry.state.value,
            "owner": entry.owner,
            "epoch": entry.epoch,
            "credits": entry.credits,
            "detail": canonical_json(dict(detail)) if detail else "{}",
        },
    )


_NOTE: Final = Statement(
    insert(events).inline(),
    ["entry", "at_us", "happened", "state", "owner", "epoch", "credits", "detail"],
)


def changed_by(entry: Entry, happened: Happened, evidence: Evidence, now_us: int) -> dict[str, Any]:
    """What of the entry is another value after that; its state always stands among them."""
    state = after(entry.state, happened)
    values: dict[str, Any] = {"state": state}
    values |= {name: given for name in _KEPT if (given := getattr(evidence, name)) is not None}
    if happened is Happened.SENT:
        values |= {"sent_us": now_us, "sends": entry.sends + 1}
    elif happened is Happened.ACCEPTED:
        values |= {"accepted_us": now_us, "reason": None}
    elif happened in (Happened.CHARGED, Happened.SETTLED_BY):
        charged = {"credits": evidence.credits, "estimated": False, "ended_us": now_us}
        values |= {**charged, "reason": evidence.reason}
    elif happened is Happened.ADJUSTED:
        values |= {"credits": evidence.credits, "estimated": False}
    elif happened is Happened.ESTIMATED:
        values |= {"estimated": True, "ended_us": now_us, "reason": None}
    elif happened is Happened.VANISHED:
        values |= {"slot_until_us": now_us}
    elif state is State.RELEASED:
        values |= {"credits": 0, "ended_us": now_us}
    return values
