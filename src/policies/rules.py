"""Rules, and the facts that their conditions read.

Here belong what a rule says and what an attribute's value is for a request or for a ledger entry.
When rules are tried and what follows belongs to `engine`. What the provider would act on is read: an
omitted field as its default, an omitted mode as the mode billed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

from planner.latency import LatencyProfile
from planner.quoting import Quote
from planner.request import DEFAULTS, ModelCreateRequest
from policies.conditions import (
    DERIVED_ATTRIBUTES,
    FIELD_ATTRIBUTES,
    SENT,
    USED,
    WEEKDAYS,
    Condition,
)
from policies.decision import Finding
from policies.downgrading import Downgrade
from policies.matching import Read


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and what follows from it; `changes` or `downgrade` where it rewrites."""

    when: Condition | None
    """None holds for every request."""
    finding: Finding
    """What the rule says when it fires, made once."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """New values by field; None leaves the field out of the request."""
    may_cost_more: bool = False
    downgrade: Downgrade | None = None
    shadow: bool = False
    """Whether it only tells what it would do."""

    @property
    def name(self) -> str:
        return self.finding.rule


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions read of one request, or of one ledger entry, at one instant."""

    fields: Mapping[str, Any] = field(repr=False)
    """Inputs by name, None where omitted. A reference may stand as true or false; it is never read."""
    billed_mode: str
    """Empty for another model: its fields are absent, so that none has a default either."""
    credits: int
    rate_microusd: int | None
    """What a credit costs, in whole micro-dollars; None where the policy does not say."""
    labels: Mapping[str, str]
    """The declared labels, normalised."""
    at: datetime
    shares: Callable[[Facts, str], Fraction | None] | None = field(default=None, repr=False)
    """The used share of a budget by its name; None where there is nobody to ask."""

    @classmethod
    def of_entry(
        cls,
        fields: Mapping[str, Any],
        billed_mode: str,
        credits: int,
        rate_microusd: int | None,
        labels: Mapping[str, str],
        at: datetime,
    ) -> Facts:
        """The facts that a ledger entry keeps, so that what a budget counts can be counted again.

        `fields` are the closed fields as `planner.request.closed_fields` gives them, and `credits`
        is the quote.
        """
        return cls(fields, billed_mode, credits, rate_microusd, labels, at)


def facts_of(
    request: ModelCreateRequest,
    quote: Quote,
    labels: Mapping[str, str],
    at: datetime,
    rate_microusd: int | None = None,
    shares: Callable[[Facts, str], Fraction | None] | None = None,
) -> Facts:
    """The facts of a request that may be sent."""
    return Facts(request.__dict__, quote.billed_mode, quote.credits, rate_microusd, labels, at, shares)


def value_of(facts: Facts, name: str) -> Any:
    """What the provider acts on in a field that conditions compare; None where nothing is.

    Without a face its mode means nothing, and with a pose reference an omitted ratio is inherited.
    """
    if name == "generation_mode":
        return facts.billed_mode or None
    value = facts.fields[name]
    if name == "face_reference_mode" and not facts.fields["face_reference"]:
        return None
    if value is not None:
        return value
    inherited = name == "aspect_ratio" and facts.fields["image_reference"]
    return None if inherited or not facts.billed_mode else DEFAULTS[name]


_REFERENCES: Final = ("face_reference", "image_reference")


def reader(column: str, zone: ZoneInfo, latency: LatencyProfile | None = None) -> Read:
    """How a column of the conditions is read from facts; labels are all that is no attribute."""
    if column.startswith(SENT):
        return _sent(column.removeprefix(SENT))
    if column.startswith(USED):
        return _used(column.removeprefix(USED))
    if column == "generation_mode":
        return lambda facts: facts.billed_mode or None
    if column in ("aspect_ratio", "face_reference_mode"):
        return lambda facts: value_of(facts, column)
    if column in FIELD_ATTRIBUTES:
        return _field(column)
    if column in DERIVED_ATTRIBUTES:
        return _derived(column, zone, latency)
    return lambda facts: facts.labels.get(column)


def _sent(name: str) -> Read:
    if name in _REFERENCES:
        return lambda facts: bool(facts.fields[name])
    if name in FIELD_ATTRIBUTES:
        return lambda facts: facts.fields[name] is not None
    return lambda facts: name in facts.labels


def _used(budget: str) -> Read:
    return lambda facts: facts.shares(facts, budget)


def _field(name: str) -> Read:
    default = DEFAULTS[name]

    def read(facts: Facts) -> Any:
        value = facts.fields[name]
        return default if value is None and facts.billed_mode else value

    return read


def _derived(name: str, zone: ZoneInfo, latency: LatencyProfile | None) -> Read:
    match name:
        case "credits":
            return lambda facts: facts.credits
        case "usd":
            return lambda facts: facts.credits * facts.rate_microusd
        case "seconds":
            return lambda facts: _seconds(facts, latency)
        case "weekday":
            return lambda facts: WEEKDAYS[facts.at.astimezone(zone).weekday()]
        case _:
            return lambda facts: _minute(facts.at.astimezone(zone))


def _minute(local: datetime) -> int:
    return local.hour * 60 + local.minute


def _seconds(facts: Facts, latency: LatencyProfile | None) -> float:
    """Nine of ten such jobs end within it, by the profile that the policy names."""
    if latency is None:
        raise LookupError("the policy names no latency profile")
    face = bool(facts.fields["face_reference"])
    images, resolution = value_of(facts, "num_images"), value_of(facts, "resolution")
    return latency.rows[facts.billed_mode, resolution, face, images].p90_seconds
