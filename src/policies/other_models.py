"""Requests that the price book cannot price: another model, or a field of which nobody knows what it costs.

Here belongs what such a request is, and how a policy judges it: as it stands, for the credits that the
policy holds for one, and never rewritten. How a call is read belongs to `guard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from planner.errors import Fault
from planner.quoting import Quote, QuoteLine, price_cell
from planner.request import FIELDS, ModelCreateRequest
from policies.decision import Decision, Outcome, Ruling, worst
from policies.rewriting import would_change
from policies.rules import Facts, facts_of
from policies.ruling import NOT_EVALUABLE, Hearing
from policies.trial import Trial

NO_FIELDS: Final = ModelCreateRequest.of_checked(dict.fromkeys(FIELDS))
"""What conditions read of another model: it has no field that they know."""
NEVER_CHANGED: Final = "what has no price is never changed, and this rule would change it"


@dataclass(frozen=True, slots=True)
class OtherRequest:
    """One paid call without a price; its bytes are sent as somebody wrote them, or not at all."""

    model: str
    """The provider's name of it: short, and of nothing but letters, digits, `.`, `_` and `-`."""
    content: bytes = field(repr=False)
    canonical: bytes = field(repr=False)
    """What it asks for; equal bytes ask for the same, however the JSON was ordered and spaced."""
    unpriced: tuple[Fault, ...] = field(repr=False)
    """Why it has no price."""
    known: ModelCreateRequest | None = field(default=None, repr=False)
    """What is left of a `model-create` request without what nobody can price; None for another model."""

    def body(self) -> bytes:
        """The exact bytes of the POST body."""
        return self.content


def held(request: OtherRequest, hold: int, prices: Sequence[Quote]) -> Quote:
    """What is held for a request, and that no price entry says so.

    A field that nobody knows makes nothing cheaper: what the rest costs is the least that is held.
    `prices` are the quotes of the price entry in force, in the order of `quoting.CELLS`.
    """
    known = prices[price_cell(request.known)] if request.known else None
    credits = max(hold, known.credits) if known else hold
    line = QuoteLine(f"held for {request.model} without a price", credits, 1)
    return Quote(credits, known.billed_mode if known else "", "", (line,), known.cell if known else 0)


def judged(trial: Trial, request: OtherRequest, hold: int) -> Decision:
    """What rules and budgets say to a request as it stands; no budget that is full makes it smaller."""
    hearing = trial.hearing()
    ruling = _heard(hearing, request, held(request, hold, hearing.prices))
    allowances = trial.moment.room(ruling, trial.labels).allowances
    findings, tight = trial.check(ruling, allowances)
    stuck = (trial.stuck(budget, because) for budget, because in tight)
    told = (*ruling.findings, *findings, *stuck)
    ruling = replace(ruling, findings=told, verdict=worst(told))
    return Decision(ruling, request.known or NO_FIELDS, trial.labels.declared, allowances)


def _heard(hearing: Hearing, request: OtherRequest, quote: Quote) -> Ruling:
    """What all rules say to it, and which budgets it counts in."""
    policy, known = hearing.policy, request.known or NO_FIELDS
    facts = facts_of(known, quote, hearing.labels, hearing.at, policy.rate_microusd, hearing.share)
    _refuse_changes(hearing, facts)
    hearing.check_labels()
    hearing.check_rules(facts)
    counted, doubtful = policy.counted(facts)
    findings = tuple(hearing.findings)
    return Ruling(policy.digest, worst(findings), (), findings, {}, quote, quote, counted, doubtful)


def _refuse_changes(hearing: Hearing, facts: Facts) -> None:
    """Deny where a rule would change it."""
    fired, doubtful = hearing.policy.rewrite_matcher.match(facts)
    for place in sorted((*fired, *doubtful)):
        rule = hearing.policy.rewrites[place]
        if place in doubtful:
            hearing.note(rule, Outcome.NOT_EVALUABLE, NOT_EVALUABLE)
        elif would_change(rule, facts):
            outcome = Outcome.NOTHING_FITS if rule.downgrade else Outcome.REWRITE_REFUSED
            hearing.note(rule, outcome, NEVER_CHANGED)
