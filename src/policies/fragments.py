"""Pieces of the JSON Schema of a policy file, for the values that have a reader of their own.

Here belongs what an editor is told of them. What is right in the end is decided by `values` and
`actions`; the language of conditions is described by `schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from planner.request import CHOICES, FIELDS, OPEN_FIELDS
from planner.rungs import LADDERS


def _mapping(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """A mapping with these keys and no others."""
    shape: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**shape, "required": list(required)} if required else shape


def _any(*ways: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(ways)}


TEXT: Final = {"type": "string"}
TEXTS: Final = {"type": "array", "items": TEXT}
PROFILE: Final = _any(TEXT, {"type": "object", "required": ["profile", "seconds"]}, {"type": "null"})
PRICE: Final = {"type": ["string", "number"]}
SHARE: Final = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"}
AMOUNT: Final = {"type": ["string", "integer"], "examples": ["5000 credits", "375 USD"]}
LIMIT: Final = _any(AMOUNT, {"type": "object", "additionalProperties": AMOUNT})
LABELS: Final = {
    "type": "object",
    "additionalProperties": _any({"const": "any"}, {"type": "array", "minItems": 1}),
}
CONDITION: Final = {"$comment": "replaced by `schema`, which knows the language"}
CONDITIONS: Final = {"type": "object", "additionalProperties": CONDITION}
REPLACES: Final = _any({"const": True}, TEXT)
OTHER_MODELS: Final = _mapping({"hold": AMOUNT}, "hold")

REASON: Final = _any(TEXT, {"const": True})
REWRITE: Final = {
    **_mapping(
        {name: {"const": "absent"} if name in OPEN_FIELDS else {} for name in FIELDS if name != "prompt"}
        | {name: {"enum": [*values, "absent"]} for name, values in CHOICES.items()}
    ),
    "minProperties": 1,
}
_GO_DOWN: Final = {
    "give_up_in_order": {
        "type": "array",
        "items": {"enum": list(LADDERS)},
        "minItems": 1,
        "uniqueItems": True,
    },
    "floor": _mapping({name: {"enum": list(ladder)} for name, ladder in LADDERS.items()}),
}
DOWNGRADE: Final = _mapping({"at_most": AMOUNT, **_GO_DOWN}, "at_most", "give_up_in_order")
_APPROVAL: Final = _any(
    {"type": "string", "pattern": "^needs_approval:"}, _mapping({"needs_approval": TEXT}, "needs_approval")
)
OTHERWISE: Final = _any({"enum": ["allow", "deny"]}, _APPROVAL)
EXHAUSTED: Final = _any(
    {"const": "deny"}, _APPROVAL, _mapping({"downgrade": _mapping(_GO_DOWN, "give_up_in_order")}, "downgrade")
)
