"""Plans in the ledger: what named persons said to one, and whether it was carried out.

Here belong those records, and keeping a job to the plan that it is sent for. A plan is known by its digest
alone, so what was approved is that very text; what it holds belongs to `plan_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from policies.decision import Decision, Finding, Outcome, Verdict
from policies.ledger.entries import Planned, from_us, to_us
from policies.ledger.schema import plan_answers, plans

RULE: Final = "plan"
"""Stands for the rule where a plan does not hold what would be sent."""


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """What a named person said to a plan; a name is a statement, not a login."""

    approved: bool
    who: str
    because: str
    at: datetime
    until: datetime
    """An approval ends then; a plan that was begun before goes on."""


@dataclass(frozen=True, slots=True)
class PlanStanding:
    """What a ledger knows of a plan."""

    begun: datetime | None = None
    ended: datetime | None = None
    """When every job of it had come to an end: it is spent, and sends nothing more."""
    answer: PlanAnswer | None = None
    """The last one."""

    def is_approved(self, now: datetime) -> bool:
        """Whether a person has let it go: it was begun in time, or may be begun now."""
        answer = self.answer
        return answer is not None and answer.approved and (self.begun or now) < answer.until


class Plans:
    """The plans of one ledger; each method is one transaction."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        write: Callable[[Callable[[Connection], object]], object],
        now: Callable[[Connection], datetime],
    ) -> None:
        self._reading, self._write, self._now = reading, write, now

    def standing(self, digest: str) -> PlanStanding:
        """What is known of the plan of that digest; nothing where nobody has spoken of it or begun it."""
        with self._reading() as connection:
            known = connection.execute(select(plans).where(plans.c.digest == digest)).first()
            query = select(plan_answers).where(plan_answers.c.digest == digest)
            said = connection.execute(query.order_by(plan_answers.c.id.desc()).limit(1)).first()
        return PlanStanding(
            begun=None if known is None else from_us(known.begun_us),
            ended=None if known is None or known.ended_us is None else from_us(known.ended_us),
            answer=None if said is None else _answer(said),
        )

    def answer(self, digest: str, *, approved: bool, who: str, because: str, until: datetime) -> None:
        """Keep what a named person says to a plan; the last word counts."""

        def keep(connection: Connection) -> None:
            row = {"digest": digest, "approved": approved, "who": who, "because": because}
            times = {"at_us": to_us(self._now(connection)), "until_us": to_us(until)}
            connection.execute(insert(plan_answers), row | times)

        self._write(keep)

    def begin(self, digest: str, account: str, shoot: str) -> None:
        """Note that a run of it begins, unless one has before."""

        def note(connection: Connection) -> None:
            known = connection.execute(select(plans.c.digest).where(plans.c.digest == digest)).first()
            if known is None:
                row = {"digest": digest, "account": account, "shoot": shoot}
                connection.execute(insert(plans), {**row, "begun_us": to_us(self._now(connection))})

        self._write(note)

    def end(self, digest: str) -> None:
        """Note that every job of it has come to an end: it is spent."""

        def note(connection: Connection) -> None:
            change = update(plans).where(plans.c.digest == digest, plans.c.ended_us.is_(None))
            connection.execute(change.values(ended_us=to_us(self._now(connection))))

        self._write(note)


def _answer(row: Any) -> PlanAnswer:
    return PlanAnswer(row.approved, row.who, row.because, from_us(row.at_us), from_us(row.until_us))


def kept_to(planned: Planned, decision: Decision, policy_digest: str, final_mac: str) -> Decision:
    """A decision as a plan lets it stand: what the plan does not hold is denied, whatever is allowed now."""
    if decision.verdict is not Verdict.ALLOW:
        return decision
    if policy_digest != planned.policy_digest:
        because = "another text of the policy is in force than the plan was decided by"
    elif final_mac != planned.final_mac:
        because = "another request would be sent than the plan holds"
    elif decision.credits != planned.credits:
        because = f"it costs {decision.credits} credits now, and {planned.credits} in the plan"
    else:
        return decision
    finding = Finding(RULE, Outcome.DENY, f"{because}; write the plan again", RULE)
    ruling: Any = decision.ruling
    ruling = replace(ruling, findings=(*ruling.findings, finding), verdict=Verdict.DENY)
    return decision._replace(ruling=ruling)
