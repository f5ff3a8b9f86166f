"""What the rules make of a request, before any budget is asked.

Here belong the first two steps of a decision: the rewriting rules, once, from top to bottom, each on
what the one before left; then every other rule on the result, wherever it stands. What cannot be
evaluated denies; a rule in shadow tells and does nothing. Budgets and the decision itself belong to
`trial`; what one rewrite does belongs to `rewriting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Final

from planner.prices import PriceEntry
from planner.quoting import price_cell, quotes
from planner.request import ModelCreateRequest
from policies.compiled import Compiled
from policies.decision import Change, Finding, Outcome, Ruling, Verdict, worst
from policies.downgrading import NO_FLOOR, Floor
from policies.rewriting import applied, proposed
from policies.rules import Facts, Rule, facts_of

NOT_EVALUABLE: Final = "it cannot be evaluated for this request"

Share = Callable[[Facts, str], Fraction | None]
"""The used share of a budget, by its name, before a request with these facts."""


class Hearing:
    """One request before the rules: a class because every step adds findings."""

    __slots__ = ("allow_rewrite", "at", "changes", "entry", "findings", "floor", "labels", "policy",
                 "prices", "share")  # fmt: skip

    def __init__(
        self,
        policy: Compiled,
        labels: Mapping[str, str],
        entry: PriceEntry,
        at: datetime,
        share: Share | None = None,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
    ) -> None:
        self.policy = policy
        self.labels = labels
        self.entry = entry
        self.prices = quotes(entry)
        self.at = at
        self.share = share
        self.allow_rewrite = allow_rewrite
        self.floor = floor
        self.findings: list[Finding] = []
        self.changes: list[Change] = []

    def ruling(self, asked: ModelCreateRequest) -> Ruling:
        """What all rules say, and which budgets the result counts in."""
        request = self.rewrite(asked) if self.policy.rewrites else asked
        facts = self.facts(request)
        self.check_labels()
        self.check_rules(facts)
        counted, doubtful = self.policy.counted(facts)
        return Ruling(
            self.policy.digest,
            worst(self.findings),
            tuple(self.changes),
            tuple(self.findings),
            {change.field: getattr(request, change.field) for change in self.changes},
            self.prices[price_cell(request)],
            self.prices[price_cell(asked)],
            counted,
            doubtful,
        )

    def facts(self, request: ModelCreateRequest) -> Facts:
        quote, rate = self.prices[price_cell(request)], self.policy.rate_microusd
        return facts_of(request, quote, self.labels, self.at, rate, self.share)

    def note(self, rule: Rule, outcome: Outcome, because: str) -> None:
        """What was found about a rule that did not simply fire."""
        if rule.shadow:
            outcome, because = Outcome.SHADOW, f"in shadow: {because}"
        self.findings.append(Finding(rule.name, outcome, because, rule.finding.where))

    # -- 1: rewriting ----------------------------------------------------------------------------

    def rewrite(self, asked: ModelCreateRequest) -> ModelCreateRequest:
        """The request after all rewriting rules, each tried once on what the ones before it left."""
        request, place = asked, 0
        while True:
            facts = self.facts(request)
            fired, doubtful = self.policy.rewrite_matcher.match(facts)
            turn = min((at for at in (*fired, *doubtful) if at >= place), default=None)
            if turn is None:
                break
            place = turn + 1
            rule = self.policy.rewrites[turn]
            if turn in doubtful:
                self.note(rule, Outcome.NOT_EVALUABLE, NOT_EVALUABLE)
            else:
                request = self.apply(rule, facts, request)
        denied = worst(self.findings) is Verdict.DENY
        if self.changes and not denied and self.entry not in self.policy.settled:
            self.check_settled(request)
        return request

    def apply(self, rule: Rule, facts: Facts, request: ModelCreateRequest) -> ModelCreateRequest:
        """The request after one rule; as it was where the rule may not be applied."""
        try:
            changed = proposed(rule, facts, request, self.prices, self.floor)
            if changed is None:
                self.note(rule, Outcome.NOTHING_FITS, "nothing that it may go down to costs so little")
                return request
            result = applied(rule.name, changed, request, self.prices)
        except Exception:
            self.note(rule, Outcome.NOT_EVALUABLE, "it leaves no valid request")
            return request
        if not changed:
            return request
        if result.quote.credits > facts.credits and not rule.may_cost_more:
            because = f"it would cost {result.quote.credits} credits instead of {facts.credits}"
            self.note(rule, Outcome.COSTS_MORE, because)
        elif rule.shadow:
            self.note(rule, Outcome.SHADOW, _would(result.changes))
        elif not self.allow_rewrite:
            self.note(rule, Outcome.REWRITE_REFUSED, "the caller refuses rewriting")
        else:
            self.findings.append(rule.finding)
            self.changes += result.changes
            return result.request
        return request

    def check_settled(self, request: ModelCreateRequest) -> None:
        """Deny where the rules, tried on their own result, would change it again."""
        facts = self.facts(request)
        fired, _ = self.policy.rewrite_matcher.match(facts)
        for turn in fired:
            rule = self.policy.rewrites[turn]
            if not rule.shadow and proposed(rule, facts, request, self.prices, self.floor) != {}:
                self.note(rule, Outcome.NOT_EVALUABLE, "it would change the rewritten request again")
                return

    # -- 2: labels and rules ---------------------------------------------------------------------

    def check_labels(self) -> None:
        """Deny every value that a listed label does not have."""
        for name, value in self.labels.items():
            label = self.policy.labels[name]
            if label.values is not None and value not in label.values:
                because = f"`{value}` is not one of {', '.join(label.values)}"
                self.findings.append(Finding(f"label {name}", Outcome.LABEL_UNKNOWN, because, label.where))

    def check_rules(self, facts: Facts) -> None:
        """Every rule that does not rewrite, and `otherwise` where none of them speaks."""
        policy, spoken = self.policy, False
        fired, doubtful = policy.judge_matcher.match(facts)
        for place in fired:
            rule = policy.judges[place]
            if rule.shadow:
                self.note(rule, Outcome.SHADOW, f"{_VERBS[rule.finding.outcome]}: {rule.finding.because}")
            else:
                self.findings.append(rule.finding)
                spoken = True
        for place in doubtful:
            self.note(policy.judges[place], Outcome.NOT_EVALUABLE, NOT_EVALUABLE)
            spoken = spoken or not policy.judges[place].shadow
        if policy.otherwise and not spoken:
            self.findings.append(policy.otherwise)


_VERBS: Final = {
    Outcome.DENY: "would deny",
    Outcome.NEEDS_APPROVAL: "would ask",
    Outcome.ALLOW: "would allow",
}


def _would(changes: tuple[Change, ...]) -> str:
    """What a rule in shadow would change, with what it would save."""
    told = ", ".join(f"{change.field} to {_plain(change.after)}" for change in changes)
    saved = sum(change.credits_saved for change in changes)
    return f"would set {told} and save {saved} credit{'s' * (saved != 1)}"


def _plain(value: object) -> object:
    return "absent" if value is None or value is False else value
