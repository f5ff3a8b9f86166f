"""One rewrite rule applied to one request: valid again and priced again after every field.

Here belongs what a rewrite does. Which rules fire and in what order belongs to `engine`; whether a
policy's rewrites can raise a price or never settle belongs to `stability`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.quoting import Quote, price_cell
from planner.request import OPEN_FIELDS, ModelCreateRequest, parse_request
from policies.decision import Change
from policies.rules import Facts, Rule, value_of


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A request after one rule, its price and the receipts."""

    request: ModelCreateRequest
    quote: Quote
    changes: tuple[Change, ...]


def updates(rule: Rule, facts: Facts) -> Mapping[str, Any]:
    """The fields that the rule really changes.

    A rule that asks for what the provider would do anyway, such as 1k where nothing is said,
    changes nothing.
    """
    return {name: value for name, value in rule.changes.items() if _differs(facts, name, value)}


def _differs(facts: Facts, name: str, value: Any) -> bool:
    sent = facts.fields[name]
    if value is None:
        return sent is not None
    return bool(sent != value and value_of(facts, name) != value)


def applied(
    rule: Rule, changed: Mapping[str, Any], request: ModelCreateRequest, prices: Sequence[Quote]
) -> Rewritten:
    """The request with those fields of the rule; raises `InvalidRequest` if it is none any more.

    `prices` are the quotes of the price entry in force, in the order of `quoting.CELLS`. Each field
    has its own receipt, and together they add up to what the rule saves.
    """
    receipts = []
    quote = prices[price_cell(request)]
    for name, value in changed.items():
        after = parse_request(_with(request.inputs(), name, value))
        after_quote = prices[price_cell(after)]
        saved = quote.credits - after_quote.credits
        before = getattr(request, name)
        if name in OPEN_FIELDS:
            receipts.append(Change(name, True, False, rule.name, saved))
        else:
            receipts.append(Change(name, before, value, rule.name, saved))
        request, quote = after, after_quote
    return Rewritten(request, quote, tuple(receipts))


def _with(inputs: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    if value is None:
        del inputs[name]
    else:
        inputs[name] = value
    return inputs
