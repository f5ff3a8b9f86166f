"""One request before one policy: rewriting, rules and budgets, in this order.

Here belongs the order of things. First the rewrite rules, once, from top to bottom, each on what the
one before left; then every other rule on the result, wherever it stands; then all budgets that the
result counts in, at once. What cannot be evaluated denies. What a policy is belongs to `engine`; what
a rewrite does to a request belongs to `rewriting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from planner.errors import OperatorError
from planner.prices import PriceEntry
from planner.quoting import Quote, price_cell, quotes
from planner.request import ModelCreateRequest
from policies.budgets import Allowance, Budget, Usage
from policies.decision import Change, Decision, Finding, Outcome, Verdict, worst
from policies.rewriting import applied, updates
from policies.rules import Facts, Rule, facts_of

if TYPE_CHECKING:
    from policies.engine import Policy

AskUsage = Callable[[Allowance], Usage]
"""Says what counts in an allowance now; asked only for allowances that the request counts in."""

_NOT_EVALUABLE: Final = "it cannot be evaluated for this request"


class Trial:
    """One request before one policy: a class because every step adds findings and reads usage."""

    __slots__ = ("at", "changes", "entry", "findings", "labels", "policy", "prices", "read", "usage")

    def __init__(
        self, policy: Policy, labels: dict[str, str], entry: PriceEntry, at: datetime, usage: AskUsage
    ) -> None:
        self.policy = policy
        self.labels = labels
        self.entry = entry
        self.prices = quotes(entry)
        self.at = at
        self.usage = usage
        self.read: dict[Allowance, Usage] = {}
        """What was answered already: within one decision usage does not move."""
        self.findings: list[Finding] = []
        self.changes: list[Change] = []

    def decision(self, asked: ModelCreateRequest, allow_rewrite: bool) -> Decision:
        asked_quote = self.prices[price_cell(asked)]
        request = self.rewrite(asked, allow_rewrite) if self.policy.rewrites else asked
        quote = self.prices[price_cell(request)]
        facts = self.facts(request, quote)
        self.check_labels()
        self.check_rules(facts)
        counted = self.check_budgets(facts)
        verdict = worst(self.findings) if self.findings else Verdict.ALLOW
        approvers: Iterable[str] = ()
        if verdict is Verdict.NEEDS_APPROVAL:
            approvers = dict.fromkeys(found.approver for found in self.findings if found.approver)
        return Decision(
            verdict, request, asked, quote, asked_quote, self.labels, tuple(self.changes),
            tuple(self.findings), counted, tuple(approvers), self.policy.digest,
        )  # fmt: skip

    def facts(self, request: ModelCreateRequest, quote: Quote) -> Facts:
        return facts_of(request, quote, self.labels, self.at, self.policy.rate_microusd, self.share)

    def note(self, finding: Finding, outcome: Outcome, because: str) -> None:
        """What was found about a rule or a budget that did not simply fire."""
        self.findings.append(Finding(finding.rule, outcome, because, finding.where))

    # -- 1: rewriting ----------------------------------------------------------------------------

    def rewrite(self, asked: ModelCreateRequest, allowed: bool) -> ModelCreateRequest:
        """The request after all rewrite rules, each tried once on what the ones before it left."""
        request, place = asked, 0
        match = self.policy.rewrite_matcher.match
        while True:
            facts = self.facts(request, self.prices[price_cell(request)])
            fired, doubtful = match(facts)
            turn = min((at for at in (*fired, *doubtful) if at >= place), default=None)
            if turn is None:
                break
            place = turn + 1
            rule = self.policy.rewrites[turn]
            if turn in doubtful:
                self.note(rule.finding, Outcome.NOT_EVALUABLE, _NOT_EVALUABLE)
            else:
                request = self.apply(rule, facts, request, allowed)
        if self.changes and self.entry not in self.policy.settled:
            self.check_settled(request)
        return request

    def apply(
        self, rule: Rule, facts: Facts, request: ModelCreateRequest, allowed: bool
    ) -> ModelCreateRequest:
        """The request after one rule; as it was where the rule may not be applied."""
        changed = updates(rule, facts)
        if not changed:
            return request
        if not allowed:
            self.note(rule.finding, Outcome.REWRITE_REFUSED, "the caller refuses rewriting")
            return request
        try:
            result = applied(rule, changed, request, self.prices)
        except Exception:
            self.note(rule.finding, Outcome.NOT_EVALUABLE, "it leaves no valid request")
            return request
        if result.quote.credits > facts.credits and not rule.may_cost_more:
            because = f"it would cost {result.quote.credits} credits instead of {facts.credits}"
            self.note(rule.finding, Outcome.COSTS_MORE, because)
            return request
        self.findings.append(rule.finding)
        self.changes += result.changes
        return result.request

    def check_settled(self, request: ModelCreateRequest) -> None:
        """Deny where the rules, tried on their own result, would change it again."""
        facts = self.facts(request, self.prices[price_cell(request)])
        fired, _ = self.policy.rewrite_matcher.match(facts)
        for turn in fired:
            rule = self.policy.rewrites[turn]
            if updates(rule, facts):
                self.note(rule.finding, Outcome.NOT_EVALUABLE, "it would change the rewritten request again")
                return

    # -- 2: rules --------------------------------------------------------------------------------

    def check_labels(self) -> None:
        """Deny every value that a listed label does not have."""
        for name, value in self.labels.items():
            label = self.policy.labels[name]
            if label.values is not None and value not in label.values:
                because = f"`{value}` is not one of {', '.join(label.values)}"
                self.findings.append(Finding(f"label {name}", Outcome.LABEL_UNKNOWN, because, label.where))

    def check_rules(self, facts: Facts) -> None:
        """Every rule that does not rewrite, and `otherwise` where none of them speaks."""
        policy = self.policy
        fired, doubtful = policy.judge_matcher.match(facts)
        for place in fired:
            self.findings.append(policy.judges[place].finding)
        for place in doubtful:
            self.note(policy.judges[place].finding, Outcome.NOT_EVALUABLE, _NOT_EVALUABLE)
        if policy.otherwise and not fired and not doubtful:
            self.findings.append(policy.otherwise)

    # -- 3: budgets ------------------------------------------------------------------------------

    def check_budgets(self, facts: Facts) -> tuple[Allowance, ...]:
        """All budgets that apply, at once; returns every allowance that the request counts in."""
        policy = self.policy
        if not policy.budgets:
            return ()
        counted, doubtful = policy.budget_matcher.match(facts)
        found = []
        for place in sorted((*counted, *doubtful)):
            budget = policy.budgets[place].budget
            allowance = policy.allowance(place, facts)
            found.append(allowance)
            try:
                if place in doubtful:
                    raise LookupError
                self.check_budget(budget, allowance, allowance.amount(facts.credits, facts.rate_microusd))
            except OperatorError:
                raise
            except Exception:
                self.findings.append(
                    Finding(budget.name, Outcome.NOT_EVALUABLE, _NOT_EVALUABLE, budget.where)
                )
        return tuple(found)

    def check_budget(self, budget: Budget, allowance: Allowance, amount: int) -> None:
        usage = self.usage_of(allowance)
        most, after = allowance.limit + usage.granted, usage.used + amount
        if after > most:
            because = f"{usage.used} of {most} {allowance.unit} are used, this needs {amount}"
            self.findings.append(
                Finding(budget.name, Outcome.BUDGET_FULL, because, budget.where, budget.approver)
            )
            return
        for level in budget.warn_at:
            if after * level.denominator >= level.numerator * most:
                because = f"{after} of {most} {allowance.unit} are used with this"
                self.findings.append(Finding(budget.name, Outcome.BUDGET_WARNING, because, budget.where))
                return

    def usage_of(self, allowance: Allowance) -> Usage:
        found = self.read.get(allowance)
        if found is None:
            found = self.read[allowance] = self.usage(allowance)
        return found

    def share(self, facts: Facts, name: str) -> Fraction | None:
        """The used share of a budget before the request; None where the request does not count in it."""
        counted, doubtful = self.policy.budget_matcher.match(facts)
        for place in (*counted, *doubtful):
            if self.policy.budgets[place].budget.name == name:
                if place in doubtful:
                    raise LookupError(name)
                allowance = self.policy.allowance(place, facts)
                usage = self.usage_of(allowance)
                most = allowance.limit + usage.granted
                return Fraction(usage.used, most) if most else Fraction(1)
        return None
