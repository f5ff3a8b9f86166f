"""Drift: the provider charged something else than the price book says.

Here belong judging an ended entry, and finding what stops a cell under `on_drift: stop`. A charge is held
against every price entry that was in force between the admission and the end, and fewer pictures than
were asked for may cost less. Nothing is ever priced anew: the entry keeps its quote and its charge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from planner.past import stand_in
from planner.prices import PriceBook, PriceEntry
from planner.quoting import CELLS, Quote, price_cell, quotes
from planner.request import ModelCreateRequest
from policies.decision import Decision, Finding, Outcome, Verdict
from policies.ledger.entries import Entry, from_us
from policies.ledger.schema import entries
from policies.ledger.states import State

NAME: Final = "on_drift"
"""Under which name a stopped cell stands among the findings of a decision."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What one job was charged beside what the price book says."""

    key: str
    what: str
    """The cell in words, such as `quality at 2k`."""
    quoted_credits: int
    charged_credits: int
    price_entry: str

    @property
    def dearer(self) -> bool:
        return self.charged_credits > self.quoted_credits

    def __str__(self) -> str:
        """
        >>> str(Drift("a", "quality at 2k", 4, 5, "fashn@2026-05-01"))
        '`a` was charged 5 credits instead of 4: `fashn@2026-05-01` no longer holds for quality at 2k'
        """
        plural = "s" * (self.charged_credits != 1)
        charged = f"`{self.key}` was charged {self.charged_credits} credit{plural}"
        holds = f"`{self.price_entry}` no longer holds for {self.what}"
        return f"{charged} instead of {self.quoted_credits}: {holds}"

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "what": self.what,
            "quoted_credits": self.quoted_credits,
            "charged_credits": self.charged_credits,
            "price_book": self.price_entry,
        }


HINT: Final = "add an entry with today's prices to the file of --prices"


def drift_of(entry: Entry, book: PriceBook) -> Drift | None:
    """How an entry's charge differs from every price that was in force meanwhile; None where it does not.

    Only what the provider said of pictures that it made is held against a price, where there was one.
    """
    observed = entry.state is State.SETTLED and not entry.estimated and entry.outputs > 0
    if not entry.price_entry or not observed or entry.credits == entry.quoted_credits:
        return None
    request = stand_in(entry.closed_fields)
    made = _for_fewer(request, min(entry.outputs, request.num_images or 1))
    for price in _in_force(entry, book):
        told = quotes(price)
        if entry.credits in (told[price_cell(request)].credits, told[price_cell(made)].credits):
            return None
    what = " and ".join(line.what for line in _lines(request, entry, book))
    return Drift(entry.key, what, entry.quoted_credits, entry.credits, entry.price_entry)


def _for_fewer(request: ModelCreateRequest, count: int) -> ModelCreateRequest:
    """The same request for fewer pictures."""
    return ModelCreateRequest.of_checked({**request.__dict__, "num_images": count})


def _lines(request: ModelCreateRequest, entry: Entry, book: PriceBook) -> tuple[Any, ...]:
    known = [price for price in book.entries if price.id == entry.price_entry]
    price = known[0] if known else book.entry_at()
    return quotes(price)[price_cell(request)].lines


def _in_force(entry: Entry, book: PriceBook) -> Iterator[PriceEntry]:
    """The price entries in force at any time between an entry's admission and its end."""
    booked, ended = entry.booked_at, from_us(entry.ended_us or entry.booked_us)
    for price in book.entries:
        if price.start <= ended and (price.end is None or booked < price.end):
            yield price


def stopping(connection: Connection, account: str, quote: Quote, book: PriceBook) -> Drift | None:
    """The last job of that cell which was charged more than its price entry says; None where there is none.

    A new price entry starts with a clean sheet.
    """
    place = {"account_": account, "price_": quote.price_book}
    for row in connection.execute(_DEARER, place).mappings():
        found = Entry.of({**row})
        same = CELLS[price_cell(stand_in(found.closed_fields))][:3] == CELLS[quote.cell][:3]
        drift = drift_of(found, book) if same else None
        if drift is not None and drift.dearer:
            return drift
    return None


_DEARER: Final = (
    select(entries)
    .where(
        entries.c.account == bindparam("account_"),
        entries.c.price_entry == bindparam("price_"),
        entries.c.state == State.SETTLED,
        entries.c.credits > entries.c.quoted_credits,
    )
    .order_by(entries.c.id.desc())
)


def stopped(decision: Decision, drift: Drift, where: str) -> Decision:
    """A decision about a cell of which the price is not known any more: it is denied."""
    finding = Finding(NAME, Outcome.DENY, f"{drift}; {HINT}", where)
    ruling = decision.ruling
    return decision._replace(
        ruling=replace(ruling, findings=(*ruling.findings, finding), verdict=Verdict.DENY)
    )
