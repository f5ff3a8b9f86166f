"""Admission: decide and hold in one transaction (law 14).

Here belongs the order in which an ask is judged: its key, the policy against the counters of this very
transaction, an approval of what it asks for, then a slot and the rate; and how it is booked. `store` begins
and ends the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select

from planner.prices import PriceBook
from planner.request import MODEL_NAME, ModelCreateRequest, closed_fields
from policies.budgets import Allowance, AskUsage, Usage
from policies.decision import Decision, Verdict
from policies.engine import Policy
from policies.ledger import accounts, approvals, counting, drift, plans, progress
from policies.ledger.approvals import Answer
from policies.ledger.counting import Place
from policies.ledger.database import is_shared
from policies.ledger.entries import (
    Admission,
    Admitted,
    Ask,
    Conflict,
    Entry,
    Taken,
    TurnedDown,
    canonical_json,
    to_us,
)
from policies.ledger.postgres import Contended
from policies.ledger.schema import entries
from policies.ledger.statements import Statement, one_of
from policies.ledger.states import TAKEN, Happened, after
from policies.other_models import OtherRequest

Mac = Callable[[ModelCreateRequest | OtherRequest], str]


class Terms(NamedTuple):
    """What an ask is judged by, and by whom it would be sent."""

    policy: Policy
    in_force: Mapping[str, Policy]
    """Every policy in force, by name: an entry counts in the budgets of all of them."""
    book: PriceBook
    rate_microusd: int
    owner: str
    now: datetime
    speed: float
    mac: Mac
    """What the ledger keeps of a request instead of the request."""


def admit(connection: Connection, ask: Ask, terms: Terms) -> Admission:
    """Judge an ask and book it; nothing is booked for a taken key or where no slot is free."""
    taken = _taken(connection, ask)
    if taken is not None:
        return Taken(taken) if taken.asked_mac == terms.mac(ask.request) else Conflict(taken)
    seen: Seen = {}
    decision, answer = _judge(connection, ask, terms, seen)
    if decision.verdict is not Verdict.ALLOW:
        return TurnedDown(_book(connection, ask, decision, terms), decision)
    hindrance = accounts.hindrance(connection, ask.account, terms.now, terms.speed)
    if hindrance is not None:
        return hindrance
    entry = _book(connection, ask, decision, terms)
    accounts.take_rate(connection, ask.account, to_us(terms.now))
    known = {(terms.policy.name, allowance): counter for allowance, (counter, _) in seen.items()}
    found = counting.counter_ids(connection, _counted_in(decision, entry, terms), known)
    if is_shared(connection):
        _lock(connection, ask, terms, decision, found, seen)
    counting.enter(connection, entry, found.values())
    if answer is not None:
        approvals.use(connection, answer, entry, decision, terms.policy, terms.now)
    counting.move(connection, None, entry)
    return Admitted(entry, decision, _final(ask, decision))


Seen = dict[Allowance, tuple[int | None, Usage]]
"""What counted in an allowance when it was read, with its counter."""


def _judge(connection: Connection, ask: Ask, terms: Terms, seen: Seen) -> tuple[Decision, Answer | None]:
    """What the policy and then a person says, by the counters, which are noted as they were `seen`."""

    def usage(allowance: Allowance) -> Usage:
        seen[allowance] = counting.found(connection, terms.policy.name, allowance, terms.now)
        return seen[allowance][1]

    decision = _decided(ask, terms, usage)
    decision, answer = spoken(connection, ask, decision, terms.policy, terms.book, terms.mac, terms.now)
    if ask.planned is not None:
        final_mac = terms.mac(_final(ask, decision))
        decision = plans.kept_to(ask.planned, decision, terms.policy.digest, final_mac)
    return decision, answer


def _decided(ask: Ask, terms: Terms, usage: AskUsage) -> Decision:
    if isinstance(ask.request, OtherRequest):
        return terms.policy.decide_other(ask.request, ask.labels, book=terms.book, at=terms.now, usage=usage)
    return terms.policy.decide(
        ask.request,
        ask.labels,
        book=terms.book,
        at=terms.now,
        usage=usage,
        allow_rewrite=ask.allow_rewrite,
        floor=ask.floor,
    )


def _final(ask: Ask, decision: Decision) -> ModelCreateRequest | OtherRequest:
    """What would be sent of an ask: what has no price goes as it is, or not at all."""
    return ask.request if isinstance(ask.request, OtherRequest) else decision.request


def spoken(
    connection: Connection,
    ask: Ask,
    decision: Decision,
    policy: Policy,
    book: PriceBook,
    mac: Mac,
    now: datetime,
) -> tuple[Decision, Answer | None]:
    """What becomes of a decision by a price that no longer holds, and by what a person has answered."""
    if policy.on_drift == "stop" and policy.enforced and decision.verdict is not Verdict.DENY:
        dearer = drift.stopping(connection, ask.account, decision.quote, book)
        decision = drift.stopped(decision, dearer, policy.name) if dearer else decision
    if decision.verdict is not Verdict.NEEDS_APPROVAL:
        return decision, None
    answer = approvals.answer_to(connection, ask, decision, mac(_final(ask, decision)), now)
    if answer is None:
        return decision, None
    full = approvals.unanswered(connection, decision, policy, now) if answer.approved else None
    if full is not None:
        return approvals.refused(decision, full), None
    return approvals.answered(decision, answer), answer


def _counted_in(decision: Decision, entry: Entry, terms: Terms) -> list[Place]:
    """The allowances that an entry counts in, under every policy in force."""
    return [
        (name, allowance)
        for name, policy in terms.in_force.items()
        for allowance in (
            decision.allowances if name == terms.policy.name else policy.allowances(entry.facts)
        )
    ]


def _lock(
    connection: Connection,
    ask: Ask,
    terms: Terms,
    decision: Decision,
    found: Mapping[Place, int],
    seen: Seen,
) -> None:
    """Let nobody else move the counters of an admission until it is booked.

    The decision was made before they were locked. Raises `Contended` where somebody has moved one since,
    so that it would be another now.
    """
    says = counting.lock(connection, found.values())
    if not says.keys() >= {*found.values()}:
        raise Contended  # somebody has dropped one of them
    own = {allowance: says[place] for (name, allowance), place in found.items() if name == terms.policy.name}
    if all(seen.get(allowance, _UNSEEN)[1] == usage for allowance, usage in own.items()):
        return
    again, _ = _judge(connection, ask, terms, {})
    if _gist(again) != _gist(decision):
        raise Contended


_UNSEEN: Final = (None, None)


def _gist(decision: Decision) -> tuple[Any, ...]:
    """What of a decision is booked, sent or counted."""
    findings = [(finding.rule, finding.outcome) for finding in decision.findings]
    return decision.verdict, decision.request, decision.changes, findings, decision.allowances


_TAKEN: Final = Statement(
    select(entries).where(
        entries.c.account == bindparam("account_"),
        entries.c.shoot == bindparam("shoot_"),
        entries.c.key == bindparam("key_"),
        entries.c.take == bindparam("take_"),
        one_of(entries.c.state, TAKEN),
    )
)


def _taken(connection: Connection, ask: Ask) -> Entry | None:
    place = {"account_": ask.account, "shoot_": ask.shoot, "key_": ask.key, "take_": ask.take}
    row = _TAKEN.first(connection, place)
    return Entry.of(row._asdict()) if row else None


_FIRST: Final = {
    Verdict.ALLOW: Happened.ADMITTED,
    Verdict.NEEDS_APPROVAL: Happened.WAITING,
    Verdict.DENY: Happened.DENIED,
}

_GIVEN_LATER: Final[dict[str, Any]] = dict.fromkeys(
    ("prediction_id", "accepted_us", "slot_until_us", "reason")
)
_INSERT: Final = Statement(
    insert(entries).returning(entries.c.id),
    [name for name in Entry._fields if name != "id" and name not in _GIVEN_LATER],
)


def _book(connection: Connection, ask: Ask, decision: Decision, terms: Terms) -> Entry:
    happened = _FIRST[decision.verdict]
    now_us = to_us(terms.now)
    values = {
        **_identity(ask, decision, terms),
        **_price(decision, terms),
        **_verdict(decision, terms),
        **_progress(happened, now_us),
    }
    entry = Entry(id=_INSERT.first(connection, values).id, **values, **_GIVEN_LATER)
    progress.note(connection, entry, happened, now_us, {})
    return entry


def _identity(ask: Ask, decision: Decision, terms: Terms) -> dict[str, Any]:
    final, asked_mac = _final(ask, decision), terms.mac(ask.request)
    return {
        **closed_fields(decision.request),
        "account": ask.account,
        "shoot": ask.shoot,
        "key": ask.key,
        "take": ask.take,
        "owner": terms.owner,
        "epoch": 1,
        "model": ask.request.model if isinstance(ask.request, OtherRequest) else MODEL_NAME,
        "labels": canonical_json(dict(decision.labels)),
        "asked_mac": asked_mac,
        "final_mac": asked_mac if final is ask.request else terms.mac(final),
    }


def _price(decision: Decision, terms: Terms) -> dict[str, Any]:
    return {
        "billed_mode": decision.quote.billed_mode,
        "quoted_credits": decision.quote.credits,
        "asked_credits": decision.asked_quote.credits,
        "credits": decision.quote.credits if decision.verdict is Verdict.ALLOW else 0,
        "estimated": False,
        "rate_microusd": terms.rate_microusd,
        "price_entry": decision.quote.price_book,
    }


def _verdict(decision: Decision, terms: Terms) -> dict[str, Any]:
    changes = [change.as_json() for change in decision.changes]
    findings = [{"rule": item.rule, "outcome": item.outcome} for item in decision.findings]
    return {
        "policy": terms.policy.name,
        "policy_digest": terms.policy.digest,
        "verdict": decision.verdict.value,
        "shadow_verdict": decision.shadowed.verdict.value if decision.shadowed else None,
        "shadow_credits": decision.shadowed.credits if decision.shadowed else None,
        "changes": canonical_json(changes) if changes else "[]",
        "findings": canonical_json(findings) if findings else "[]",
    }


def _progress(happened: Happened, now_us: int) -> dict[str, Any]:
    admitted = happened is Happened.ADMITTED
    return {
        "booked_us": now_us,
        "state": after(None, happened),
        "sends": int(admitted),
        "sent_us": now_us if admitted else None,
        "ended_us": None if admitted else now_us,
        "outputs": 0,
        "outputs_home": 0,
        "outputs_lost": False,
    }
