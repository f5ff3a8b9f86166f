"""May it go, and in what form: the pure engine that turns a request into a decision.

Here belongs what a policy is and how it is asked; the steps of one decision belong to `ruling`, which
tries the rules, and to `trial`, which tries the budgets.
Everything arrives as an argument: the engine reads no clock, no file and no ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo

from planner.errors import NoPrice
from planner.latency import LatencyProfile
from planner.money import CreditPrice
from planner.prices import PriceBook, PriceEntry
from planner.quoting import Quote
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import Allowance, Budget, Usage
from policies.budgets import AskUsage as AskUsage
from policies.compiled import Compiled, CountedBudget, Label
from policies.decision import Decision, Finding, Ruling, Verdict
from policies.downgrading import NO_FLOOR, Floor, check_floor
from policies.guarantees import Guarantee
from policies.moments import Moment, Moments
from policies.other_models import OtherRequest, judged
from policies.rules import Facts, Rule, facts_of
from policies.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

Request = ModelCreateRequest | Mapping[str, Any] | bytes | str
OnDrift = Literal["warn", "stop"]


new: Final = tuple.__new__
"""Makes a decision without a call of Python's own."""


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
        guarantees: Sequence[Guarantee] = (),
        reuse: bool = False,
        other_models_hold: int | None = None,
        on_drift: OnDrift = "warn",
        sources: Sequence[Path] = (),
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
        self.guarantees = tuple(guarantees)
        self.reuse = reuse
        """Whether a request that is already paid for may be answered with what it gave."""
        self.other_models_hold = other_models_hold
        """The credits held for a model without a price; None where such a call is refused."""
        self.on_drift: OnDrift = on_drift
        """What follows when the provider charges something else than the quote."""
        self.sources = tuple(sources)
        """The files it was read from, its own first; empty where it was read from a text."""
        self.compiled = Compiled(
            digest=digest,
            zone=zone,
            labels=labels,
            budgets=budgets,
            rules=rules,
            otherwise=otherwise,
            enforced=enforced,
            rate_microusd=self.rate_microusd,
            latency=latency,
        )
        self.moments = Moments(self.compiled)
        self._moment: Moment | None = None
        self._every, self._rest = self.moments.labels.all, self.moments.rest
        self._remembers = enforced and not self.compiled.reads_usage
        """Whether what the rules say depends on nothing but the request, its labels and the moment."""

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {self.digest[:12]!r})"

    @property
    def rate_microusd(self) -> int | None:
        """What a credit costs, in whole micro-dollars, where the policy says so."""
        return self.credit_price.rate_microusd if self.credit_price else None

    @property
    def settled(self) -> frozenset[PriceEntry]:
        """The price entries for which the rewriting rules are known to be stable and not to cost more."""
        return self.compiled.settled

    def declared(self, labels: Mapping[str, str] | None) -> dict[str, str]:
        """The declared labels only, trimmed and NFC-normalised; an empty one is missing."""
        return dict(self.moments.labels.of(labels).declared)

    def allowances(self, facts: Facts) -> tuple[Allowance, ...]:
        """Every budget, scope and window that a request or a ledger entry counts in.

        A budget of which that cannot be told is among them: what may count is counted.
        """
        counted, _ = self.compiled.counted(facts)
        return tuple(self.compiled.allowance(place, facts.labels, facts.at) for place in counted)

    def allowance(self, budget: Budget, labels: Mapping[str, str], at: datetime) -> Allowance:
        """The allowance of one of its budgets that declared labels have at that instant."""
        return budget.allowance(labels, at, self.compiled.calendar, self.enforced)

    def decide(
        self,
        request: Request,
        labels: Mapping[str, str] | None = None,
        *,
        book: PriceBook,
        at: datetime,
        usage: AskUsage,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
    ) -> Decision:
        """Whether the request may go at that instant, and in what form.

        `floor` is what a downgrade does not go below, beside the policy's own floors. Raises
        `InvalidRequest` for what the provider would refuse, `NoPrice` outside the price book
        and `OperatorError` when the ledger cannot be asked. In shadow the request goes as asked and
        what would have been decided stands in `shadowed`.
        """
        asked = request if type(request) is ModelCreateRequest else parse_request(request)
        moment = self._moment
        if moment is None or moment.book is not book or not moment.start <= at < moment.end:
            moment = self._moment = self.moments.at(book, at)
        read: Mapping[Allowance, Usage] | None = None
        heard: Ruling | None = None
        if allow_rewrite and not floor and self._remembers:
            # Written out, because each call would cost a tenth of the decision.
            try:
                told = self._every(labels) if type(labels) is dict else self.moments.labels.given(labels)
            except KeyError:
                told = self.moments.labels.given(labels)
            rest = self._rest
            place = (
                told,
                asked.resolution,
                asked.generation_mode,
                asked.num_images,
                asked.face_reference is None,
                rest and (rest(asked.__dict__), asked.image_reference is None),
            )
            try:
                known = moment.known.get(place)
            except TypeError:  # A label is a list, which has no hash and is refused below.
                known = None
            if known is None:
                kinds = self.moments.labels.of(labels)
                trial = Trial(self.compiled, self.moments, moment, kinds, at, usage, allow_rewrite, floor, {})
                known = moment.note(place, trial.hear(asked), kinds)
            ruling, declared, room = known
            if room is None:
                return new(Decision, (ruling, asked, declared, (), None))
            used = room.spoken(ruling.quote.credits, usage)
            if used is None:
                return new(Decision, (ruling, asked, declared, room.allowances, None))
            read, heard = dict(zip(room.allowances, used, strict=False)), ruling
        check_floor(floor)
        kinds = self.moments.labels.of(labels)
        trial = Trial(self.compiled, self.moments, moment, kinds, at, usage, allow_rewrite, floor, read or {})
        found = trial.decision(asked, heard)
        return found if self.enforced else self.as_asked(asked, found.asked_quote, found.labels, at, found)

    def decide_other(
        self,
        request: OtherRequest,
        labels: Mapping[str, str] | None = None,
        *,
        book: PriceBook,
        at: datetime,
        usage: AskUsage,
    ) -> Decision:
        """Whether a request without a price may go as it stands, for the credits that are held for one.

        Raises `NoPrice` where the policy holds none, and what `decide` raises. `asked` of the decision is
        what the price book knows of the request.
        """
        if self.other_models_hold is None:
            raise NoPrice(faults=request.unpriced)
        moment, kinds = self.moments.at(book, at), self.moments.labels.of(labels)
        trial = Trial(self.compiled, self.moments, moment, kinds, at, usage, True, NO_FLOOR, {})
        found = judged(trial, request, self.other_models_hold)
        return found if self.enforced else self.as_asked(found.asked, found.quote, found.labels, at, found)

    def judge(
        self,
        request: Request,
        labels: Mapping[str, str] | None = None,
        *,
        book: PriceBook,
        at: datetime,
        usage: AskUsage,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
    ) -> Decision:
        """The decision as if the policy were enforced; arguments and errors are those of `decide`."""
        found = self.decide(
            request, labels, book=book, at=at, usage=usage, allow_rewrite=allow_rewrite, floor=floor
        )
        return found.shadowed or found

    def as_asked(
        self,
        asked: ModelCreateRequest,
        quote: Quote,
        labels: Mapping[str, str],
        at: datetime,
        shadowed: Decision | None = None,
    ) -> Decision:
        """What goes in shadow: the request as asked, with what would have been decided beside it."""
        facts = facts_of(asked, quote, labels, at, self.rate_microusd)
        ruling = Ruling(self.digest, Verdict.ALLOW, (), (), {}, quote, quote)
        return Decision(ruling, asked, labels, self.allowances(facts), shadowed)


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
