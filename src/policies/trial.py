"""One request before one policy: the ruling of its rules, then all its budgets, then the decision.

Here belongs the third step of a decision and how the three come together. What the rules say belongs
to `ruling`; what a policy is belongs to `engine`; how much is used belongs to whoever is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from planner.errors import OperatorError
from planner.prices import PriceEntry
from planner.quoting import price_cell, quotes
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import Allowance, AskUsage, Budget, Usage
from policies.decision import Decision, Finding, Outcome, Verdict, worst
from policies.rules import Facts
from policies.ruling import NOT_EVALUABLE, Ruling

if TYPE_CHECKING:
    from policies.engine import Policy


class Trial:
    """One request before one policy; a class because conditions and budgets read the same usage."""

    __slots__ = ("at", "entry", "labels", "policy", "read", "usage")

    def __init__(
        self, policy: Policy, labels: Mapping[str, str], entry: PriceEntry, at: datetime, usage: AskUsage
    ) -> None:
        self.policy = policy
        self.labels = labels
        self.entry = entry
        self.at = at
        self.usage = usage
        self.read: dict[Allowance, Usage] = {}
        """What conditions were answered already: within one decision usage does not move."""

    def decision(self, asked: ModelCreateRequest, allow_rewrite: bool) -> Decision:
        policy, prices = self.policy, quotes(self.entry)
        ruling = policy.rulings.ruling(asked, self.labels, self.entry, self.at, allow_rewrite, self.share)
        request = _rewritten(asked, ruling.final) if ruling.changes else asked
        quote = prices[price_cell(request)]
        counted = [policy.allowance(place, self.labels, self.at) for place in ruling.counted]
        findings, verdict = ruling.findings, ruling.verdict
        if more := self.check_budgets(ruling, counted, quote.credits):
            findings = (*findings, *more)
            verdict = worst(findings)
        return Decision(
            verdict, request, asked, quote, prices[price_cell(asked)], self.labels, ruling.changes,
            findings, tuple(counted), _approvers(verdict, findings), policy.digest,
        )  # fmt: skip

    def check_budgets(self, ruling: Ruling, counted: Sequence[Allowance], credits: int) -> list[Finding]:
        """All budgets that the result counts in, at once."""
        found = []
        for place, allowance in zip(ruling.counted, counted, strict=True):
            budget = self.policy.budgets[place].budget
            try:
                if place in ruling.doubtful:
                    raise LookupError
                finding = self.check_budget(budget, allowance, credits)
            except OperatorError:
                raise
            except Exception:
                finding = Finding(budget.name, Outcome.NOT_EVALUABLE, NOT_EVALUABLE, budget.where)
            if finding:
                found.append(finding)
        return found

    def check_budget(self, budget: Budget, allowance: Allowance, credits: int) -> Finding | None:
        """Whether the amount fits, and the highest level that it reaches."""
        amount = allowance.amount(credits, self.policy.rate_microusd)
        usage = self.usage_of(allowance)
        most, after = allowance.limit + usage.granted, usage.used + amount
        if after > most:
            because = f"{usage.used} of {most} {allowance.unit} are used, this needs {amount}"
            return Finding(budget.name, Outcome.BUDGET_FULL, because, budget.where, budget.approver)
        for level in budget.warn_at:
            if after * level.denominator >= level.numerator * most:
                because = f"{after} of {most} {allowance.unit} are used with this"
                return Finding(budget.name, Outcome.BUDGET_WARNING, because, budget.where)
        return None

    def usage_of(self, allowance: Allowance) -> Usage:
        found = self.read.get(allowance) if self.read else None
        return self.usage(allowance) if found is None else found

    def share(self, facts: Facts, name: str) -> Fraction | None:
        """The used share of a budget before the request; None where the request does not count in it."""
        counted, doubtful = self.policy.budget_matcher.match(facts)
        for place in (*counted, *doubtful):
            if self.policy.budgets[place].budget.name == name:
                if place in doubtful:
                    raise LookupError(name)
                allowance = self.policy.allowance(place, facts.labels, facts.at)
                usage = self.read[allowance] = self.usage_of(allowance)
                most = allowance.limit + usage.granted
                return Fraction(usage.used, most) if most else Fraction(1)
        return None


def _rewritten(asked: ModelCreateRequest, final: Mapping[str, Any]) -> ModelCreateRequest:
    """The request with its new values, checked again as a whole."""
    inputs = {**asked.inputs(), **final}
    return parse_request({name: value for name, value in inputs.items() if value is not None})


def _approvers(verdict: Verdict, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Who has to approve, each once, in the order of the findings."""
    if verdict is not Verdict.NEEDS_APPROVAL:
        return ()
    return tuple(dict.fromkeys(finding.approver for finding in findings if finding.approver))
