"""The figures of a replay: what requests cost, what they would cost, and how they are added up.

Here belong the sums and what they are grouped by. How requests come to their decisions belongs to
`replay`; how figures look belongs to the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from planner.money import usd_from_micro
from planner.past import PastRequest
from policies.decision import Decision, Outcome, Verdict


class Answer(NamedTuple):
    """One past request and what the policy would have said to it."""

    past: PastRequest
    decision: Decision
    goes: bool
    """Whether it would have run: it is allowed, or its approval is taken to have been given."""
    were_credits: int
    """What it did cost: as charged, else as quoted then, else as priced now."""
    asked_credits: int
    """Its price as it was asked; nothing where it cost nothing, because it failed."""
    credits: int
    """What it would have cost under the policy."""


def answer_to(past: PastRequest, decision: Decision, goes: bool) -> Answer:
    """The answer to a past request, with its credits."""
    free, were = past.free, past.credits_used
    asked = 0 if free else decision.asked_quote.credits
    if were is None:
        were = asked if free or past.credits_quoted is None else past.credits_quoted
    return Answer(past, decision, goes, were, asked, decision.quote.credits if goes and not free else 0)


class Figures(NamedTuple):
    """The sums over some past requests: how many, credits, and whole micro-dollars at the rates of then."""

    requests: int
    allowed: int
    rewritten: int
    """Of those that go, the ones that go in another form."""
    needs_approval: int
    denied: int
    were_credits: int
    """What they did cost, by the history."""
    asked_credits: int
    """What they cost as they were asked, priced by the book."""
    credits: int
    """What they would have cost under the policy."""
    saved_credits: int
    """How much less rewrites made of what goes."""
    waiting_credits: int
    """The price, as asked, of those that wait for an approval."""
    denied_credits: int
    were_microusd: int
    microusd: int
    unpriced: int
    """Requests of which nobody says what a credit cost."""

    @property
    def price_difference(self) -> int:
        """What they did cost beyond their price: drift, or a book that is not the one of then."""
        return self.were_credits - self.asked_credits

    @property
    def fewer_credits(self) -> int:
        """How much less they would have cost than they did."""
        return self.were_credits - self.credits

    def as_json(self) -> dict[str, Any]:
        """The figures of one row of the `policy-replay` document."""
        found: dict[str, Any] = self._asdict()
        for name in ("were_microusd", "microusd", "unpriced"):
            del found[name]
        usd = (self.were_microusd, self.microusd)
        were, would = (None if self.unpriced else str(usd_from_micro(micro)) for micro in usd)
        return {
            **found,
            "price_difference": self.price_difference,
            "fewer_credits": self.fewer_credits,
            "were_usd": were,
            "usd": would,
        }


NOTHING = Figures(*(0 for _ in Figures._fields))


def figures_of(answer: Answer, rate_microusd: int | None) -> Figures:
    """The figures of one past request; the rate serves where its own is not recorded."""
    past, decision, goes, were, asked, credits = answer
    verdict = decision.verdict
    waits, stopped = verdict is Verdict.NEEDS_APPROVAL, 0 if goes else asked
    rate = past.rate_microusd or rate_microusd
    return Figures(
        requests=1,
        allowed=int(verdict is Verdict.ALLOW),
        rewritten=int(goes and decision.rewritten),
        needs_approval=int(waits),
        denied=int(verdict is Verdict.DENY),
        were_credits=were,
        asked_credits=asked,
        credits=credits,
        saved_credits=asked - credits if goes else 0,
        waiting_credits=stopped if waits else 0,
        denied_credits=0 if waits else stopped,
        were_microusd=were * (rate or 0),
        microusd=credits * (rate or 0),
        unpriced=int(rate is None),
    )


def summed(found: Mapping[Figures, int]) -> Figures:
    """All of them together; of past requests many have the same figures, so each comes with its number.

    >>> summed({NOTHING._replace(credits=4): 3, NOTHING._replace(credits=1): 2}).credits
    14
    """
    rows = [[number * value for value in figures] for figures, number in found.items()]
    return Figures(*map(sum, zip(*rows, strict=True))) if rows else NOTHING


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """How often a rule, a budget or a label had something to say, and what came of it."""

    rule: str
    outcome: Outcome
    where: str
    requests: int
    credits: int
    """What its rewrites saved, or the price as asked of what it would stop, alone or with others."""

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "outcome": self.outcome.value,
            "where": self.where,
            "requests": self.requests,
            "credits": self.credits,
        }


class RuleCounts:
    """Counts what rules say, request by request."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Outcome, str], list[int]] = {}
        self._stops: dict[tuple[str, Outcome, str], bool] = {}

    def count(self, answer: Answer) -> None:
        decision = answer.decision
        for finding in decision.findings:
            place = finding.rule, finding.outcome, finding.where
            sums = self._found.get(place)
            if sums is None:
                sums = self._found[place] = [0, 0]
                self._stops[place] = finding.verdict is not Verdict.ALLOW
            sums[0] += 1
            if self._stops[place]:
                sums[1] += answer.asked_credits
            elif answer.credits and decision.changes:
                saved = (one.credits_saved for one in decision.changes if one.rule == finding.rule)
                sums[1] += sum(saved)

    def all(self) -> tuple[RuleFigures, ...]:
        """The most spoken of first."""
        found = [RuleFigures(*place, *sums) for place, sums in self._found.items()]
        return tuple(sorted(found, key=lambda one: -one.requests))
