"""What may be asked of the stand-in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.server.sandbox.answers import Refused
from policies.server.sandbox.request import RATIOS, Settings, check_webhook, read

URL = "https://example.com/face.png"
DATA = "data:image/png;base64,iVBORw0KGgo="

GOOD = [
    *({"aspect_ratio": ratio} for ratio in RATIOS),
    *({"resolution": tier} for tier in ("1k", "2k", "4k")),
    *({"generation_mode": mode} for mode in ("fast", "balanced", "quality")),
    *({"num_images": count} for count in (1, 4)),
    *({"seed": seed} for seed in (0, 2**32 - 1)),
    *({"output_format": kind} for kind in ("png", "jpeg")),
    *({"return_base64": flag} for flag in (True, False)),
    *({name: image} for name in ("face_reference", "image_reference") for image in (URL, DATA)),
    *({"face_reference_mode": mode} for mode in ("match_base", "match_reference")),
]

BAD = [
    ("prompt", ["", "  \n", 3, None, ["x"]]),
    ("aspect_ratio", ["16:09", "2:1", 1.0, None]),
    ("resolution", ["2K", "8k", 2, None]),
    ("generation_mode", ["Fast", "turbo", "", None]),
    ("seed", [-1, 2**32, 1.0, "42", True, None]),
    ("num_images", [0, 5, 2.0, "2", True, None]),
    ("output_format", ["jpg", "PNG", None]),
    ("return_base64", [1, "true", None]),
    ("face_reference_mode", ["match", None]),
    (
        "face_reference",
        ["", "iVBORw0KGgo=", "ftp://example.com/a.png", "https://", "data:text/plain;base64,eA==", 1],
    ),
    ("image_reference", ["face.png", "http:///a.png", "data:image/png,xx", "http://[", None]),
    ("turbo_boost", [1]),
]


@pytest.mark.parametrize("inputs", GOOD, ids=str)
def test_every_documented_value_is_taken(inputs, body):
    """Each documented value, limits of ranges included, is a valid request."""
    assert isinstance(read(body(**inputs)).settings, Settings)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD for value in values], ids=repr
)
def test_everything_else_is_refused(name, value, body):
    """A value outside the documents is a BadRequest that names its input."""
    with pytest.raises(Refused) as refused:
        read(body(**{name: value}))
    assert refused.value.name == "BadRequest"
    assert name in refused.value.message


def test_all_that_is_wrong_is_said_at_once(body):
    """Several wrong inputs are one answer."""
    with pytest.raises(Refused, match=r"turbo.*resolution.*num_images"):
        read(body(turbo=1, resolution="8k", num_images=9))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        b"{}",
        b'{"model_name": "model-create"}',
        b'{"model_name": "model-create", "inputs": []}',
        b'{"model_name": "model-create", "inputs": {}}',
        b'{"model_name": "tryon-v1.6", "inputs": {"prompt": "x"}}',
        b'{"model_name": "model-create", "inputs": {"prompt": "x"}, "num_images": 4}',
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_a_body_of_another_shape_is_refused(raw):
    """Not JSON, not an object, another model, or no inputs: BadRequest each time."""
    with pytest.raises(Refused, match="BadRequest"):
        read(raw)


@given(st.binary(max_size=60) | st.text(max_size=20).map(json.dumps).map(str.encode))
def test_no_body_brings_it_down(raw):
    """Bytes that are no request are refused, whatever they are, and nothing else is raised."""
    with pytest.raises(Refused, match="BadRequest"):
        read(raw)


def test_defaults_are_those_of_the_documents(body):
    """An omitted input is its documented default; an omitted mode stays open, for the price to decide."""
    assert read(body()).settings == Settings(
        mode=None,
        resolution="1k",
        ratio="1:1",
        seed=42,
        images=1,
        output_format="png",
        private=False,
        face=False,
        reference=False,
    )


def test_a_reference_decides_the_ratio_unless_one_is_given(body):
    """The output inherits the ratio of a reference, and `aspect_ratio` overrides it."""
    inherited = {read(body(image_reference=f"{URL}?{n}")).settings.ratio for n in range(40)}
    assert len(inherited) > 3
    assert read(body(image_reference=URL, aspect_ratio="9:16")).settings.ratio == "9:16"


def test_a_face_caps_the_output_at_2k(body):
    """4k with a face is delivered at 2k; without one, and at 1k, nothing is capped."""
    assert read(body(resolution="4k", face_reference=URL)).settings.delivered == "2k"
    assert read(body(resolution="4k")).settings.delivered == "4k"
    assert read(body(face_reference=URL)).settings.delivered == "1k"


def test_nothing_written_or_uploaded_is_kept(body):
    """Of prompt and references nothing remains in what is kept of a request."""
    kept = repr(read(body(prompt="a secret launch", face_reference=URL, image_reference=DATA)))
    assert "secret" not in kept
    assert "example.com" not in kept
    assert "iVBOR" not in kept


def test_equal_inputs_have_equal_digests():
    """The order of inputs does not matter to the digest, their values do."""
    one, same, other = (
        read(f'{{"model_name": "model-create", "inputs": {inputs}}}'.encode()).digest
        for inputs in (
            '{"prompt": "x", "seed": 1}',
            '{"seed":1,"prompt":"x"}',
            '{"prompt": "x", "seed": 2}',
        )
    )
    assert one == same != other


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "http://127.0.0.1.example.com/",
        "http://10.0.0.1/",
        "file:///etc/hosts",
        "",
        "http://[",
    ],
)
def test_a_webhook_elsewhere_is_refused(url):
    """The stand-in calls nobody but this machine."""
    with pytest.raises(Refused, match="loopback"):
        check_webhook(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://localhost/x", "https://[::1]:8443/"])
def test_a_webhook_on_this_machine_is_taken(url):
    """Loopback addresses of either family are fine."""
    check_webhook(url)
