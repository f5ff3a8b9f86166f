"""Bodies and canonical forms are the JSON they are said to be, also where megabytes go as they stand."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from planner.request import DEFAULTS, MODEL_NAME, ModelCreateRequest, canonical

# Around the length from which a text is looked at as a whole, with letters that JSON escapes or does not.
LENGTHS = st.sampled_from([0, 1, 4090, 4096, 5000])
LETTERS = st.text(st.sampled_from('aZ09+/=~ "\\\t\n\x00\x7fé\u2028😀'), max_size=4)
LONG = st.builds(lambda length, few: "A" * length + few, LENGTHS, LETTERS)


def dumped(value: Any, **options: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), **options).encode()


@given(LONG, LONG, st.sampled_from([None, "2k"]), st.sampled_from([None, False, True]))
def test_long_texts_are_the_same_json(
    prompt: str, picture: str, resolution: Any, return_base64: bool | None
) -> None:
    """However long a prompt or a picture is, the bytes are those of the standard library's encoder."""
    face = f"data:image/png;base64,{picture}"
    request = ModelCreateRequest(
        f"x{prompt}", face_reference=face, resolution=resolution, return_base64=return_base64
    )
    assert request.body() == dumped({"model_name": MODEL_NAME, "inputs": request.inputs()})
    assert canonical(request) == b"f1:" + dumped({**DEFAULTS, **request.inputs()}, sort_keys=True)
