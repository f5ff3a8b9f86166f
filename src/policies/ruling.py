"""What the rules make of a request, before any budget is asked.

Here belong the first two steps of a decision: the rewrite rules, once, from top to bottom, each on what
the one before left; then every other rule on the result, wherever it stands. What cannot be evaluated
denies. Budgets and the decision itself belong to `trial`; what one rewrite does belongs to `rewriting`.

A ruling is the same for all requests that differ only in what no rule reads, so rulings are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from planner.prices import PriceEntry
from planner.quoting import price_cell, quotes
from planner.request import ModelCreateRequest
from policies.conditions import FIELD_ATTRIBUTES, SENT, USED
from policies.decision import Change, Finding, Outcome, Verdict, worst
from policies.rewriting import applied, updates
from policies.rules import Facts, Rule, facts_of

if TYPE_CHECKING:
    from policies.engine import Policy

NOT_EVALUABLE: Final = "it cannot be evaluated for this request"
MOST_REMEMBERED: Final = 4096
"""How many rulings a policy remembers; labels come from outside, so there has to be an end."""

Share = Callable[[Facts, str], Fraction | None]
"""The used share of a budget, by its name, before a request with these facts."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The changes and findings of all rules, and which budgets the result counts in."""

    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    counted: tuple[int, ...]
    """The places of the budgets that the result counts in, doubtful ones included."""
    doubtful: tuple[int, ...]
    """The places of those of which it cannot be told."""
    final: Mapping[str, Any]
    """New values by field; None leaves the field out."""
    verdict: Verdict


class Rulings:
    """Makes the rulings of one policy, and remembers them where they depend on nothing but the request."""

    __slots__ = ("_clock", "_fields", "_found", "_labels", "_policy", "_remembers")

    def __init__(self, policy: Policy) -> None:
        matchers = (policy.rewrite_matcher, policy.judge_matcher, policy.budget_matcher)
        read = {column.name.removeprefix(SENT) for matcher in matchers for column in matcher.columns}
        written = {name for rule in policy.rewrites for name in rule.changes}
        self._policy = policy
        self._remembers = not any(name.startswith(USED) for name in read)
        self._clock = bool(read & {"time", "weekday"})
        self._fields = tuple(sorted((read | written) & FIELD_ATTRIBUTES.keys() - _ALWAYS_IN_KEY))
        listed = {name for name, label in policy.labels.items() if label.values is not None}
        self._labels = tuple(sorted((read & policy.labels.keys()) | listed))
        self._found: dict[Hashable, Ruling] = {}

    def ruling(
        self,
        asked: ModelCreateRequest,
        labels: Mapping[str, str],
        entry: PriceEntry,
        at: datetime,
        allow_rewrite: bool,
        share: Share,
    ) -> Ruling:
        """What the rules make of the request; remembered unless they read what is used of a budget."""
        if not self._remembers:
            return _Hearing(self._policy, labels, entry, at, share).ruling(asked, allow_rewrite)
        key = self._key(asked, labels, entry, at, allow_rewrite)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            found = _Hearing(self._policy, labels, entry, at, share).ruling(asked, allow_rewrite)
            self._found[key] = found
        return found

    def _key(
        self,
        asked: ModelCreateRequest,
        labels: Mapping[str, str],
        entry: PriceEntry,
        at: datetime,
        allow_rewrite: bool,
    ) -> Hashable:
        """All that the rules can read of a request; of a picture, only whether there is one."""
        fields = asked.__dict__
        clock: Hashable = None
        if self._clock:
            local = at.astimezone(self._policy.zone)
            clock = (local.weekday(), local.hour, local.minute)
        return (
            entry,
            allow_rewrite,
            clock,
            fields["resolution"],
            fields["generation_mode"],
            fields["num_images"],
            fields["face_reference"] is not None,
            fields["image_reference"] is not None,
            *[fields[name] for name in self._fields],
            *[labels.get(name) for name in self._labels],
        )


_ALWAYS_IN_KEY: Final = {"resolution", "generation_mode", "num_images", "face_reference", "image_reference"}


class _Hearing:
    """One request before the rules: a class because every step adds findings."""

    __slots__ = ("at", "changes", "entry", "findings", "labels", "policy", "prices", "share")

    def __init__(
        self, policy: Policy, labels: Mapping[str, str], entry: PriceEntry, at: datetime, share: Share
    ) -> None:
        self.policy = policy
        self.labels = labels
        self.entry = entry
        self.prices = quotes(entry)
        self.at = at
        self.share = share
        self.findings: list[Finding] = []
        self.changes: list[Change] = []

    def ruling(self, asked: ModelCreateRequest, allow_rewrite: bool) -> Ruling:
        request = self.rewrite(asked, allow_rewrite) if self.policy.rewrites else asked
        facts = self.facts(request)
        self.check_labels()
        self.check_rules(facts)
        counted, doubtful = self.policy.budget_matcher.match(facts)
        return Ruling(
            tuple(self.changes),
            tuple(self.findings),
            tuple(sorted((*counted, *doubtful))),
            tuple(doubtful),
            {change.field: getattr(request, change.field) for change in self.changes},
            worst(self.findings),
        )

    def facts(self, request: ModelCreateRequest) -> Facts:
        quote, rate = self.prices[price_cell(request)], self.policy.rate_microusd
        return facts_of(request, quote, self.labels, self.at, rate, self.share)

    def note(self, finding: Finding, outcome: Outcome, because: str) -> None:
        """What was found about a rule that did not simply fire."""
        self.findings.append(Finding(finding.rule, outcome, because, finding.where))

    # -- 1: rewriting ----------------------------------------------------------------------------

    def rewrite(self, asked: ModelCreateRequest, allowed: bool) -> ModelCreateRequest:
        """The request after all rewrite rules, each tried once on what the ones before it left."""
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
                self.note(rule.finding, Outcome.NOT_EVALUABLE, NOT_EVALUABLE)
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
        facts = self.facts(request)
        fired, _ = self.policy.rewrite_matcher.match(facts)
        for turn in fired:
            rule = self.policy.rewrites[turn]
            if updates(rule, facts):
                self.note(rule.finding, Outcome.NOT_EVALUABLE, "it would change the rewritten request again")
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
        policy = self.policy
        fired, doubtful = policy.judge_matcher.match(facts)
        for place in fired:
            self.findings.append(policy.judges[place].finding)
        for place in doubtful:
            self.note(policy.judges[place].finding, Outcome.NOT_EVALUABLE, NOT_EVALUABLE)
        if policy.otherwise and not fired and not doubtful:
            self.findings.append(policy.otherwise)
