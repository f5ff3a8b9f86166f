"""A webhook is a reason to ask, and nothing else: it has no signature, and anybody may send one.

Here belongs finding out which prediction a body speaks of, and asking the provider about it. What the
body says of status, pictures or credits is never read.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from policies.guard.answers import is_id
from policies.guard.guard import Guard
from policies.guard.machine import Effect, Transact
from policies.ledger.entries import Entry
from policies.ledger.states import State

Body = bytes | str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a webhook led to."""

    entry: Entry | None
    """The job it speaks of as the ledger now has it; None where it speaks of none."""
    changed: bool
    """Whether the provider's own answer changed the ledger."""
    reason: str
    """In a few words what came of it."""


def hearing(guard: Guard, body: Body) -> Generator[Effect, Any, Heard]:
    """Ask the provider about the prediction that a body names, and book what the provider says.

    Raises `OperatorError` where the ledger cannot be used, so that a web server answers 500 and the
    provider sends the webhook again.
    """
    prediction_id = named_in(body)
    if prediction_id is None:
        return Heard(None, False, "the body names no prediction")
    entry: Entry | None = yield Transact(partial(guard.store.by_prediction, prediction_id))
    if entry is None or entry.account != guard.account:
        return Heard(None, False, "the ledger knows no such prediction")
    is_open = entry.state in (State.ACCEPTED, State.UNKNOWN)
    if not is_open and not (entry.state is State.SETTLED and entry.estimated):
        return Heard(entry, False, "it has ended already")
    machine = yield Transact(lambda: guard.machine)
    job = machine.adopted(entry)
    yield from machine.checking(job) if is_open else machine.revisiting(job)
    if job.ledger_error is not None:
        raise job.ledger_error
    changed = (job.entry.state, job.entry.estimated) != (entry.state, entry.estimated)
    return Heard(job.entry, changed, str(job.entry.state) if changed else "the provider says nothing new")


def named_in(body: Body) -> str | None:
    """The id that a body names, or None.

    >>> named_in(b'{"id": "f3b1-u1", "status": "completed"}'), named_in("[]"), named_in({"id": 7})
    ('f3b1-u1', None, None)
    """
    try:
        document = json.loads(body) if isinstance(body, bytes | str) else body
    except (ValueError, RecursionError):
        return None
    found = document.get("id") if isinstance(document, Mapping) else None
    return found if is_id(found) else None
