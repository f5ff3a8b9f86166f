"""Approvals: what a named person said to a job that waits, and when that lets it go.

Here belong keeping an answer, finding the one that speaks for an ask, and using it up in the transaction
of the hold. An approval is bound to the key, the final request, its labels, what it answers and a most
number of credits; anything else is asked anew. A full budget is passed by a grant for that one job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select

from policies.decision import Decision, Finding, Outcome, Verdict
from policies.engine import Policy
from policies.ledger import counting, grants
from policies.ledger.entries import Ask, Entry, canonical_json, from_us, to_us
from policies.ledger.schema import approval_uses, approvals, entries
from policies.ledger.states import State

ANSWER: Final = "approval"
"""Under which name a person's answer stands among the findings of a decision."""
_ASKING: Final = (Outcome.NEEDS_APPROVAL, Outcome.BUDGET_FULL, Outcome.OTHERWISE)

Asked = tuple[str, str]
"""The name of a rule or budget, and what it found."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said to a waiting job."""

    id: int
    at: datetime
    waiting: int
    """The entry that asked."""
    approved: bool
    findings: frozenset[Asked]
    most_credits: int
    until: datetime
    who: str
    because: str
    used_by: int | None
    """The entry that it was used for; None where it is free, also when nothing was accepted of that."""

    def covers(self, decision: Decision, at: datetime) -> bool:
        """Whether it lets that decision go, at that instant."""
        asked = {(finding.rule, finding.outcome.value) for finding in _asking(decision)}
        fits = decision.credits <= self.most_credits and asked <= self.findings
        return self.approved and self.used_by is None and at < self.until and fits


def asked_by(entry: Entry) -> tuple[Asked, ...]:
    """The rules and budgets that a waiting entry asks a person about."""
    found = json.loads(entry.findings)
    return tuple((one["rule"], one["outcome"]) for one in found if one["outcome"] in _ASKING)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits for a person, and what was said to it; the latest answer first."""

    entry: Entry
    answers: tuple[Answer, ...]


def waiting(connection: Connection) -> list[Waiting]:
    """The jobs that wait: of each key the last attempt, where it asks or where a person has denied it."""
    rows = connection.execute(_WAITING).mappings().all()
    return [Waiting(entry, answers_to(connection, entry)) for entry in (Entry.of({**row}) for row in rows)]


_LAST: Final = select(func.max(entries.c.id)).group_by(entries.c.account, entries.c.shoot, entries.c.key)
_DENIED_BY_PERSON: Final = (entries.c.state == State.DENIED) & entries.c.findings.contains(
    f'"rule":"{ANSWER}"', autoescape=True
)
_WAITING: Final = (
    select(entries)
    .where(entries.c.id.in_(_LAST), (entries.c.state == State.WAITING) | _DENIED_BY_PERSON)
    .order_by(entries.c.id)
)


def keep(
    connection: Connection,
    waiting: Entry,
    at: datetime,
    *,
    approved: bool,
    most_credits: int,
    until: datetime,
    who: str,
    because: str,
) -> None:
    """Note what a person said to a waiting entry."""
    values = {
        "at_us": to_us(at),
        "waiting": waiting.id,
        "account": waiting.account,
        "shoot": waiting.shoot,
        "key": waiting.key,
        "final_mac": waiting.final_mac,
        "labels": waiting.labels,
        "approved": approved,
        "findings": canonical_json(asked_by(waiting)),
        "most_credits": most_credits,
        "until_us": to_us(until),
        "who": who,
        "because": because,
    }
    connection.execute(insert(approvals), values)


def answer_to(
    connection: Connection, ask: Ask, decision: Decision, final_mac: str, at: datetime
) -> Answer | None:
    """The answer that speaks for an ask that waits; None where it goes on waiting.

    The latest that can still be used; a denial stands until somebody approves.
    """
    labels = canonical_json(dict(decision.labels))
    for answer in _answers(connection, ask.account, ask.shoot, ask.key, final_mac, labels):
        if not answer.approved or answer.covers(decision, at):
            return answer
    return None


def answers_to(connection: Connection, entry: Entry) -> tuple[Answer, ...]:
    """All that was said to a waiting entry, and to others that asked for the same; the latest first."""
    place = entry.account, entry.shoot, entry.key, entry.final_mac, entry.labels
    return tuple(_answers(connection, *place))


def _answers(
    connection: Connection, account: str, shoot: str, key: str, final_mac: str, labels: str
) -> Iterator[Answer]:
    given = {"account_": account, "shoot_": shoot, "key_": key, "mac_": final_mac, "labels_": labels}
    rows = connection.execute(_OF_REQUEST, given).mappings().all()
    for row in rows:
        used = connection.execute(_USED, {"approval_": row["id"]}).scalar()
        yield _answer(row, used)


def _answer(row: Any, used_by: int | None) -> Answer:
    return Answer(
        id=row["id"],
        at=from_us(row["at_us"]),
        waiting=row["waiting"],
        approved=row["approved"],
        findings=frozenset((rule, outcome) for rule, outcome in json.loads(row["findings"])),
        most_credits=row["most_credits"],
        until=from_us(row["until_us"]),
        who=row["who"],
        because=row["because"],
        used_by=used_by,
    )


_OF_REQUEST: Final = (
    select(approvals)
    .where(
        approvals.c.account == bindparam("account_"),
        approvals.c.shoot == bindparam("shoot_"),
        approvals.c.key == bindparam("key_"),
        approvals.c.final_mac == bindparam("mac_"),
        approvals.c.labels == bindparam("labels_"),
    )
    .order_by(approvals.c.id.desc())
)
_CAME_BACK: Final = (entries.c.state == State.RELEASED) & entries.c.accepted_us.is_(None)
"""Of the entry that it was used for nothing was accepted, so that an approval can be used again."""
_USED: Final = (
    select(entries.c.id)
    .join(approval_uses, approval_uses.c.entry == entries.c.id)
    .where(approval_uses.c.approval == bindparam("approval_"), ~_CAME_BACK)
)


def answered(decision: Decision, answer: Answer) -> Decision:
    """What becomes of a decision that asks, once a person has answered."""
    verb, outcome, verdict = (
        ("approved", Outcome.ALLOW, Verdict.ALLOW)
        if answer.approved
        else ("denied", Outcome.DENY, Verdict.DENY)
    )
    finding = Finding(ANSWER, outcome, f"{verb} by {answer.who}: {answer.because}", "")
    ruling = decision.ruling
    return decision._replace(
        ruling=replace(ruling, findings=(*ruling.findings, finding), verdict=verdict),
    )


def unanswered(connection: Connection, decision: Decision, policy: Policy, at: datetime) -> Finding | None:
    """A full budget that nobody was asked about, such as one that would have let the request go down.

    An approval lets go the request that was asked about, as it is: that budget has to have room for it.
    """
    asked = _full(decision)
    for allowance in decision.allowances:
        if not allowance.blocks or allowance.budget in asked:
            continue
        usage = counting.usage(connection, policy.name, allowance, at)
        amount = allowance.amount(decision.credits, policy.rate_microusd)
        if usage.used + amount > (most := allowance.limit + usage.granted):
            used = f"{allowance.told_of(usage.used, most)} are used"
            because = f"{used}, this needs {allowance.told(amount)}; the approval is not about this budget"
            where = next((one.where for one in decision.findings if one.rule == allowance.budget), "")
            return Finding(allowance.budget, Outcome.BUDGET_FULL, because, where)
    return None


def refused(decision: Decision, finding: Finding) -> Decision:
    """A decision that an approval does not let go."""
    ruling = decision.ruling
    findings = (*(one for one in ruling.findings if one.rule != finding.rule), finding)
    return decision._replace(ruling=replace(ruling, findings=findings, verdict=Verdict.DENY))


def use(
    connection: Connection, answer: Answer, entry: Entry, decision: Decision, policy: Policy, at: datetime
) -> None:
    """Use an approval up for an entry that is being booked, and grant it what full budgets lack."""
    connection.execute(insert(approval_uses), {"entry": entry.id, "approval": answer.id})
    full = _full(decision)
    for allowance in decision.allowances:
        if allowance.budget not in full:
            continue
        usage = counting.usage(connection, policy.name, allowance, at)
        amount = allowance.amount(decision.credits, policy.rate_microusd)
        missing = usage.used + amount - allowance.limit - usage.granted
        grants.add(
            connection,
            grants.Grant(policy.name, allowance, missing, at, None, answer.who, answer.because, entry.id),
        )


def _full(decision: Decision) -> frozenset[str]:
    """The full budgets that a decision asks a person about."""
    return frozenset(one.rule for one in _asking(decision) if one.outcome is Outcome.BUDGET_FULL)


def _asking(decision: Decision) -> Sequence[Finding]:
    """What a decision asks a person about."""
    return [one for one in decision.findings if one.verdict is Verdict.NEEDS_APPROVAL]
