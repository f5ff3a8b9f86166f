"""The language of conditions: what may be asked of a request, as a tree.

Here belong the attributes and the shape of a condition. How one is read from a policy file belongs to
`parsing`; what an attribute's value is for a request belongs to `rules`; how many conditions are
answered at once belongs to `matching`. Conditions never read prompts or pictures.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal

from planner.request import CHOICES

Value = str | bool | int | Decimal | Fraction | None
Operator = Literal["above", "at_least", "below", "at_most"]

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "above": lambda value, bound: value > bound,
    "at_least": lambda value, bound: value >= bound,
    "below": lambda value, bound: value < bound,
    "at_most": lambda value, bound: value <= bound,
}
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class OneOf:
    """The attribute has one of these values."""

    attribute: str
    values: frozenset[Value]

    @property
    def column(self) -> str:
        return self.attribute

    def holds(self, value: Any) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Compare:
    """The attribute has a value, and it lies on that side of the bound."""

    attribute: str
    operator: Operator
    bound: Any

    @property
    def column(self) -> str:
        return self.attribute

    def holds(self, value: Any) -> bool:
        return value is not None and COMPARISONS[self.operator](value, self.bound)


@dataclass(frozen=True, slots=True)
class Between:
    """The minute of the local day lies in [start, end), across midnight where end is before start."""

    attribute: str
    start: int
    end: int

    @property
    def column(self) -> str:
        return self.attribute

    def holds(self, value: int | None) -> bool:
        if value is None:
            return False
        if self.start < self.end:
            return self.start <= value < self.end
        return value >= self.start or value < self.end


@dataclass(frozen=True, slots=True)
class Sent:
    """The field was sent, or the label was given."""

    attribute: str

    @property
    def column(self) -> str:
        return SENT + self.attribute

    def holds(self, value: bool) -> bool:
        return value


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple[Condition, ...]


Leaf = OneOf | Compare | Between | Sent
Condition = Leaf | Not | AllOf | AnyOf

SENT: Final = "sent "
"""What the name of a column starts with that says whether an attribute was sent."""
USED: Final = "used "
"""What the name of an attribute starts with that is the used share of a budget."""


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Every test in a condition, from left to right."""
    match condition:
        case Not(inner):
            yield from leaves(inner)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case _:
            yield condition


class Kind(StrEnum):
    """What kind of values an attribute has, and so which operators go with it."""

    CHOICE = "choice"
    RANKED = "ranked"
    TEXT = "text"
    FLAG = "flag"
    COUNT = "count"
    USD = "usd"
    SECONDS = "seconds"
    SHARE = "share"
    REFERENCE = "reference"
    TIME = "time"


ORDERED: Final = (Kind.RANKED, Kind.COUNT, Kind.USD, Kind.SECONDS, Kind.SHARE)
_NEVER_ABSENT: Final = ("credits", "usd", "seconds", "time", "weekday", "verdict")


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something a condition may read."""

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    """All values of a choice, lowest first where they are ranked."""

    @property
    def can_be_absent(self) -> bool:
        return self.name not in _NEVER_ABSENT and self.kind is not Kind.SHARE

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that go with it, as a hint lists them."""
        if self.kind is Kind.REFERENCE:
            return ("present", "absent")
        span = ("from and to",) if self.kind is Kind.TIME else ("a value", "a list")
        ordered = tuple(COMPARISONS) if self.kind in ORDERED else ()
        presence = ("present", "absent") if self.can_be_absent else ()
        return (*span, "not", *ordered, *presence, "any", "all")


FIELD_ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    "aspect_ratio": Attribute("aspect_ratio", Kind.CHOICE, CHOICES["aspect_ratio"]),
    "face_reference": Attribute("face_reference", Kind.REFERENCE),
    "face_reference_mode": Attribute("face_reference_mode", Kind.CHOICE, CHOICES["face_reference_mode"]),
    "generation_mode": Attribute("generation_mode", Kind.RANKED, CHOICES["generation_mode"]),
    "image_reference": Attribute("image_reference", Kind.REFERENCE),
    "num_images": Attribute("num_images", Kind.COUNT),
    "output_format": Attribute("output_format", Kind.CHOICE, CHOICES["output_format"]),
    "resolution": Attribute("resolution", Kind.RANKED, CHOICES["resolution"]),
    "return_base64": Attribute("return_base64", Kind.FLAG),
    "seed": Attribute("seed", Kind.COUNT),
}
DERIVED_ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    "credits": Attribute("credits", Kind.COUNT),
    "usd": Attribute("usd", Kind.USD),
    "seconds": Attribute("seconds", Kind.SECONDS),
    "time": Attribute("time", Kind.TIME),
    "weekday": Attribute("weekday", Kind.CHOICE, WEEKDAYS),
}
VERDICT: Final = Attribute("verdict", Kind.CHOICE, ("allow", "needs_approval", "deny"))
"""What came of the request, which only a guarantee may ask."""
COMBINERS: Final = ("any", "all", "not")
RESERVED: Final = (
    *FIELD_ATTRIBUTES, *DERIVED_ATTRIBUTES, *COMBINERS, "used", "verdict", "prompt", "otherwise", "key",
)  # fmt: skip
"""Names that a label cannot have, because a condition or a workload could not tell them apart."""


@dataclass(frozen=True, slots=True)
class Named:
    """A condition that others call by its name, measured so that names cannot make a small file large."""

    condition: Condition
    reads: frozenset[str]
    """Whether it asks `used` or `verdict`, which not every place may."""
    tests: int
    """How many tests of attributes it comes to."""
    depth: int
    """How deep it nests."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the conditions of one policy may speak of."""

    labels: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    """The declared labels; None where any value may stand."""
    budgets: tuple[str, ...] = ()
    priced: bool = False
    """Whether the policy says what a credit costs, so that `usd` can be read."""
    timed: bool = False
    """Whether the policy names a latency profile, so that `seconds` can be read."""
    named: Mapping[str, Named | None] = field(default_factory=dict)
    """The conditions that have a name; None for one that is faulty, which is told where it stands."""

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of that name, or None."""
        if name in self.labels:
            values = self.labels[name]
            return Attribute(name, Kind.TEXT) if values is None else Attribute(name, Kind.CHOICE, values)
        return FIELD_ATTRIBUTES.get(name) or DERIVED_ATTRIBUTES.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        return (*FIELD_ATTRIBUTES, *DERIVED_ATTRIBUTES, *self.labels, "used", *COMBINERS)


def label_text(data: Any) -> str:
    """A label's text, trimmed and NFC-normalised, its case kept; empty for what is no text.

    >>> label_text("  Cafe\u0301 "), label_text(2026), label_text(True)
    ('Café', '2026', '')
    """
    if type(data) is int:
        return str(data)
    return _normalised(data) if isinstance(data, str) else ""


@lru_cache(maxsize=4096)
def _normalised(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
