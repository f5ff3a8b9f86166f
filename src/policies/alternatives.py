"""What would pass where a request did not: the smallest changes, a wait, or more credits.

Here belongs the search for alternatives to a denial, and why there is none. It is made when somebody
asks, never on the way of a decision, and each alternative is decided by the same engine before it is
offered. When an answer may change by itself is known to `waiting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, combinations, product
from typing import Any, Final, Literal

from planner.errors import NoPrice
from planner.prices import PriceBook
from planner.request import ModelCreateRequest, closed_fields
from planner.rungs import LADDERS
from policies.budgets import Allowance, AskUsage, Usage
from policies.decision import Alternative, Decision, More, Verdict
from policies.engine import Policy
from policies.waiting import turns

MOST: Final = 3
"""How many changes of fields are offered; of waits and of more credits there is one each at most."""


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What would pass, the nearest first; where nothing would, why not."""

    found: tuple[Alternative, ...] = ()
    why: str = ""
    """A sentence where a request was refused and nothing would pass; else empty."""


def alternatives(
    policy: Policy, decision: Decision, *, book: PriceBook, at: datetime, usage: AskUsage
) -> Alternatives:
    """What would be allowed where this was not; for an allowed decision nothing, and no reason.

    First come up to three requests that differ from what was asked in as few fields as can be, the
    nearest in price first. Then the first instant from which the request would be allowed if nothing
    else is spent, then how much more the budgets that are full would have to let through. Where the
    caller refused rewriting, what the policy would have made of the request is all there is to say.

    >>> from datetime import UTC
    >>> from planner.loading import shipped_prices
    >>> from policies.loading import parse_policy
    >>> policy = parse_policy(
    ...     '''
    ... policy: 1
    ... name: small
    ... otherwise: allow
    ... budgets:
    ...   - {name: month, limit: 10 credits, per: month}
    ... ''', "small.yaml")
    >>> world = {"book": shipped_prices(), "at": datetime(2026, 11, 22, tzinfo=UTC),
    ...          "usage": lambda allowance: Usage(settled=9)}
    >>> denied = policy.decide({"prompt": "x", "num_images": 2}, **world)
    >>> for found in alternatives(policy, denied, **world).found:
    ...     print(found.changes, found.credits, found.wait_until, [more.amount for more in found.more])
    {'num_images': 1} 1 None []
    {} 2 2026-12-01 00:00:00+00:00 []
    {} 2 None [1]
    """
    refused = decision.shadowed or decision
    if refused.verdict is Verdict.ALLOW:
        return Alternatives()
    return _Search(policy, refused, book, at, usage).result()


class _Search:
    """One refused request before one policy; a class because all that is tried reads the same usage."""

    def __init__(
        self, policy: Policy, refused: Decision, book: PriceBook, at: datetime, usage: AskUsage
    ) -> None:
        self.policy = policy
        self.asked = refused.asked
        self.labels = refused.labels
        self.book = book
        self.at = at
        self.ask = usage
        self.read: dict[Allowance, Usage] = {}
        self.refusals: list[Decision] = []
        """What was tried in other forms and not allowed."""
        self.base = self.judged(self.asked, allow_rewrite=True)
        """What the policy makes of the request; all that is offered starts from it."""

    def result(self) -> Alternatives:
        if self.base.verdict is Verdict.ALLOW:
            return Alternatives((self.told(self.base),))
        found = (*self.fields(), *self.later_or_more(self.base)) or tuple(self.both())
        return Alternatives(found, "" if found else self.why())

    # -- asking the engine -----------------------------------------------------------------------

    def usage(self, allowance: Allowance) -> Usage:
        """What counts now, asked once for all that is tried."""
        if allowance not in self.read:
            self.read[allowance] = self.ask(allowance)
        return self.read[allowance]

    def later(self, allowance: Allowance) -> Usage:
        """What counts at a later instant: nothing yet in a window that has not begun."""
        return self.usage(allowance) if allowance.start <= self.at else Usage()

    def judged(
        self,
        request: ModelCreateRequest,
        *,
        labels: Mapping[str, str] | None = None,
        at: datetime | None = None,
        usage: AskUsage | None = None,
        allow_rewrite: bool = False,
    ) -> Decision:
        """The decision on a form of the request: as it stands, now, and for the same people by default."""
        return self.policy.judge(
            request,
            self.labels if labels is None else labels,
            book=self.book,
            at=at or self.at,
            usage=usage or self.usage,
            allow_rewrite=allow_rewrite,
        )

    def told(self, found: Decision, **more: Any) -> Alternative:
        return Alternative(_changes(self.asked, found.request), found.credits, **more)

    # -- what would pass -------------------------------------------------------------------------

    def fields(self) -> Iterator[Alternative]:
        """Other numbers, modes and resolutions: of those that change the same fields, the nearest."""
        request, best = self.base.request, dict[frozenset[str], Decision]()
        for changes in _variations(request):
            varied = frozenset(changes)
            if any(smaller < varied for smaller in best):
                continue
            found = self.judged(ModelCreateRequest.of_checked({**request.__dict__, **changes}))
            if found.verdict is not Verdict.ALLOW:
                self.refusals.append(found)
            elif varied not in best or self.remoteness(found) < self.remoteness(best[varied]):
                best[varied] = found
        return map(self.told, sorted(best.values(), key=self.remoteness)[:MOST])

    def remoteness(self, found: Decision) -> tuple[int, int, int]:
        """How far it is from what was asked: in fields, then in price; of two as near, the dearer one."""
        changed = len(_changes(self.base.request, found.request))
        return changed, abs(found.credits - self.base.credits), found.credits

    def later_or_more(self, start: Decision) -> Iterator[Alternative]:
        """When a form of the request would be allowed, and how much more would let it pass now."""
        yield from self.wait(start.asked)
        yield from self.more(start)

    def wait(self, request: ModelCreateRequest) -> Iterator[Alternative]:
        """The first instant from which it is allowed if nothing else is spent."""
        for turn in turns(self.policy.compiled, self.labels, self.book, self.at):
            try:
                found = self.judged(request, at=turn, usage=self.later, allow_rewrite=True)
            except NoPrice:
                continue
            if found.verdict is Verdict.ALLOW:
                yield self.told(found, wait_until=turn.astimezone(self.policy.zone))
                return

    def more(self, start: Decision) -> Iterator[Alternative]:
        """How much more its full budgets would have to let through, each as little as will do."""
        missing = ((allowance, self.missing(allowance, start.credits)) for allowance in start.allowances)
        short = {allowance: amount for allowance, amount in missing if amount > 0}

        def granted(allowance: Allowance) -> Usage:
            usage = self.usage(allowance)
            return usage._replace(granted=usage.granted + short.get(allowance, 0))

        found = self.judged(start.request, usage=granted) if short else start
        if found.verdict is Verdict.ALLOW:
            yield self.told(found, more=tuple(More(*item) for item in short.items()))

    def missing(self, allowance: Allowance, credits: int) -> int:
        """By how much a price passes the limit of an allowance; 0 where its usage is not known."""
        usage = self.read.get(allowance)
        if usage is None:
            return 0
        amount = allowance.amount(credits, self.policy.rate_microusd)
        return usage.used + amount - allowance.limit - usage.granted

    def both(self) -> Iterator[Alternative]:
        """Where nothing helps by itself: the nearest form that only budgets refuse, later or with more."""
        budgets = {item.budget.name for item in self.policy.budgets}
        for form in sorted(self.refusals, key=self.remoteness):
            if _stopping(form).keys() <= budgets and (found := [*self.later_or_more(form)]):
                yield from found
                return

    # -- why nothing would -----------------------------------------------------------------------

    def why(self) -> str:
        """Which rules refuse the request in every form, and the label that would help."""
        stopping = [_stopping(found) for found in (self.base, *self.refusals)]
        always = [rule for rule in stopping[0] if all(rule in rules for rules in stopping)]
        denying = [rule for rule in always if stopping[0][rule] is Verdict.DENY]
        if always:
            one, several = ("denies", "deny") if denying else ("asks for approval of", "ask for approval of")
            rules = denying or always
            verb = several if rules[1:] else one
            said = f"{_listed(_quoted(rules), 'and')} {verb} it at any number, mode and resolution"
        else:
            rules = [*dict.fromkeys(chain.from_iterable(stopping))]
            said = (
                f"every other number, mode and resolution is refused too, by {_listed(_quoted(rules), 'or')}"
            )
        return "; ".join((said, *self.named_labels()))

    def named_labels(self) -> Iterator[str]:
        """For each label that is missing or wrong, the values with which the request would pass."""
        for name, label in self.policy.labels.items():
            if label.values is None or self.labels.get(name) in label.values:
                continue
            passing = [value for value in label.values if self.passes_with(name, value)]
            if passing:
                yield f"with `{name}` {_listed(passing, 'or')} it would pass"

    def passes_with(self, name: str, value: str) -> bool:
        found = self.judged(self.base.request, labels={**self.labels, name: value})
        return found.verdict is Verdict.ALLOW


def _variations(request: ModelCreateRequest) -> Iterator[dict[str, Any]]:
    """Every other number, mode and resolution for the request, those with the fewest changes first."""
    fields = request.__dict__
    others = {name: [value for value in values if value != fields[name]] for name, values in LADDERS.items()}
    for size in range(1, len(others) + 1):
        for names in combinations(others, size):
            for values in product(*(others[name] for name in names)):
                yield dict(zip(names, values, strict=True))


def _changes(before: ModelCreateRequest, after: ModelCreateRequest) -> dict[str, Any]:
    """The closed fields in which two requests differ, with the later values."""
    old = closed_fields(before)
    return {name: value for name, value in closed_fields(after).items() if old[name] != value}


def _stopping(found: Decision) -> dict[str, Verdict]:
    """What does not allow a request, and what it asks for."""
    return {
        finding.rule: finding.verdict for finding in found.findings if finding.verdict is not Verdict.ALLOW
    }


def _quoted(names: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _listed(texts: Sequence[str], word: Literal["and", "or"]) -> str:
    """
    >>> _listed(["a"], "or"), _listed(["a", "b", "c"], "or")
    ('a', 'a, b or c')
    """
    *others, last = texts
    return f"{', '.join(others)} {word} {last}" if others else last
