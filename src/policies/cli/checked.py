"""A checked file: what goes, what a policy stops or rewrites, and what stopped it.

Here belong the sums over all rows and the reasons that are true of many of them. How rows are decided
belongs to `deciding`, how they are shown to `check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from policies.decision import Change, Decision, Outcome, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from planner.money import CreditPrice
    from planner.notes import Repair
    from planner.workload import Job
    from policies.alternatives import Alternatives
    from policies.cli.deciding import Ruling
    from policies.engine import Policy

Reason = Mapping[str, str]
"""What the policy found about a row: rule, outcome, because, where."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it goes, or in shadow as it would go if the policy were enforced."""

    job: Job
    key: str | None
    verdict: Verdict
    credits: int
    changes: tuple[Change, ...]
    reasons: tuple[Reason, ...]
    stopping: tuple[Reason, ...]
    """The reasons that ask for its verdict: what only rewrote it, warned or is in shadow is left out."""
    passing: Alternatives

    @classmethod
    def of(cls, ruling: Ruling, passing: Alternatives, decision: Decision | None) -> Row:
        """A row with the decision that is meant; None where its key is taken."""
        if decision is None:
            told = ruling.reasons
            return cls(ruling.job, ruling.key, ruling.verdict, ruling.credits, (), told, told, passing)
        verdict, findings = decision.verdict, decision.findings
        reasons = tuple(finding.as_json() for finding in findings)
        stopping = tuple(
            finding.as_json() for finding in findings if finding.verdict is verdict is not Verdict.ALLOW
        )
        return cls(
            ruling.job, ruling.key, verdict, decision.credits, decision.changes, reasons, stopping, passing
        )


@dataclass(slots=True)
class Checked:
    """Every row's ruling, with what would pass instead, and the sums over them."""

    file: str
    policy: Policy
    note: str
    """What the budgets start from."""
    ledger: str | None
    at: datetime
    price: CreditPrice
    rulings: list[tuple[Ruling, Alternatives]] = field(default_factory=list)
    repairs: Sequence[Repair] = ()

    @property
    def passed(self) -> bool:
        return all(ruling.verdict is Verdict.ALLOW for ruling, _ in self.rulings)

    @property
    def totals(self) -> dict[str, Any]:
        """The `totals` of the document; rewritten and reused rows are among the allowed."""
        rulings = [ruling for ruling, _ in self.rulings]
        allowed = [ruling for ruling in rulings if ruling.verdict is Verdict.ALLOW]
        credits = sum(ruling.credits for ruling in allowed)
        return {
            "allowed": len(allowed),
            "rewritten": sum(bool(ruling.changes) for ruling in allowed),
            "needs_approval": sum(ruling.verdict is Verdict.NEEDS_APPROVAL for ruling in rulings),
            "denied": sum(ruling.verdict is Verdict.DENY for ruling in rulings),
            "reused": sum(ruling.reused for ruling in allowed),
            "credits": credits,
            "usd": str(self.price.usd(credits)),
        }

    @property
    def shadowed(self) -> dict[str, int] | None:
        """In shadow, how many rows would not go as they were asked; else None."""
        if self.policy.enforced:
            return None
        rows = list(self.rows(in_shadow=True))
        return {
            "rewritten": sum(bool(row.changes) and row.verdict is Verdict.ALLOW for row in rows),
            "needs_approval": sum(row.verdict is Verdict.NEEDS_APPROVAL for row in rows),
            "denied": sum(row.verdict is Verdict.DENY for row in rows),
        }

    def rows(self, *, in_shadow: bool = False) -> Iterator[Row]:
        """Every row as it goes; or those that a policy in shadow was asked about, as it would have them."""
        for ruling, passing in self.rulings:
            decision = ruling.decision
            if not in_shadow:
                yield Row.of(ruling, passing, decision)
            elif decision and decision.shadowed:
                yield Row.of(ruling, passing, decision.shadowed)


Cause = tuple[str, int, str, str]
"""A rule, budget or label, how many rows it concerns, why, and where it stands."""


def causes(policy: Policy, rows: Iterable[Row]) -> list[Cause]:
    """What stopped rows, the most rows first, each with a reason that is true of all of them."""
    found: dict[tuple[str, str], list[Reason]] = {}
    for row in rows:
        for place, reason in {(each["rule"], each["outcome"]): each for each in row.stopping}.items():
            found.setdefault(place, []).append(reason)
    told = [(rule, len(all_), _shared(policy, all_), all_[0]["where"]) for (rule, _), all_ in found.items()]
    return sorted(told, key=lambda cause: -cause[1])


def savings(policy: Policy, rows: Iterable[Row]) -> list[tuple[str, int, int, str]]:
    """What rewrote rows that go: how many of them, the credits saved, and why."""
    reasons: dict[str, list[Reason]] = {}
    saved: dict[str, int] = {}
    for row in rows:
        if row.verdict is not Verdict.ALLOW or not row.changes:
            continue
        said = {reason["rule"]: reason for reason in row.reasons}
        for rule in dict.fromkeys(change.rule for change in row.changes):
            reasons.setdefault(rule, []).append(said[rule])
        for change in row.changes:
            saved[change.rule] = saved.get(change.rule, 0) + change.credits_saved
    return [(rule, len(all_), saved[rule], _shared(policy, all_)) for rule, all_ in reasons.items()]


def _shared(policy: Policy, reasons: Sequence[Reason]) -> str:
    """The one reason that they have, else what is true of all of them."""
    first = reasons[0]
    if all(reason["because"] == first["because"] for reason in reasons):
        return first["because"]
    budgets = {item.budget.name: item.budget for item in policy.budgets}
    if (budget := budgets.get(first["rule"])) is not None:
        from policies.analysis.limits import limit_text

        return f"the budget is full ({limit_text(budget)}){_AND.get(first['outcome'], '')}"
    if first["outcome"] == Outcome.LABEL_UNKNOWN:
        known = policy.labels[first["rule"].removeprefix("label ")].values or ()
        return f"its value is not one of {', '.join(known)}"
    return f"such as: {first['because']}"


_AND: Final[Mapping[str, str]] = {
    Outcome.NOTHING_FITS: ", and nothing that a request may go down to fits",
    Outcome.REWRITE_REFUSED: ", and the caller refuses rewriting",
    Outcome.NOT_EVALUABLE: ", or it cannot be told whether a request counts in it",
}
"""What else is true of a budget that does not let requests through."""
