"""Past requests for the commands that look back: from a history file, or from the ledger.

Here belong the two options and how an entry of the ledger becomes a past request again, as it was
asked before any rewrite. What is found out about them belongs to `policies.analysis`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from planner.errors import InputError
from policies.cli.output import Command, Decorator, counted
from policies.cli.settings import Settings, setting

if TYPE_CHECKING:
    from datetime import datetime

    from planner.notes import Repair
    from planner.past import PastRequest
    from policies.ledger.entries import Entry
    from policies.ledger.store import Store


@dataclass(frozen=True, slots=True)
class Past:
    """Past requests in order, and where they come from."""

    name: str
    requests: Sequence[PastRequest]
    repairs: Sequence[Repair] = ()

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """When the first and the last of them were submitted."""
        if not self.requests:
            return None
        return self.requests[0].submitted_at, self.requests[-1].submitted_at

    def __str__(self) -> str:
        """
        >>> str(Past("spend.db", []))
        'spend.db · 0 requests'
        """
        days = [at.date().isoformat() for at in self.span] if self.span else []
        parts = [self.name, counted(len(self.requests), "request"), *(days and [" to ".join(days)])]
        return " · ".join(parts)


def past_options(command: Command) -> Command:
    """The options `--history` and `--ledger`; the ledger of the settings where neither is given."""
    decorate: Decorator = click.option(
        "--history", metavar="FILE", help="A history file: CSV, JSON lines or a workbook."
    )
    return decorate(setting("ledger")(command))


def read_past(history: str | None, ledger: str | None, settings: Settings, labels: Collection[str]) -> Past:
    """The past requests, with those labels; raises `InputError` where both sources are named."""
    if history is not None and ledger is not None:
        hint = "name one of the two"
        raise InputError("--history and --ledger are two sources", code="usage", hint=hint)
    if history is None:
        return _from_ledger(settings)
    from planner.history import read_history

    found = read_history(history, labels)
    return Past(found.name, found.past, found.repairs)


# -- from the ledger -----------------------------------------------------------------------------

_ENDED: Final = {"settled": "completed", "released": "failed"}
"""What a state says of the prediction; any other state says itself."""


def _from_ledger(settings: Settings) -> Past:
    from policies.ledger.store import Store

    store = Store.open(settings.ledger, create=False)
    try:
        return Past(settings.ledger_name, _sent(store))
    finally:
        store.close()


def _sent(store: Store) -> list[PastRequest]:
    """The entries that went to the provider and were taken; what came back unsent was asked anew.

    What had no price has no stand-in that another policy could judge.
    """
    from policies.ledger.states import TAKEN, State

    entries = store.entries(states=TAKEN | {State.RELEASED})
    taken = [entry for entry in entries if entry.state in TAKEN or entry.accepted_us is not None]
    return [past_of(entry) for entry in taken if entry.price_entry]


def past_of(entry: Entry) -> PastRequest:
    """An entry as it was asked: its receipts are undone, the last one first."""
    from planner.past import PastRequest, stand_in
    from policies.ledger.entries import from_us
    from policies.ledger.states import State

    fields = dict(entry.closed_fields)
    for change in reversed(json.loads(entry.changes)):
        fields[change["field"]] = change["before"]
    ended = entry.state in (State.SETTLED, State.RELEASED)
    known = ended and not entry.estimated
    return PastRequest(
        submitted_at=entry.booked_at,
        completed_at=None if entry.ended_us is None else from_us(entry.ended_us),
        status=_ENDED.get(entry.state, str(entry.state)),
        request=stand_in(fields),
        credits_quoted=entry.quoted_credits,
        credits_used=entry.credits if known else None,
        rate_microusd=entry.rate_microusd,
        prediction_id=entry.prediction_id,
        key=entry.key,
        labels=entry.label_values,
        where=f"entry {entry.id}",
    )
