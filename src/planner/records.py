"""One JSON object of a JSON-lines workload, taken apart: inputs, key, labels, the user's own texts.

Here belongs where things may stand in such an object. What its inputs mean belongs to `cells`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.columns import column_name, read_columns, shown
from planner.errors import Fault
from planner.request import FIELDS


@dataclass(frozen=True, slots=True, repr=False)
class ObjectParts:
    """The parts of one JSON object."""

    inputs: Mapping[str, Any]
    """By the names of the request's fields, typed as JSON."""
    key: str
    names: list[str]
    texts: list[str]
    """Everything else that stands in the object, and all of the above again, as text."""
    labels: list[tuple[str, int]]
    """The name of each label and its place in `texts`."""
    faults: list[Fault]
    """What is wrong with the names; what is wrong with the inputs, or missing, is found by `cells`."""


def read_object(found: Mapping[str, Any], key_column: str | None = None) -> ObjectParts:
    """The parts of an object; inputs may stand in it or in its `request`, labels in it or in its `labels`.

    >>> parts = read_object({"Prompt": "x", "numImages": 2, "labels": {"Team": "social"}, "sku": 7})
    >>> parts.inputs, [(name, parts.texts[place]) for name, place in parts.labels]
    ({'prompt': 'x', 'num_images': 2}, [('sku', '7'), ('team', 'social')])
    """
    flat = dict(found)
    request, nested = _take(flat, "request"), _take(flat, "labels")
    columns, faults = read_columns([*flat], key_column)
    values = [*flat.values()]
    faults = [fault for fault in faults if (fault.code, fault.field) != ("missing_column", "prompt")]
    key = None if columns.key is None else values[columns.key]
    if isinstance(key, (list, dict)):
        faults.append(Fault("invalid_value", "the key is not text", field="key", hint="use text or a number"))
    inputs = {field: values[place] for field, place in columns.inputs.items()}
    known = [name for name, _ in columns.labels] + [column_name(name) for name in nested]
    faults += [_twice(name) for name in sorted(set(known)) if known.count(name) > 1]
    faults += [_twice(field) for field in inputs if field in request]
    start = len(flat) + len(request)
    labels = [label for label in columns.labels if not isinstance(values[label[1]], (list, dict))]
    labels += [(column_name(name), start + place) for place, name in enumerate(nested)]
    everything = [*flat.items(), *request.items(), *nested.items()]
    return ObjectParts(
        inputs=request | inputs,
        key=_text(key),
        names=[name for name, _ in everything],
        texts=[_text(value) for _, value in everything],
        labels=labels,
        faults=faults,
    )


def _take(flat: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under a name, taken out; anything else under that name is a column like others."""
    return flat.pop(name) if isinstance(flat.get(name), dict) else {}


def _twice(name: str) -> Fault:
    message = f"`{shown(name)}` stands twice"
    return Fault(
        "duplicate_column", message, field=name if name in FIELDS else None, hint="keep one of the two"
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
