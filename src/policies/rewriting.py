"""One rewriting rule applied to one request: valid again and priced again after every field.

Here belongs what a rewrite or a downgrade does. Which rules fire and in what order belongs to `ruling`;
whether a policy's rewrites can raise a price or never settle belongs to `stability`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.quoting import Quote, price_cell
from planner.request import OPEN_FIELDS, ModelCreateRequest, parse_request
from policies.decision import Change
from policies.downgrading import NO_FLOOR, Downgrade, Floor, candidates
from policies.rules import Facts, Rule, value_of


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A request after one rule, its price and the receipts."""

    request: ModelCreateRequest
    quote: Quote
    changes: tuple[Change, ...]


def proposed(
    rule: Rule, facts: Facts, request: ModelCreateRequest, prices: Sequence[Quote], floor: Floor = NO_FLOOR
) -> Mapping[str, Any] | None:
    """The fields that the rule really changes, with their new values; None where nothing fits.

    A rule that asks for what the provider would do anyway, such as 1k where nothing is said, changes
    nothing; nor does a downgrade of what fits already.
    """
    if rule.downgrade is None:
        return {name: value for name, value in rule.changes.items() if _differs(facts, name, value)}
    downgrade = rule.downgrade.with_floor(floor)
    if _fits(downgrade, facts.credits, facts.rate_microusd):
        return {}
    for candidate in candidates(request, facts.billed_mode, downgrade):
        if _fits(downgrade, prices[price_cell(candidate)].credits, facts.rate_microusd):
            return given_up(request, candidate, downgrade)
    return None


def would_change(rule: Rule, facts: Facts) -> bool:
    """Whether a rule that fires would make another request of this one, or find that nothing fits."""
    if rule.downgrade is None:
        return any(_differs(facts, name, value) for name, value in rule.changes.items())
    return not _fits(rule.downgrade, facts.credits, facts.rate_microusd)


def _differs(facts: Facts, name: str, value: Any) -> bool:
    sent = facts.fields[name]
    if value is None:
        return sent is not None
    return bool(sent != value and value_of(facts, name) != value)


def _fits(downgrade: Downgrade, credits: int, rate_microusd: int | None) -> bool:
    """Whether that many credits are at most what the downgrade asks for."""
    assert downgrade.at_most is not None, "a rule says how much its result may cost"
    if downgrade.unit == "credits":
        return credits <= downgrade.at_most
    if rate_microusd is None:
        raise LookupError("an amount in USD needs the rate of a credit")
    return credits * rate_microusd <= downgrade.at_most


def given_up(
    request: ModelCreateRequest, candidate: ModelCreateRequest, downgrade: Downgrade
) -> Mapping[str, Any]:
    """What leads from a request to its candidate: a mode that is written out first, then in order."""
    before, after = request.__dict__, candidate.__dict__
    written = ("generation_mode",) if before["generation_mode"] is None else ()
    names = dict.fromkeys((*written, *downgrade.order))
    return {name: after[name] for name in names if before[name] != after[name]}


def applied(
    name: str, changed: Mapping[str, Any], request: ModelCreateRequest, prices: Sequence[Quote]
) -> Rewritten:
    """The request with those fields changed by the rule or budget of that name.

    `prices` are the quotes of the price entry in force, in the order of `quoting.CELLS`. Each field
    has its own receipt, and together they add up to what the rule saves. Raises `InvalidRequest` if
    it is no request any more.
    """
    receipts = []
    quote = prices[price_cell(request)]
    for field, value in changed.items():
        after = parse_request(_with(request.given(), field, value))
        after_quote = prices[price_cell(after)]
        saved = quote.credits - after_quote.credits
        was, now = (True, False) if field in OPEN_FIELDS else (getattr(request, field), value)
        receipts.append(Change(field, was, now, name, saved))
        request, quote = after, after_quote
    return Rewritten(request, quote, tuple(receipts))


def _with(inputs: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    if value is None:
        del inputs[name]
    else:
        inputs[name] = value
    return inputs
