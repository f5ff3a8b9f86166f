"""What would pass: cheaper or other forms of a request that the policy allows as they stand.

Here belongs the search for alternatives to a denial. It is made when somebody asks, never on the way
of a decision, and each alternative is decided by the same engine before it is offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import product
from typing import Any, Final

from planner.prices import PriceBook
from planner.quoting import COUNTS
from planner.request import GENERATION_MODES, RESOLUTIONS, ModelCreateRequest, closed_fields, parse_request
from policies.budgets import Allowance, AskUsage, Usage
from policies.decision import Alternative, Decision, Verdict
from policies.engine import Policy

MOST: Final = 3

_SPACE: Final = {
    "num_images": COUNTS,
    "generation_mode": GENERATION_MODES,
    "resolution": RESOLUTIONS,
}


def alternatives(
    policy: Policy, decision: Decision, *, book: PriceBook, at: datetime, usage: AskUsage
) -> tuple[Alternative, ...]:
    """Up to three requests that would be allowed unchanged where this one was not.

    They differ from what was asked in as few fields as can be; of those that differ in the same
    fields the one nearest in price is offered, and cheaper ones come first. Where the caller refused
    rewriting, what the policy would have made of the request comes before all. An allowed decision
    has none.
    """
    refused = decision.shadowed or decision
    if refused.verdict is Verdict.ALLOW:
        return ()

    read: dict[Allowance, Usage] = {}

    def once(allowance: Allowance) -> Usage:
        if allowance not in read:
            read[allowance] = usage(allowance)
        return read[allowance]

    def judged(request: ModelCreateRequest, allow_rewrite: bool = False) -> Decision:
        return policy.judge(
            request, refused.labels, book=book, at=at, usage=once, allow_rewrite=allow_rewrite
        )

    base = judged(refused.asked, allow_rewrite=True)
    if base.verdict is Verdict.ALLOW:
        return (Alternative(_changes(refused.asked, base.request), base.credits),)
    best: dict[frozenset[str], Decision] = {}
    for request in _candidates(base.request):
        varied = frozenset(_changes(base.request, request))
        if any(smaller < varied for smaller in best):
            continue
        found = judged(request)
        if found.verdict is Verdict.ALLOW and _nearer(found, best.get(varied), base):
            best[varied] = found
    ranked = sorted(best.items(), key=lambda item: (len(item[0]), item[1].credits))
    return tuple(
        Alternative(_changes(refused.asked, found.request), found.credits) for _, found in ranked[:MOST]
    )


def _nearer(found: Decision, best: Decision | None, base: Decision) -> bool:
    """Whether it is nearer in price to what was asked; of two as near, the cheaper one."""
    if best is None:
        return True
    distance, least = abs(found.credits - base.credits), abs(best.credits - base.credits)
    return (distance, found.credits) < (least, best.credits)


def _candidates(request: ModelCreateRequest) -> Iterator[ModelCreateRequest]:
    """Every other number, mode and resolution for the request, those with the fewest changes first."""
    inputs = request.inputs()
    choices = [
        (None, *(value for value in values if value != inputs.get(name))) for name, values in _SPACE.items()
    ]
    for picked in sorted(product(*choices), key=lambda values: len(values) - values.count(None)):
        changes = {name: value for name, value in zip(_SPACE, picked, strict=True) if value is not None}
        if changes:
            yield parse_request({**inputs, **changes})


def _changes(before: ModelCreateRequest, after: ModelCreateRequest) -> dict[str, Any]:
    """The closed fields in which two requests differ, with the later values."""
    old = closed_fields(before)
    return {name: value for name, value in closed_fields(after).items() if old[name] != value}
