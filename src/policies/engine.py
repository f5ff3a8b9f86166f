"""May it go, and in what form: the pure engine that turns a request into a decision.

Here belongs what a policy is and how it is asked; the steps of one decision belong to `ruling`, which
tries the rules, and to `trial`, which tries the budgets.
Everything arrives as an argument: the engine reads no clock, no file and no ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from planner.errors import InputError
from planner.latency import LatencyProfile
from planner.money import CreditPrice
from planner.prices import PriceBook, PriceEntry
from planner.request import ModelCreateRequest, is_text, parse_request
from policies.budgets import Allowance, Budget, Calendar
from policies.budgets import AskUsage as AskUsage
from policies.conditions import Condition, label_text
from policies.decision import Decision, Finding, Outcome, Verdict
from policies.matching import Matcher, Read
from policies.rules import Facts, Rule, facts_of, reader
from policies.ruling import Rulings
from policies.trial import Trial

Request = ModelCreateRequest | Mapping[str, Any] | bytes | str


@dataclass(frozen=True, slots=True)
class Label:
    """A declared label; `values` is None where any text may stand."""

    name: str
    values: tuple[str, ...] | None
    where: str


@dataclass(frozen=True, slots=True)
class CountedBudget:
    """A budget and the requests that count in it; None counts all."""

    budget: Budget
    applies_to: Condition | None


class Policy:
    """A file of rules and budgets, compiled; made by `policies.loading`."""

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        text: str,
        zone: ZoneInfo,
        labels: Sequence[Label],
        budgets: Sequence[CountedBudget],
        rules: Sequence[Rule],
        otherwise: Finding | None,
        enforced: bool,
        credit_price: CreditPrice | None = None,
        latency: LatencyProfile | None = None,
        settled: Iterable[PriceEntry] = (),
    ) -> None:
        self.name = name
        self.digest = digest
        """SHA-256 of the parsed document; formatting and comments do not change it."""
        self.text = text
        self.zone = zone
        self.labels = {label.name: label for label in labels}
        self.budgets = tuple(budgets)
        self.rules = tuple(rules)
        self.otherwise = otherwise
        """What is found where no other rule speaks; None where the policy says `otherwise: allow`."""
        self.enforced = enforced
        self.credit_price = credit_price
        self.settled = frozenset(settled)
        """The price entries for which the rewrite rules are known to be stable and not to cost more."""
        self.calendar = Calendar(zone)
        self.rewrites = tuple(rule for rule in rules if rule.finding.outcome is Outcome.REWRITE)
        self.judges = tuple(rule for rule in rules if rule.finding.outcome is not Outcome.REWRITE)

        def read(column: str) -> Read:
            return reader(column, zone, latency)

        self.rewrite_matcher = Matcher([rule.when for rule in self.rewrites], read)
        self.judge_matcher = Matcher([rule.when for rule in self.judges], read)
        self.budget_matcher = Matcher([item.applies_to for item in self.budgets], read)
        self.rulings = Rulings(self)

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {self.digest[:12]!r})"

    @property
    def rate_microusd(self) -> int | None:
        """What a credit costs, in whole micro-dollars, where the policy says so."""
        return self.credit_price.rate_microusd if self.credit_price else None

    def declared(self, labels: Mapping[str, str] | None) -> dict[str, str]:
        """The declared labels only, trimmed and NFC-normalised; an empty one is missing."""
        found = {}
        for name in self.labels:
            given: object = labels.get(name) if labels else None
            if given is None:
                continue
            if not isinstance(given, str) or not is_text(given):
                raise InputError(f"the label `{name}` is not text", code="invalid_label", field=name)
            if text := label_text(given):
                found[name] = text
        return found

    def allowances(self, facts: Facts) -> tuple[Allowance, ...]:
        """Every budget, scope and window that a request or a ledger entry counts in.

        A budget of which that cannot be told is among them: what may count is counted.
        """
        counted, doubtful = self.budget_matcher.match(facts)
        places = sorted((*counted, *doubtful)) if doubtful else counted
        return tuple(self.allowance(place, facts.labels, facts.at) for place in places)

    def allowance(self, place: int, labels: Mapping[str, str], at: datetime) -> Allowance:
        """The allowance of the budget at that place of the file."""
        return self.budgets[place].budget.allowance(labels, at, self.calendar, self.enforced)

    def decide(
        self,
        request: Request,
        labels: Mapping[str, str] | None = None,
        *,
        book: PriceBook,
        at: datetime,
        usage: AskUsage,
        allow_rewrite: bool = True,
    ) -> Decision:
        """Whether the request may go at that instant, and in what form.

        Raises `InvalidRequest` for what the provider would refuse, `NoPrice` outside the price book
        and `OperatorError` when the ledger cannot be asked. In shadow the request goes as asked and
        what would have been decided stands in `shadowed`.
        """
        found = self.judge(request, labels, book=book, at=at, usage=usage, allow_rewrite=allow_rewrite)
        return found if self.enforced else self._as_asked(found, at)

    def judge(
        self,
        request: Request,
        labels: Mapping[str, str] | None = None,
        *,
        book: PriceBook,
        at: datetime,
        usage: AskUsage,
        allow_rewrite: bool = True,
    ) -> Decision:
        """The decision as if the policy were enforced; arguments and errors are those of `decide`."""
        asked = parse_request(request)
        trial = Trial(self, self.declared(labels), book.entry_at(at), at, usage)
        return trial.decision(asked, allow_rewrite)

    def _as_asked(self, found: Decision, at: datetime) -> Decision:
        quote = found.asked_quote
        facts = facts_of(found.asked, quote, found.labels, at, self.rate_microusd)
        counted = self.allowances(facts)
        return Decision(
            Verdict.ALLOW, found.asked, found.asked, quote, quote, found.labels,
            (), (), counted, (), self.digest, found,
        )  # fmt: skip


def decide(
    policy: Policy,
    request: Request,
    labels: Mapping[str, str] | None = None,
    *,
    book: PriceBook,
    at: datetime,
    usage: AskUsage,
    allow_rewrite: bool = True,
) -> Decision:
    """`Policy.decide` as a function.

    >>> from datetime import UTC
    >>> from policies.budgets import Usage
    >>> from planner.loading import shipped_prices
    >>> from policies.loading import parse_policy
    >>> policy = parse_policy(
    ...     '''
    ... policy: 1
    ... name: small
    ... otherwise: allow
    ... rules:
    ...   - name: no-4k
    ...     when: {resolution: 4k}
    ...     deny: nobody needs 4k
    ... ''', "small.yaml")
    >>> found = decide(policy, {"prompt": "x", "resolution": "4k"}, book=shipped_prices(),
    ...                at=datetime(2026, 11, 22, tzinfo=UTC), usage=lambda allowance: Usage())
    >>> found.verdict.value, found.findings[0].because, found.findings[0].where
    ('deny', 'nobody needs 4k', 'small.yaml:6')
    """
    return policy.decide(request, labels, book=book, at=at, usage=usage, allow_rewrite=allow_rewrite)
