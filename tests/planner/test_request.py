"""What is a request: every input by its rule, however it is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from planner.errors import InvalidRequest
from planner.request import CHOICES, FIELDS, ModelCreateRequest, is_text, parse_request

IMAGES = ["https://example.com/a.png", "data:image/png;base64,AA=="]
ODD: list[Any] = [
    *(None, True, False, 0, 1, 4, 5, -1, 2**32 - 1, 2**32, 1.0, b"x", [], ["1k"], {}),
    *("", " ", "x", "Größe", "\ud800", "1k", "1K", "png"),
    *("http://a", "ftp://a", "data:image/png,AA==", *IMAGES),
]
"""Values that are right for some input, wrong for all of them, or equal to a right one of another type."""
RIGHT: dict[str, list[Any]] = {
    "prompt": ["x", "Größe 38"],
    "image_reference": IMAGES,
    "face_reference": IMAGES,
    **{field: list(choices) for field, choices in CHOICES.items()},
    "seed": [0, 42, 2**32 - 1],
    "num_images": [1, 4],
    "return_base64": [True, False],
}
right = st.fixed_dictionaries({}, optional={field: st.sampled_from(RIGHT[field]) for field in FIELDS})
odd = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD), max_size=2)


def is_right(field: str, value: Any) -> bool:
    """The table of inputs in the documentation, line by line."""
    if value is None:
        return field != "prompt"
    match field:
        case "prompt":
            return isinstance(value, str) and is_text(value) and bool(value.strip())
        case "image_reference" | "face_reference":
            starts = ("https://", "http://", "data:image/png;base64,")
            return isinstance(value, str) and value.startswith(starts)
        case "seed":
            return type(value) is int and 0 <= value <= 4294967295
        case "num_images":
            return type(value) is int and value in (1, 2, 3, 4)
        case "return_base64":
            return value is True or value is False
        case _:
            return isinstance(value, str) and value in CHOICES[field]


@settings(max_examples=300)
@given(right, odd, st.sampled_from([{}, {}, {}, {"colour": "red"}]))
def test_a_request_is_refused_for_exactly_its_wrong_inputs(
    plain: dict[str, Any], odd: dict[str, Any], strange: dict[str, Any]
) -> None:
    """The quick look and the long one say the same: each wrong input has one fault, and a right one none."""
    inputs = {**plain, **odd}
    wrong = {field for field, value in inputs.items() if not is_right(field, value)}
    wrong |= strange.keys() | ({"prompt"} - inputs.keys())
    event("wrong" if wrong else "right")
    if wrong:
        with pytest.raises(InvalidRequest) as raised:
            parse_request({**inputs, **strange})
        assert sorted(fault.field or "" for fault in raised.value.faults) == sorted(wrong)
        return
    request = parse_request(inputs)
    assert request == ModelCreateRequest(**inputs)
    assert list(request.__dict__) == list(FIELDS)
    assert request.inputs() == {field: inputs[field] for field in FIELDS if inputs.get(field) is not None}


def test_a_request_may_be_a_mapping_or_json() -> None:
    """A text and its bytes are read, a request is itself, and what is neither is refused."""
    asked = {"prompt": "x", "num_images": 2}
    request = parse_request(asked)
    assert parse_request(request) is request
    assert parse_request(json.dumps(asked)) == parse_request(json.dumps(asked).encode()) == request
    for other in ("", "[]", b"{", "null", "[" * 100_000, 7, None, [asked]):
        with pytest.raises(InvalidRequest, match="not a JSON object"):
            parse_request(other)  # type: ignore[arg-type]


def test_what_was_given_is_not_changed() -> None:
    """A request takes the values out of a mapping and leaves it as it is."""
    asked = {"prompt": "x", "seed": None}
    request = parse_request(asked)
    asked["prompt"] = "y"
    assert (request.prompt, asked) == ("x", {"prompt": "y", "seed": None})
