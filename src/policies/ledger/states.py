"""The life of an entry: its states, what can happen to it, and the only ways from one to the other.

Pure: here belongs the table and nothing that reads or writes. The store applies it as conditional
updates, `verify` replays events through it, and the laws are tested against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an entry stands."""

    DENIED = "denied"
    WAITING = "waiting"
    """A person has to approve it; it holds nothing."""
    HELD = "held"
    """Credits are set aside and nothing is on its way."""
    SENDING = "sending"
    """Bytes may have left: from here on only an answer tells what happened."""
    ACCEPTED = "accepted"
    """The provider gave an id."""
    UNKNOWN = "unknown"
    """It may have cost something and nobody knows; counted until evidence or a person ends it."""
    SETTLED = "settled"
    RELEASED = "released"


class Bucket(StrEnum):
    """How an entry counts in a budget."""

    HELD = "held"
    UNKNOWN = "unknown"
    SETTLED = "settled"


class Happened(StrEnum):
    """What an event says happened to an entry; a closed list."""

    DENIED = "denied"
    WAITING = "waiting"
    ADMITTED = "admitted"
    """Allowed, slot and rate in hand: booked and about to be sent, in one commit."""
    SENT = "sent"
    """About to write bytes again, after it was returned."""
    RETURNED = "returned"
    """No connection was made, or the provider answered that it may be sent again."""
    REFUSED = "refused"
    """The provider answered that it did not take it, or no tries were left."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its window ended or its policy changed before it was sent: it is decided again."""
    ABANDONED = "abandoned"
    """Its owner is gone and nothing had been sent."""
    LOST = "lost"
    """Bytes may have left and no usable answer came, or the owner is gone."""
    ACCEPTED = "accepted"
    CHARGED = "charged"
    """The provider said what it cost, whatever became of the picture."""
    ESTIMATED = "estimated"
    """Completed, and the provider did not say what it cost: it stays at its quote."""
    FAILED = "failed"
    """Failed and free, by the provider's rule."""
    VANISHED = "vanished"
    """The id is known, and the provider no longer says what became of it."""
    ADOPTED = "adopted"
    """Another owner took it over."""
    SETTLED_BY = "settled_by"
    """A named person said what it cost."""
    RELEASED_BY = "released_by"
    """A named person said that it cost nothing."""
    ADJUSTED = "adjusted"
    """Evidence came after the end: the difference, booked beside the entry."""
    OUTPUTS = "outputs"
    """Pictures came home, or it became known that they cannot."""
    IMPORTED = "imported"
    """A job of another time: the provider had accepted it; what became of it follows at once."""


S, H = State, Happened

TRANSITIONS: Final[Mapping[tuple[State | None, Happened], State]] = {
    (None, H.DENIED): S.DENIED,
    (None, H.WAITING): S.WAITING,
    (None, H.ADMITTED): S.SENDING,
    (None, H.IMPORTED): S.ACCEPTED,
    (S.HELD, H.SENT): S.SENDING,
    (S.HELD, H.REFUSED): S.RELEASED,
    (S.HELD, H.CANCELLED): S.RELEASED,
    (S.HELD, H.EXPIRED): S.RELEASED,
    (S.HELD, H.ABANDONED): S.RELEASED,
    (S.SENDING, H.RETURNED): S.HELD,
    (S.SENDING, H.REFUSED): S.RELEASED,
    (S.SENDING, H.ACCEPTED): S.ACCEPTED,
    (S.SENDING, H.LOST): S.UNKNOWN,
    (S.ACCEPTED, H.ADOPTED): S.ACCEPTED,
    (S.ACCEPTED, H.CHARGED): S.SETTLED,
    (S.ACCEPTED, H.ESTIMATED): S.SETTLED,
    (S.ACCEPTED, H.FAILED): S.RELEASED,
    (S.ACCEPTED, H.VANISHED): S.UNKNOWN,
    (S.UNKNOWN, H.ACCEPTED): S.ACCEPTED,
    (S.UNKNOWN, H.CHARGED): S.SETTLED,
    (S.UNKNOWN, H.ESTIMATED): S.SETTLED,
    (S.UNKNOWN, H.FAILED): S.RELEASED,
    (S.UNKNOWN, H.SETTLED_BY): S.SETTLED,
    (S.UNKNOWN, H.RELEASED_BY): S.RELEASED,
    (S.SETTLED, H.ADJUSTED): S.SETTLED,
    (S.RELEASED, H.ADJUSTED): S.SETTLED,
    (S.SETTLED, H.OUTPUTS): S.SETTLED,
}
"""Every way an entry can go. `UNKNOWN` may become `ACCEPTED` again because an answer to our own
request outranks what was booked while it was missing (a slow disk, a late reply)."""

BUCKETS: Final[Mapping[State, Bucket]] = {
    S.HELD: Bucket.HELD,
    S.SENDING: Bucket.HELD,
    S.ACCEPTED: Bucket.HELD,
    S.UNKNOWN: Bucket.UNKNOWN,
    S.SETTLED: Bucket.SETTLED,
}
"""States that count in a budget; the others cost nothing."""

TAKEN: Final = frozenset(BUCKETS)
"""States in which a key is taken: what cost or may have cost something is final for its key."""

OPEN: Final = frozenset({S.HELD, S.SENDING, S.ACCEPTED})
"""States in which an owner is at work."""


class IllegalTransition(ValueError):
    """An event that cannot happen to an entry in that state; a defect, never a user's mistake."""


def after(state: State | None, happened: Happened) -> State:
    """The state that follows.

    >>> after(State.SENDING, Happened.LOST)
    <State.UNKNOWN: 'unknown'>
    >>> after(State.UNKNOWN, Happened.RETURNED)
    Traceback (most recent call last):
    policies.ledger.states.IllegalTransition: an entry that is unknown cannot be returned
    """
    try:
        return TRANSITIONS[state, happened]
    except KeyError:
        here = f"an entry that is {state}" if state else "a new entry"
        raise IllegalTransition(f"{here} cannot be {happened}") from None
