"""Past requests of a file as entries: booked at the instant they were sent, never priced again.

Here belong which rows are new, how a row becomes an entry with its events, and counting the budgets anew,
inside a transaction that `store` has begun. What the columns of a file mean belongs to `planner.history`.

An imported job was accepted by the provider and has come to its end, as its row says it. A missing cost is
not 0: the entry is settled at its quote, as an estimate, until the file or the provider says more (law 17).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import Connection, insert, select

from planner.errors import Fault, InputError, NoPrice
from planner.past import COMPLETED, PastRequest
from planner.prices import PriceBook
from planner.quoting import quote
from planner.request import MODEL_NAME, closed_fields
from policies.ledger import counting, in_force, progress
from policies.ledger.entries import Entry, Evidence, Step, canonical_json, to_us
from policies.ledger.schema import entries, facts
from policies.ledger.statements import Statement
from policies.ledger.states import Happened, after

SHOOT: Final = "imported"
"""A space of its own: no key of a file that was imported stands in the way of one that is run."""
CHUNK: Final = 1000
"""Rows that are looked up together."""


@dataclass(slots=True)
class Imported:
    """What became of the rows of a file."""

    rows: int = 0
    new: int = 0
    known: int = 0
    """Rows that were imported before, or of jobs that this ledger has sent itself."""
    corrected: int = 0
    """Known ones of which the file says a cost that was missing until now."""
    estimated: int = 0
    """New ones that are settled at their quote, because the file does not say what they cost."""
    priced: int = 0
    """New ones without a quote of their own, priced by the entry that was in force then."""
    credits: int = 0
    """What the new ones count."""


def book(
    connection: Connection,
    past: Iterable[PastRequest],
    account: str,
    prices: PriceBook,
    rate_microusd: int,
    now: datetime,
    salted: Callable[[bytes], str],
) -> Imported:
    """Book every row that is not known yet, and count the budgets in force anew.

    `rate_microusd` is what a credit costs where a row does not say. Raises `InputError` with every row that
    has no cost, no quote and no price: then nothing is booked.
    """
    _belongs_to_the_provider(connection)
    found, occurrences, faults = Imported(), Counter[bytes](), list[Fault]()
    for rows in _chunks(past):
        keys = [_key(row, occurrences) for row in rows]
        known = _known(connection, account, keys, rows)
        for key, row in zip(keys, rows, strict=True):
            found.rows += 1
            entry = known.get(key) or known.get(row.prediction_id or "")
            if entry is not None:
                _correct(connection, entry, row, found, now)
                continue
            try:
                new = _entry(row, account, key, prices, rate_microusd, salted)
            except NoPrice as error:
                message = f"it has no quote, and {error.faults[0].message}"
                hint = "add `credits_quoted`, or a dated entry with --prices"
                faults.append(Fault("no_price", message, row.where, "credits_quoted", hint))
            else:
                _write(connection, row, new, found)
    if faults:
        raise InputError(faults=faults)
    for policy in in_force.all_of(connection).values() if found.new or found.corrected else ():
        counting.recount(connection, policy, now)
    return found


def _belongs_to_the_provider(connection: Connection) -> None:
    """A history is of the provider itself, so a ledger without a kind is a live one from now on (law 23)."""
    if connection.execute(select(facts.c.value).where(facts.c.name == "kind")).scalar() is None:
        connection.execute(insert(facts), {"name": "kind", "value": "live"})


def _chunks(past: Iterable[PastRequest]) -> Iterator[list[PastRequest]]:
    rows = iter(past)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _key(row: PastRequest, occurrences: Counter[bytes]) -> str:
    """What a row is known by when the file is imported again: its prediction, its key, or all it says."""
    if row.prediction_id or row.key:
        return row.prediction_id or f"key:{row.key}"[:200]
    told = [row.submitted_at.isoformat(), row.status, dict(row.labels), closed_fields(row.request)]
    digest = hashlib.sha256(canonical_json(told).encode("utf-8", "surrogatepass")).digest()
    occurrences[digest] += 1
    return f"row:{digest.hex()[:32]}-{occurrences[digest]}"


def _known(
    connection: Connection, account: str, keys: Sequence[str], rows: Sequence[PastRequest]
) -> dict[str, Entry]:
    """By key and by prediction the entries that rows are about, imported before or sent by this ledger."""
    predictions = [row.prediction_id for row in rows if row.prediction_id]
    own = entries.c.account == account, entries.c.shoot == SHOOT, entries.c.key.in_(keys)
    queries = select(entries).where(*own), select(entries).where(entries.c.prediction_id.in_(predictions))
    found: dict[str, Entry] = {}
    for query, name in zip(queries, ("key", "prediction_id"), strict=True):
        for row in connection.execute(query).mappings():
            found[row[name]] = Entry.of({**row})
    return found


def _correct(connection: Connection, entry: Entry, row: PastRequest, found: Imported, now: datetime) -> None:
    """Let a cost that was missing be an adjustment, as it is whoever brings it."""
    found.known += 1
    if entry.estimated and row.credits_used is not None:
        evidence = Evidence(credits=row.credits_used, detail={"from": "import"})
        step: Step = Happened.ADJUSTED, evidence
        progress.apply(connection, entry, *step, now_us=to_us(now), speed=1.0)
        found.corrected += 1


def _quoted(row: PastRequest, prices: PriceBook) -> tuple[int, str, str]:
    """The quote that a row came with, else that of the entry in force then; its name; the billed mode."""
    try:
        priced = quote(row.request, prices, row.submitted_at)
    except NoPrice:
        own = row.credits_used if row.credits_quoted is None else row.credits_quoted
        if own is None:
            raise
        return own, "", row.request.generation_mode or ""
    if row.credits_quoted is None:
        return priced.credits, priced.price_book, priced.billed_mode
    same = priced.credits == row.credits_quoted
    return row.credits_quoted, priced.price_book if same else "", priced.billed_mode


def _entry(
    row: PastRequest,
    account: str,
    key: str,
    prices: PriceBook,
    rate_microusd: int,
    salted: Callable[[bytes], str],
) -> Entry:
    """A row as an entry that the provider has accepted; its id is given when it is written.

    Its prompt is nowhere, so its fingerprint is that of its key and stands for no request.
    """
    quoted, price_entry, mode = _quoted(row, prices)
    mac, submitted_us = salted(b"imported:" + key.encode("utf-8", "surrogatepass")), to_us(row.submitted_at)
    return Entry(
        **closed_fields(row.request),
        id=0,
        booked_us=submitted_us,
        account=account,
        shoot=SHOOT,
        key=key,
        take=1,
        state=after(None, Happened.IMPORTED),
        owner=None,
        epoch=1,
        sends=0,
        model=MODEL_NAME,
        labels=canonical_json(dict(row.labels)),
        billed_mode=mode,
        quoted_credits=quoted,
        asked_credits=quoted,
        credits=quoted,
        estimated=False,
        rate_microusd=rate_microusd if row.rate_microusd is None else row.rate_microusd,
        price_entry=price_entry,
        policy="",
        policy_digest="",
        verdict="allow",
        shadow_verdict=None,
        shadow_credits=None,
        changes="[]",
        findings="[]",
        asked_mac=mac,
        final_mac=mac,
        prediction_id=row.prediction_id,
        sent_us=submitted_us,
        accepted_us=submitted_us,
        ended_us=None,
        slot_until_us=None,
        reason=None,
        outputs=0,
        outputs_home=0,
        outputs_lost=False,
    )


def _write(connection: Connection, row: PastRequest, entry: Entry, found: Imported) -> None:
    """Write an entry at its end, with both of its events."""
    ended, happened, evidence = _end(row, entry)
    number = _INSERT.first(connection, ended._asdict()).id
    begun, ended = entry._replace(id=number), ended._replace(id=number)
    progress.note(connection, begun, Happened.IMPORTED, entry.booked_us, {})
    reason = {"reason": evidence.reason} if evidence.reason else {}
    progress.note(connection, ended, happened, _ended_us(row), reason)
    found.new += 1
    found.priced += row.credits_quoted is None
    found.estimated += ended.estimated
    found.credits += ended.credits


_INSERT: Final = Statement(
    insert(entries).returning(entries.c.id), [name for name in Entry._fields if name != "id"]
)


def _end(row: PastRequest, entry: Entry) -> tuple[Entry, Happened, Evidence]:
    """An entry at the end that its row tells of, and how it came there."""
    happened, evidence = _step(row)
    return (
        entry._replace(**progress.changed_by(entry, happened, evidence, _ended_us(row))),
        happened,
        evidence,
    )


def _ended_us(row: PastRequest) -> int:
    return to_us(row.completed_at or row.submitted_at)


def _step(row: PastRequest) -> Step:
    """What the provider said in the end, as far as the row tells."""
    done = row.status == COMPLETED
    images, reason = (row.request.num_images or 1, None) if done else (0, row.status[:80])
    if row.credits_used or (done and row.credits_used == 0):
        return Happened.CHARGED, Evidence(credits=row.credits_used, outputs=images, reason=reason)
    if row.free:
        return Happened.FAILED, Evidence(reason=reason)
    if done:
        return Happened.ESTIMATED, Evidence(outputs=images)
    return Happened.VANISHED, Evidence(reason=reason)
