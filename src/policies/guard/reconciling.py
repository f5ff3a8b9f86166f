"""Reconciling: the ledger brought up to date with the provider, then held against its balance.

Here belong the steps of it, which a shell carries out, and what a difference is taken for. A balance may
end an unconfirmed job as charged, where two readings leave no other way; it never says that one was not.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

from policies.guard.answers import read_credits
from policies.guard.machine import CANCELLED, Effect, GetBalance, Machine, Transact
from policies.ledger.entries import Entry, Evidence, Stale
from policies.ledger.observations import Balance, Bracket
from policies.ledger.states import Happened, State


class Kind(StrEnum):
    """What a difference between balance and ledger is taken for; a closed list."""

    LATE = "late"
    """Jobs were on their way at a reading: what they cost may lie on its other side."""
    UNCONFIRMED = "unconfirmed"
    """Jobs of which nobody knows whether they were charged."""
    ESTIMATED = "estimated"
    """Jobs without a header stand at their quote."""
    SENT_TWICE = "sent_twice"
    """As much as a job that was sent more than once."""
    BYPASSED = "bypassed"
    """Spending that did not go through this ledger."""
    ADDED = "added"
    """Credits were added, or less was charged than is booked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that would explain the difference, or a part of it."""

    kind: Kind
    words: str
    keys: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "words": self.words, "keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of it."""

    ended: tuple[Entry, ...]
    """Jobs that the provider was asked about and that came to their end."""
    open_jobs: int
    """Jobs with an id that are still on their way, or of which the provider says nothing."""
    balance: Balance | None
    """None where the provider did not say it; then nothing was compared."""
    bracket: Bracket | None
    """None at the first reading of an account."""
    settled: tuple[Entry, ...]
    """Unconfirmed jobs that the bracket has settled, each at its quote."""
    findings: tuple[Finding, ...]

    @property
    def difference(self) -> int:
        """What is left to explain once the bracket has decided."""
        if self.bracket is None:
            return 0
        return self.bracket.difference - sum(entry.credits for entry in self.settled)


_ASKED: Final = (State.ACCEPTED, State.UNKNOWN)


def reconciling(machine: Machine, account: str, *, exclusive: bool) -> Generator[Effect, Any, Reconciled]:
    """Ask about everything that has an id and no end, read the balance, and compare."""
    ended, still = yield from _ending(machine, account)
    seen: int = yield Transact(machine.store.last_event)
    reply = yield GetBalance()
    told = {} if reply is CANCELLED else read_credits(reply)
    if "total" not in told:
        return Reconciled(ended, still, None, None, (), ())
    balance = Balance(told["total"], told.get("subscription"), told.get("on_demand"))
    observe = partial(machine.store.observe, account, balance, since_event=seen, exclusive=exclusive)
    bracket: Bracket | None = yield Transact(observe)
    if bracket is None:
        return Reconciled(ended, still, balance, None, (), ())
    settled = (yield from _settling(machine, bracket)) if decides(bracket) else ()
    findings = () if settled else tuple(findings_of(bracket))
    return Reconciled(ended, still, balance, bracket, settled, findings)


def _ending(machine: Machine, account: str) -> Generator[Effect, Any, tuple[tuple[Entry, ...], int]]:
    """Bring to its end what nobody is at work on; the ended, and how many are left."""
    yield Transact(partial(machine.store.take_over, machine.owner))
    found = yield Transact(partial(machine.store.entries, states=_ASKED, account=account))
    ended, still = [], 0
    for entry in found:
        if not entry.prediction_id:
            continue
        job = machine.adopted(entry)
        if entry.owner == machine.owner.id or not machine.store.is_at_work(entry):
            yield from machine.checking(job)
        if job.entry.state in _ASKED:
            still += 1
        else:
            ended.append(job.entry)
    return tuple(ended), still


def decides(bracket: Bracket) -> bool:
    """Whether two readings leave no other way than that every unconfirmed job between them was charged."""
    charged = bracket.difference == bracket.unknown_credits
    return bool(bracket.unknown) and charged and not bracket.doubts


def _settling(machine: Machine, bracket: Bracket) -> Generator[Effect, Any, tuple[Entry, ...]]:
    detail = {"balance": [bracket.before.balance.total, bracket.after.balance.total]}
    settled = []
    for entry in bracket.unknown:
        charged = (Happened.CHARGED, Evidence(credits=entry.credits, detail=detail))
        try:
            settled.append((yield Transact(partial(machine.store.record, entry, charged))))
        except Stale:  # Somebody else has ended it meanwhile, who knows better.
            continue
    return tuple(settled)


def findings_of(bracket: Bracket) -> Iterator[Finding]:
    """What would explain the difference; nothing where there is none and nothing is unconfirmed."""
    difference = bracket.difference
    if bracket.unknown:
        yield Finding(Kind.UNCONFIRMED, _unconfirmed(bracket), _keys(_guilty(bracket)))
    if not difference:
        return
    if flying := bracket.before.in_flight + bracket.after.in_flight:
        words = f"{flying} in flight at a reading: what they cost may lie on its other side"
        yield Finding(Kind.LATE, words)
    if bracket.estimated:
        words = f"{len(bracket.estimated)} without a header stand at their quote"
        yield Finding(Kind.ESTIMATED, words, _keys(bracket.estimated))
    if difference < 0:
        words = f"{-difference} credits less were charged than booked, or credits were added"
        yield Finding(Kind.ADDED, words)
        return
    twice = [entry for entry in bracket.unknown if entry.sends > 1 and difference >= 2 * entry.credits]
    if twice:
        yield Finding(Kind.SENT_TWICE, "sent more than once, and may be running twice", _keys(twice))
    if difference > bracket.unknown_credits:
        words = f"{difference - bracket.unknown_credits} credits were spent past this ledger"
        yield Finding(Kind.BYPASSED, words)


def _unconfirmed(bracket: Bracket) -> str:
    if bracket.difference <= 0:
        return "the balance did not go down for them"
    if bracket.difference == bracket.unknown_credits:
        return "the balance went down by as much as they would cost together"
    if _guilty(bracket) != bracket.unknown:
        return "the balance went down by as much as one of them would cost"
    return f"the balance went down by {bracket.difference} credits beside what is booked"


def _guilty(bracket: Bracket) -> tuple[Entry, ...]:
    """The one unconfirmed job that costs just the difference, where it is the only one; else all."""
    alone = [entry for entry in bracket.unknown if entry.credits == bracket.difference]
    return tuple(alone) if len(alone) == 1 else bracket.unknown


def _keys(found: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.key for entry in found)
