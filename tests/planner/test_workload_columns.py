"""Which columns are inputs, which are slips of the keyboard, and which are names of their own."""

from __future__ import annotations

import pytest

from planner.columns import input_name, nearly_input, read_columns
from planner.request import FIELDS


@pytest.mark.parametrize("field", FIELDS)
def test_an_input_is_known_in_any_case_and_with_any_gaps(field):
    """Case, spaces, hyphens and missing gaps do not matter."""
    words = field.split("_")
    for name in (field.upper(), " ".join(words) + " ", "-".join(words), "".join(words).title(), f"\t{field}"):
        assert input_name(name) == field


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("resolutoin", "resolution"), ("Resoluton", "resolution"), ("resolutions", "resolution"),
        ("num_image", "num_images"), ("Num Imgaes", "num_images"), ("nun_images", "num_images"),
        ("aspekt_ratio", "aspect_ratio"), ("aspect_ration", "aspect_ratio"), ("seeds", "seed"),
        ("sede", "seed"), ("promt", "prompt"), ("Prompts", "prompt"), ("pormpt", "prompt"),
        ("face_referense", "face_reference"), ("face_refrence", "face_reference"),
        ("image_refrence", "image_reference"), ("genration_mode", "generation_mode"),
        ("face_reference_mod", "face_reference_mode"), ("output_fromat", "output_format"),
        ("retrun_base64", "return_base64"),
    ],
)  # fmt: skip
def test_a_slip_of_the_keyboard_is_recognised(slip, meant):
    """A name within two slips of an input is that input misspelled."""
    assert nearly_input(slip) == meant


@pytest.mark.parametrize(
    "name",
    [
        "sku", "team", "stage", "campaign", "Notiz", "turbo_boost", "model", "mode", "format", "ratio",
        "size", "image", "images", "face", "reference", "quality", "speed", "send", "seen", "need", "season",
        "feed", "notes", "prompt_de", "prompt2", "prompt_id", "seed_note", "resolution_note", "revolver",
        "base_reference", "file reference", "place_reference", "page_reference", "pose_reference", "output",
        "return", "count",
        "generation", "key2", "id", "name", "status", "num", "region", "solution", "aspect", "color", "",
    ],
)  # fmt: skip
def test_an_honest_name_is_a_label(name):
    """Names that people really give to columns are not taken for misspelled inputs."""
    assert nearly_input(name) is None
    assert input_name(name) is None


def test_two_columns_that_mean_the_same_are_a_fault():
    """For inputs, for the key and for labels alike: which of them counts would be a guess."""
    _, faults = read_columns(["Prompt", "prompt ", "key", "KEY", "team", "Team", "num-images", "Num Images"])
    assert [fault.code for fault in faults] == ["duplicate_column"] * 4
    assert [fault.field for fault in faults] == ["prompt", "key", None, "num_images"]


@pytest.mark.parametrize(
    ("names", "hint"),
    [(["team", "pormpt"], "did you mean `prompt`?"), (["sku"], "name one column `prompt`"),
     (["prompt_text"], "is it `prompt_text`?")],
)  # fmt: skip
def test_a_file_needs_a_prompt(names, hint):
    """A missing prompt column is one fault, with the column that was probably meant."""
    _, (fault,) = read_columns(names)
    assert (fault.field, fault.hint) == ("prompt", hint)


def test_an_input_cannot_be_the_key():
    """`--key-column seed` would make two pictures one job."""
    _, faults = read_columns(["prompt", "seed"], key_column="Seed")
    assert [fault.field for fault in faults] == ["key"]


def test_a_fault_quotes_a_column_on_one_short_line():
    """What stands in a header cell cannot break the line or the terminal."""
    _, faults = read_columns(["prompt", "Team\n\x1b[31m" + "x" * 99, "team  [31m" + "x" * 99, "resolutoin\n"])
    assert all("\n" not in str(fault) and "\x1b" not in str(fault) for fault in faults)
    assert any(fault.field == "resolution" for fault in faults)
