"""What pydantic finds wrong with a file that people wrote, in the words of this product.

Here belong the way from a document to a checked shape and the faults with their file and line. What
may stand in a policy belongs to `document`, and in a suite to `suite`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from planner.errors import Fault, nearest
from policies.parsing import Place, Problem, plain


class Placed(Protocol):
    """Plain values, each of which knows its file and line."""

    @property
    def data(self) -> Any: ...

    def where(self, path: Sequence[str | int] = (), /) -> str: ...


class Shape(BaseModel):
    """What all shapes have in common: strict types, no unknown keys, no change once read."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


def refuse(message: str, hint: str = "", place: Place = ()) -> PydanticCustomError:
    """A fault at this value, or at a place below it."""
    return refuse_all([Problem(place, message, hint)])


def refuse_all(problems: Sequence[Problem]) -> PydanticCustomError:
    """Several faults at once, each at its place below this value."""
    return PydanticCustomError("problems", "see problems", {"problems": tuple(problems)})


ShapeT = TypeVar("ShapeT", bound=Shape)


def read_as(
    model: type[ShapeT], document: Placed, code: str, context: object = None
) -> tuple[ShapeT | None, list[Fault]]:
    """The document as that shape, or None and every fault of it, each under that code."""
    if not isinstance(document.data, dict):
        return None, [Fault(code, f"a {code} must be a mapping", document.where())]
    try:
        return model.model_validate(document.data, context=context), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        return None, [fault for item in found for fault in _faults(document, dict(item), model, code)]


def line_of(fault: Fault) -> int:
    """The line of a fault, to sort by."""
    return int(fault.where.rpartition(":")[2])


def _faults(document: Placed, item: dict[str, Any], model: type[BaseModel], code: str) -> list[Fault]:
    place: Place = tuple(item["loc"])
    context = item.get("ctx") or {}
    if item["type"] == "problems":
        return [
            Fault(code, problem.message, document.where((*place, *problem.place)), hint=problem.hint)
            for problem in context["problems"]
        ]
    message, hint = _message(item, place, context, model)
    return [Fault(code, message, document.where(place), hint=hint)]


def _message(
    item: dict[str, Any], place: Place, context: Mapping[str, Any], model: type[BaseModel]
) -> tuple[str, str]:
    last, given = str(place[-1]) if place else "", item.get("input")
    match item["type"]:
        case "extra_forbidden":
            known = keys_at(place[:-1], model)
            guess = nearest(last, known)
            hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(known)
            return f"`{last}` is not known here", hint
        case "missing":
            return f"`{last}` is missing", _MISSING.get(last, "")
        case "literal_error":
            allowed = context["expected"].replace("'", "")
            return f"`{plain(given)}` is not a value of `{last}`", f"use {allowed}"
        case kind:
            return f"`{plain(given)}` is not {_TYPES.get(kind, 'what may stand here')}", _HINTS.get(kind, "")


_MISSING: Final[Mapping[str, str]] = {
    "policy": "start with `policy: 1`",
    "otherwise": "say allow, deny or `{needs_approval: finance}`",
    "limit": "use `5000 credits`, `375 USD` or `{ecommerce: 5000, otherwise: 200}`",
    "per": "use hour, day, week, month, quarter, year or total",
    "verdict": "use allow, needs_approval or deny",
    "never": "say what must not be, such as `{verdict: allow, credits: {above: 24}}`",
}
_HINTS: Final[Mapping[str, str]] = {"bool_type": "write true or false"}
_TYPES: Final[Mapping[str, str]] = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "too_long": "a list that short",
}


def keys_at(place: Place, model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that a model takes at a place below it."""
    shape: Any = model
    for key in place:
        if isinstance(key, str):
            parts = getattr(
                shape.model_fields[key].annotation, "__args__", (shape.model_fields[key].annotation,)
            )
            shape = parts[0]
    return tuple(shape.model_fields)
