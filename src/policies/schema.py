"""JSON Schemas of policies and suites, for editors.

Here belongs what pydantic cannot derive from the shapes: the language of conditions. A schema helps
while somebody types; what is right in the end is decided by reading the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from policies.conditions import (
    COMPARISONS,
    DERIVED_ATTRIBUTES,
    FIELD_ATTRIBUTES,
    ORDERED,
    VERDICT,
    Attribute,
    Kind,
)
from policies.document import PolicyShape
from policies.shapes import Shape
from policies.suite import SuiteShape

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file.

    >>> policy_schema()["required"]
    ['policy', 'name']
    """
    schema = _schema(PolicyShape)
    definitions = schema["$defs"]
    definitions |= {**_condition("Condition"), **_condition("Guarantee", judged=True)}
    definitions["RuleShape"]["properties"]["when"] = _CONDITION
    definitions["BudgetShape"]["properties"]["applies_to"] = _CONDITION
    definitions["GuaranteeShape"]["properties"]["never"] = _GUARANTEE
    schema["properties"]["conditions"]["additionalProperties"] = _GUARANTEE
    schema["required"].remove("otherwise")
    schema["anyOf"] = [{"required": ["otherwise"]}, {"required": ["extends"]}]
    return schema


_CONDITION: Final = {"$ref": "#/$defs/Condition"}
_GUARANTEE: Final = {"$ref": "#/$defs/Guarantee"}


def suite_schema() -> dict[str, Any]:
    """The JSON Schema of a suite.

    >>> suite_schema()["required"]
    ['suite', 'cases']
    """
    return _schema(SuiteShape)


def _schema(shape: type[Shape]) -> dict[str, Any]:
    return {"$schema": DRAFT, **shape.model_json_schema()}


def _condition(name: str, judged: bool = False) -> dict[str, Any]:
    """The name of a condition, or a mapping from attributes to tests; what is none of ours is a label."""
    inner = {"$ref": f"#/$defs/{name}"}
    several = {"type": "array", "minItems": 1, "items": inner}
    attributes = (*FIELD_ATTRIBUTES.values(), *DERIVED_ATTRIBUTES.values())
    share = _test(Attribute("used", Kind.SHARE))
    mapping = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "any": several,
            "all": several,
            "not": inner,
            "used": {"type": "object", "additionalProperties": share},
            VERDICT.name: judged and _test(VERDICT),
            **{attribute.name: _test(attribute) for attribute in attributes},
        },
        "additionalProperties": _test(Attribute("a label", Kind.TEXT)),
    }
    named = {"type": "string", "description": "the name of a condition"}
    return {name: {"anyOf": [named, {"$ref": f"#/$defs/{name}Tests"}]}, f"{name}Tests": mapping}


def _test(attribute: Attribute) -> dict[str, Any]:
    value = _value(attribute)
    operators = dict.fromkeys(COMPARISONS, value) if attribute.kind in ORDERED else {}
    if attribute.kind is Kind.TIME:
        operators = {"from": {"type": "string"}, "to": {"type": "string"}}
    nested = {"not": {}, "any": {"type": "array"}, "all": {"type": "array"}}
    operation = {"type": "object", "properties": {**operators, **nested}, "additionalProperties": False}
    presence = [{"enum": ["present", "absent"]}] if attribute.can_be_absent else []
    plain = (
        [] if attribute.kind in (Kind.REFERENCE, Kind.TIME) else [value, {"type": "array", "items": value}]
    )
    return {"anyOf": [*presence, *plain, operation]}


_VALUES: Final[Mapping[Kind, Mapping[str, Any]]] = {
    Kind.TEXT: {"type": ["string", "integer"]},
    Kind.FLAG: {"type": "boolean"},
    Kind.COUNT: {"type": "integer"},
    Kind.USD: {"type": "number"},
    Kind.SECONDS: {"type": "number"},
    Kind.SHARE: {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"},
}


def _value(attribute: Attribute) -> dict[str, Any]:
    if attribute.values:
        return {"enum": list(attribute.values)}
    return dict(_VALUES.get(attribute.kind, {}))
