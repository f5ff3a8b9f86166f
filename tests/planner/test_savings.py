"""Cheaper ways to the same pictures: every saving is the difference of two quotes, none counted twice."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.prices import PriceBook
from planner.quoting import price_cell, quote
from planner.request import GENERATION_MODES, RESOLUTIONS, ModelCreateRequest, fingerprint
from planner.savings import BALANCED, CAPPED, OMITTED, REPEATED, SMALLER, find_savings

BOOK = shipped_prices()
ENTRY = BOOK.entry_at()
FACE = "https://assets.example.com/face.png"

requests = st.builds(
    ModelCreateRequest,
    prompt=st.sampled_from(["linen dress", "camel coat"]),
    resolution=st.sampled_from([None, *RESOLUTIONS]),
    generation_mode=st.sampled_from([None, *GENERATION_MODES]),
    face_reference=st.sampled_from([None, FACE]),
    num_images=st.sampled_from([None, 1, 2, 3, 4]),
    seed=st.sampled_from([None, 42, 7]),
)


def found_in(workload, entry=ENTRY):
    """The savings of a list of requests, counted into cells as a workload file is."""
    jobs, repeated, seen = Counter(), Counter(), set()
    for request in workload:
        cell = price_cell(request)
        jobs[cell] += 1
        repeated[cell] += fingerprint(request) in seen
        seen.add(fingerprint(request))
    return {saving.what: saving for saving in find_savings(jobs, repeated, entry)}


def changed(request, **fields):
    return ModelCreateRequest(**{**request.inputs(), **fields})


FACE_4K = {"resolution": "4k", "face_reference": FACE}


@pytest.mark.parametrize(
    ("fields", "credits_saved"),
    [
        ({**FACE_4K, "generation_mode": "fast"}, {CAPPED: 1}),
        ({**FACE_4K, "generation_mode": "quality", "num_images": 4}, {CAPPED: 4, BALANCED: 4}),
        ({"resolution": "2k"}, {OMITTED: 2, BALANCED: 1}),
        ({"resolution": "4k", "num_images": 3}, {OMITTED: 6, BALANCED: 3, SMALLER: 3}),
        ({"resolution": "4k", "generation_mode": "balanced"}, {SMALLER: 1}),
    ],
)
def test_each_kind_saves_what_the_price_book_says(fields, credits_saved):
    """One row of each kind, with the credits a reader can check against the published table."""
    found = found_in([ModelCreateRequest(prompt="x", **fields)])
    assert {what: saving.credits_saved for what, saving in found.items()} == credits_saved
    assert all(saving.jobs == 1 for saving in found.values())
    assert all(saving.same_picture is (what == CAPPED) for what, saving in found.items())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"resolution": "4k", "generation_mode": "quality"},
        {"resolution": "2k", "generation_mode": "balanced", "face_reference": FACE},
        {"generation_mode": "quality", "num_images": 4},
    ],
)
def test_what_is_asked_for_on_purpose_is_no_free_gain(fields):
    """A mode that is written out, 4k without a face and 1k have no cheaper way to the same picture."""
    found = found_in([ModelCreateRequest(prompt="x", **fields)])
    assert not any(saving.same_picture for saving in found.values())
    assert OMITTED not in found


def test_a_default_written_out_is_the_same_picture():
    """The second row says what the first one leaves out, so its whole price is saved."""
    rows = [
        ModelCreateRequest(prompt="x", generation_mode="quality"),
        ModelCreateRequest(prompt="x", generation_mode="quality", seed=42, resolution="1k", num_images=1),
    ]
    saving = found_in(rows)[REPEATED]
    assert (saving.jobs, saving.credits_saved, saving.same_picture) == (1, 3, True)


def test_another_seed_is_another_picture():
    """Rows that differ in their seed alone are no repetition."""
    assert found_in([ModelCreateRequest(prompt="x", seed=seed) for seed in (1, 2, 3)]) == {}


def test_a_request_that_stands_five_times_is_asked_for_four_times_too_often():
    """All but the first of the same requests are saved, whatever else they could save."""
    found = found_in([ModelCreateRequest(prompt="x", resolution="4k", generation_mode="balanced")] * 5)
    assert (found[REPEATED].jobs, found[REPEATED].credits_saved) == (4, 16)
    assert (found[SMALLER].jobs, found[SMALLER].credits_saved) == (1, 1)


@given(st.lists(requests, max_size=30))
def test_every_saving_is_quoted_again_and_none_is_counted_twice(workload):
    """The changes to the same picture one after the other, then each other one alone, save what was found."""
    expected = dict.fromkeys((REPEATED, CAPPED, OMITTED, BALANCED, SMALLER), 0)
    seen = set()
    for request in workload:
        before = quote(request, BOOK).credits
        if fingerprint(request) in seen:
            expected[REPEATED] += before
            continue
        seen.add(fingerprint(request))
        if request.resolution == "4k" and request.face_reference:
            request = changed(request, resolution="2k")
        capped = quote(request, BOOK).credits
        expected[CAPPED] += before - capped
        if request.generation_mode is None:
            expected[OMITTED] += capped - quote(changed(request, generation_mode="fast"), BOOK).credits
        if quote(request, BOOK).billed_mode == "quality":
            expected[BALANCED] += capped - quote(changed(request, generation_mode="balanced"), BOOK).credits
        if request.resolution == "4k":
            expected[SMALLER] += capped - quote(changed(request, resolution="2k"), BOOK).credits
    found = found_in(workload)
    assert {what: saving.credits_saved for what, saving in found.items()} == {
        what: credits for what, credits in expected.items() if credits
    }


def test_prices_come_from_the_book_at_the_instant():
    """When 2k costs more than 4k and an omitted mode is billed as fast, nothing is left to save."""
    later = replace(
        ENTRY,
        start=datetime(2027, 1, 1, tzinfo=UTC),
        credits={mode: {"1k": 1, "2k": 9, "4k": 2} for mode in GENERATION_MODES},
        omitted_mode=dict.fromkeys(RESOLUTIONS, "fast"),
    )
    book = PriceBook([replace(ENTRY, end=later.start), later], BOOK.checked_at)
    request = ModelCreateRequest(prompt="x", resolution="4k", face_reference=FACE)
    for at, kinds in ((None, [CAPPED, OMITTED, BALANCED]), (later.start, [])):
        assert list(found_in([request], book.entry_at(at))) == kinds


def test_the_plan_document_gets_its_fields():
    """An item of `savings` has exactly the documented fields."""
    saving = found_in([ModelCreateRequest(prompt="x", resolution="2k")])[OMITTED]
    assert saving.as_json() == {
        "what": OMITTED,
        "jobs": 1,
        "credits_saved": 2,
        "same_picture": False,
        "name": "omitted-mode",
    }
