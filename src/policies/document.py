"""The shape of a policy file: what may stand in it, and what is said when something else does.

Here belong the keys, their types and how they go together. What single values and conditions may say
belongs to `values` and `parsing`; how the shape becomes a policy belongs to `loading`; what a policy
does belongs to `engine`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from planner.errors import Fault
from policies import actions, fragments, values
from policies.budgets import Limit, Per
from policies.conditions import Condition, Named, Vocabulary
from policies.downgrading import Downgrade
from policies.named import named_conditions
from policies.parsing import Problem
from policies.shapes import Placed, Shape, read_as, refuse, refuse_all

MOST_RULES: Final = 10_000
Name = Annotated[str, PlainValidator(values.name), WithJsonSchema(fragments.TEXT)]
When = Annotated[
    Condition | None, PlainValidator(values.condition("rule")), WithJsonSchema(fragments.CONDITION)
]
AppliesTo = Annotated[
    Condition | None, PlainValidator(values.condition("budget")), WithJsonSchema(fragments.CONDITION)
]
Never = Annotated[
    Condition, PlainValidator(values.condition("guarantee")), WithJsonSchema(fragments.CONDITION)
]
Replaces = Annotated[Any, WithJsonSchema(fragments.REPLACES)]
"""The entry that this one replaces in what the policy extends; gone by the time the shape is read."""
Reason = Annotated[str, PlainValidator(values.reason), WithJsonSchema(fragments.REASON)]
Share = Annotated[Fraction, PlainValidator(values.share), WithJsonSchema(fragments.SHARE)]


class BudgetShape(Shape):
    """A limit per window and scope."""

    name: Name
    replaces: Replaces | None = None
    limit: Annotated[
        Limit,
        PlainValidator(values.limit),
        WithJsonSchema(fragments.LIMIT),
    ]
    per: Per
    for_each: Annotated[
        tuple[str, ...],
        PlainValidator(values.for_each),
        WithJsonSchema(fragments.TEXTS),
    ] = ()
    applies_to: AppliesTo = None
    warn_at: list[Share] = Field(default_factory=list)
    when_exhausted: Annotated[
        str | Downgrade, PlainValidator(actions.exhausted), WithJsonSchema(fragments.EXHAUSTED)
    ] = ""

    @model_validator(mode="after")
    def _limit_by_value(self, info: ValidationInfo) -> Self:
        if self.limit.by_value is None:
            return self
        if len(self.for_each) != 1:
            hint = "add `for_each: [team]` with the label whose values stand in the limit"
            raise refuse("a limit by value needs exactly one label in `for_each`", hint)
        label = self.for_each[0]
        known = values.vocabulary(info).labels[label]
        strange = [value for value in self.limit.by_value if known is not None and value not in known]
        if strange:
            hint = "use " + ", ".join((*(known or ()), "otherwise"))
            problems = [
                Problem(("limit", value), f"`{value}` is not a value of `{label}`", hint) for value in strange
            ]
            raise refuse_all(problems)
        return self


class RuleShape(Shape):
    """A condition and exactly one of rewrite, downgrade, deny, needs_approval and allow."""

    name: Name
    replaces: Replaces | None = None
    when: When = None
    rewrite: Annotated[
        dict[str, Any] | None, PlainValidator(actions.rewrite), WithJsonSchema(fragments.REWRITE)
    ] = None
    downgrade: Annotated[
        Downgrade | None, PlainValidator(actions.downgrade), WithJsonSchema(fragments.DOWNGRADE)
    ] = None
    deny: Reason | None = None
    needs_approval: Annotated[str, BeforeValidator(values.reason)] | None = None
    allow: Reason | None = None
    because: Annotated[str, BeforeValidator(values.reason)] | None = None
    may_cost_more: bool = False
    shadow: bool = False

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        said = [key for key in ACTIONS if getattr(self, key) is not None]
        if len(said) != 1:
            message = f"`{self.name}` says {' and '.join(said) or 'nothing'}"
            raise refuse(message, "a rule says one of " + ", ".join(ACTIONS))
        if self.needs_approval == "":
            hint = "such as `needs_approval: finance`"
            raise refuse("`needs_approval` does not say who", hint, ("needs_approval",))
        if self.may_cost_more and self.rewrite is None:
            raise refuse("`may_cost_more` goes with a rewrite only", "remove it", ("may_cost_more",))
        return self


SECTIONS: Final = ("budgets", "rules", "guarantees")
"""The lists of a policy whose entries have names."""
ACTIONS: Final = ("rewrite", "downgrade", "deny", "needs_approval", "allow")


class GuaranteeShape(Shape):
    """A condition that no decision may satisfy."""

    name: Name
    replaces: Replaces | None = None
    never: Never
    because: Annotated[str, BeforeValidator(values.reason)] | None = None


class PolicyShape(Shape):
    """A policy file; of one that extends another, what the two come to."""

    policy: Literal[1]
    name: Name
    extends: str | None = None
    timezone: Annotated[ZoneInfo, PlainValidator(values.zone), WithJsonSchema(fragments.TEXT)] = Field(
        default_factory=lambda: ZoneInfo("UTC")
    )
    otherwise: Annotated[
        Any,
        PlainValidator(actions.otherwise),
        WithJsonSchema(fragments.OTHERWISE),
    ]
    enforcement: Literal["on", "shadow"] = "on"
    credit_price: Annotated[str | None, PlainValidator(values.price), WithJsonSchema(fragments.PRICE)] = None
    latency_profile: Annotated[Any, WithJsonSchema(fragments.PROFILE)] = None
    reuse: bool = False
    other_models: Annotated[
        int | None, PlainValidator(values.other_models), WithJsonSchema(fragments.OTHER_MODELS)
    ] = None
    on_drift: Literal["warn", "stop"] = "warn"
    labels: Annotated[
        dict[str, tuple[str, ...] | None],
        PlainValidator(values.labels),
        WithJsonSchema(fragments.LABELS),
    ] = Field(default_factory=dict)
    conditions: Annotated[
        tuple[str, ...],
        PlainValidator(values.named),
        WithJsonSchema(fragments.CONDITIONS),
    ] = ()
    budgets: list[BudgetShape] = Field(default_factory=list)
    rules: Annotated[list[RuleShape], Field(max_length=MOST_RULES)] = Field(default_factory=list)
    guarantees: list[GuaranteeShape] = Field(default_factory=list)


# -- reading a document ---------------------------------------------------------------------------


def read_policy(document: Placed) -> tuple[PolicyShape | None, list[Fault]]:
    """The shape of a policy file, or None and every fault of it."""
    shape, faults = read_as(PolicyShape, document, "policy", _words(document.data))
    return shape, faults + _repeated_names(document)


def _words(data: Any) -> Vocabulary:
    """What conditions may speak of, taken from the raw values so that one fault does not hide others."""
    if not isinstance(data, dict):
        return Vocabulary()
    labels, budgets = data.get("labels"), data.get("budgets")
    try:
        declared = values.labels(labels) if labels is not None else {}
    except PydanticCustomError:
        declared = dict.fromkeys(labels) if isinstance(labels, dict) else {}
    items = budgets if isinstance(budgets, list) else []
    names = [item.get("name") for item in items if isinstance(item, dict)]
    words = Vocabulary(
        declared,
        tuple(name.strip() for name in names if isinstance(name, str)),
        "credit_price" in data,
        "latency_profile" in data,
    )
    return replace(words, named=_named(data.get("conditions"), words))


def _named(conditions: Any, words: Vocabulary) -> Mapping[str, Named | None]:
    return named_conditions(conditions, words)[0] if isinstance(conditions, dict) else {}


def _repeated_names(document: Placed) -> list[Fault]:
    """Rules, budgets and guarantees share their names, because findings are told by them."""
    faults: list[Fault] = []
    seen: dict[str, tuple[str, int]] = {}
    for section, place, name in _names(document.data):
        first = seen.setdefault(name, (section, place))
        if first != (section, place):
            where, other = (document.where((*entry, "name")) for entry in ((section, place), first))
            hint = f"the other stands in {other}"
            if first[0] == section and other.rpartition(":")[0] != where.rpartition(":")[0]:
                hint += "; say `replaces: true` to put this one in its place"
            faults.append(Fault("policy", f"the name `{name}` stands twice", where, "name", hint))
    return faults


def _names(data: Any) -> Iterator[tuple[str, int, str]]:
    """The name of every entry that has one, with its section and its place there."""
    for section in SECTIONS if isinstance(data, dict) else ():
        items = data.get(section)
        for place, item in enumerate(items if isinstance(items, list) else ()):
            name = item.get("name") if isinstance(item, dict) else None
            if isinstance(name, str):
                yield section, place, name.strip()
