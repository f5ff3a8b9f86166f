"""The shape of a policy file: what may stand in it, and what is said when something else does.

Here belong the keys, their types and how they go together. What single values and conditions may say
belongs to `values` and `parsing`; how the shape becomes a policy belongs to `loading`; what a policy
does belongs to `engine`.
"""

from __future__ import annotations

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
from planner.loading import Document
from policies import values
from policies.budgets import Limit, Per
from policies.conditions import Vocabulary
from policies.parsing import Problem
from policies.shapes import Shape, read_as, refuse, refuse_all

MOST_RULES: Final = 10_000


_CONDITION_SCHEMA: Final = {"$comment": "condition", "type": "object"}
_APPROVAL_SCHEMA: Final = {
    "type": "object",
    "properties": {"needs_approval": {"type": "string"}},
    "required": ["needs_approval"],
    "additionalProperties": False,
}
_AMOUNT_SCHEMA: Final = {"type": ["string", "integer"], "examples": ["5000 credits", "375 USD"]}
_LIMIT_SCHEMA: Final = {"anyOf": [_AMOUNT_SCHEMA, {"type": "object", "additionalProperties": _AMOUNT_SCHEMA}]}
_REASON_SCHEMA: Final = {"anyOf": [{"type": "string"}, {"const": True}]}
_SHARE_SCHEMA: Final = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"}

Name = Annotated[str, PlainValidator(values.name), WithJsonSchema({"type": "string"})]
When = Annotated[Any, PlainValidator(values.condition), WithJsonSchema(_CONDITION_SCHEMA)]
AppliesTo = Annotated[Any, PlainValidator(values.counting), WithJsonSchema(_CONDITION_SCHEMA)]
Reason = Annotated[str, PlainValidator(values.reason), WithJsonSchema(_REASON_SCHEMA)]
Share = Annotated[Fraction, PlainValidator(values.share), WithJsonSchema(_SHARE_SCHEMA)]


class BudgetShape(Shape):
    """A limit per window and scope."""

    name: Name
    limit: Annotated[
        Limit,
        PlainValidator(values.limit),
        WithJsonSchema(_LIMIT_SCHEMA),
    ]
    per: Per
    for_each: Annotated[
        tuple[str, ...],
        PlainValidator(values.for_each),
        WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    ] = ()
    applies_to: AppliesTo = None
    warn_at: list[Share] = Field(default_factory=list)
    when_exhausted: Annotated[
        str,
        PlainValidator(values.exhausted),
        WithJsonSchema({"anyOf": [{"const": "deny"}, {"type": "string"}, _APPROVAL_SCHEMA]}),
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
    """A condition and exactly one of rewrite, deny, needs_approval and allow."""

    name: Name
    when: When = None
    rewrite: Annotated[
        dict[str, Any] | None, PlainValidator(values.rewrite), WithJsonSchema({"type": "object"})
    ] = None
    deny: Reason | None = None
    needs_approval: Annotated[str, BeforeValidator(values.reason)] | None = None
    allow: Reason | None = None
    because: Annotated[str, BeforeValidator(values.reason)] | None = None
    may_cost_more: bool = False

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


ACTIONS: Final = ("rewrite", "deny", "needs_approval", "allow")


class PolicyShape(Shape):
    """A policy file."""

    policy: Literal[1]
    name: Name
    timezone: Annotated[ZoneInfo, PlainValidator(values.zone), WithJsonSchema({"type": "string"})] = Field(
        default_factory=lambda: ZoneInfo("UTC")
    )
    otherwise: Annotated[
        Any,
        PlainValidator(values.otherwise),
        WithJsonSchema({"anyOf": [{"enum": ["allow", "deny"]}, {"type": "string"}, _APPROVAL_SCHEMA]}),
    ]
    enforcement: Literal["on", "shadow"] = "on"
    credit_price: Annotated[
        str | None, PlainValidator(values.price), WithJsonSchema({"type": ["string", "number"]})
    ] = None
    latency_profile: str | None = None
    labels: Annotated[
        dict[str, tuple[str, ...] | None],
        PlainValidator(values.labels),
        WithJsonSchema(
            {
                "type": "object",
                "additionalProperties": {"anyOf": [{"const": "any"}, {"type": "array", "minItems": 1}]},
            }
        ),
    ] = Field(default_factory=dict)
    budgets: list[BudgetShape] = Field(default_factory=list)
    rules: Annotated[list[RuleShape], Field(max_length=MOST_RULES)] = Field(default_factory=list)


# -- reading a document ---------------------------------------------------------------------------


def read_policy(document: Document) -> tuple[PolicyShape | None, list[Fault]]:
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
    return Vocabulary(
        declared,
        tuple(name.strip() for name in names if isinstance(name, str)),
        "credit_price" in data,
        "latency_profile" in data,
    )


def _repeated_names(document: Document) -> list[Fault]:
    """Rules and budgets share their names, because findings are told by them."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    if not isinstance(document.data, dict):
        return faults
    for section in ("budgets", "rules"):
        items = document.data.get(section)
        for place, item in enumerate(items if isinstance(items, list) else ()):
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            where = document.where((section, place, "name"))
            if name.strip() in seen:
                hint = f"the other stands in {seen[name.strip()]}"
                faults.append(Fault("policy", f"the name `{name.strip()}` stands twice", where, "name", hint))
            seen.setdefault(name.strip(), where)
    return faults
