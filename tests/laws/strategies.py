"""Shared strategies: valid requests over the whole space, and the labels that go with them."""

from __future__ import annotations

from hypothesis import strategies as st

from planner.request import ASPECT_RATIOS, GENERATION_MODES, RESOLUTIONS, ModelCreateRequest

FACE = "https://example.com/face.png"

prompts = st.text(min_size=1, max_size=30).filter(lambda text: text.strip())
references = st.none() | st.sampled_from([FACE, "data:image/png;base64,iVBORw0KGgo="])


def requests() -> st.SearchStrategy[ModelCreateRequest]:
    """Every valid request, each field given or omitted."""
    return st.builds(
        ModelCreateRequest,
        prompt=prompts,
        image_reference=references,
        aspect_ratio=st.none() | st.sampled_from(ASPECT_RATIOS),
        face_reference=references,
        face_reference_mode=st.none() | st.sampled_from(["match_base", "match_reference"]),
        resolution=st.none() | st.sampled_from(RESOLUTIONS),
        generation_mode=st.none() | st.sampled_from(GENERATION_MODES),
        seed=st.none() | st.integers(0, 2**32 - 1),
        num_images=st.none() | st.integers(1, 4),
        output_format=st.none() | st.sampled_from(["png", "jpeg"]),
        return_base64=st.none() | st.booleans(),
    )
