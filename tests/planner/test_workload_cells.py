"""What cells mean: repairs by type, and the memo that must never change an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cells import (
    NO_FOLDER,
    RowReader,
    checked_request,
    identity,
    read_cell,
    read_record,
    read_request,
    request_of,
)
from planner.columns import read_columns
from planner.errors import InvalidRequest
from planner.quoting import price_cell
from planner.request import ASPECT_RATIOS, FIELDS, canonical, parse_request
from tests.planner.workload_examples import REFERENCES, requests


@pytest.mark.parametrize("ratio", ASPECT_RATIOS)
def test_every_ratio_is_read_back_from_every_clock_time(ratio):
    """With or without seconds and leading zeros, and on a clock of twelve hours."""
    hour, minute = map(int, ratio.split(":"))
    noon = "PM" if hour >= 12 else "am"
    times = [f"{hour:02}:{minute:02}", f"{hour:02}:{minute:02}:00", f"{hour}:{minute:02}:00",
             f"{(hour - 1) % 12 + 1}:{minute:02} {noon}", f" {hour:02}:{minute}"]  # fmt: skip
    assert [read_cell("aspect_ratio", time)[0] for time in times] == [ratio] * 5
    assert read_cell("aspect_ratio", ratio) == (ratio, None)


@pytest.mark.parametrize("text", ["16:09:30", "07:05", "1:1:1", "16.9", "00:16:09", "4:09 AM"])
def test_another_time_is_no_ratio(text):
    """Only the ten times that stand for a ratio are read back."""
    assert read_cell("aspect_ratio", text) == (text, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("2", 2), ("2.0", 2), ("2.00", 2), (" 2 ", 2), ("02", 2), ("-1", -1), ("1.5", "1.5"), ("1.000", "1.000"),
     ("1,0", "1,0"), ("1e3", "1e3"), ("two", "two"), ("9" * 5000, "9" * 5000), ("٣", "٣")],
)  # fmt: skip
def test_whole_numbers_are_read_or_left_alone(text, number):
    """A number that is whole beyond doubt is read; everything else is left for the request to refuse."""
    assert read_cell("num_images", text)[0] == number


@pytest.mark.parametrize(
    ("text", "truth"),
    [("TRUE", True), ("true", True), ("Yes", True), ("1", True), ("WAHR", True), ("ja", True), ("1.0", True),
     ("FALSE", False), ("no", False), ("0", False), ("Falsch", False), ("nein", False), ("maybe", "maybe")],
)  # fmt: skip
def test_words_for_true_and_false(text, truth):
    """The words that spreadsheets and people write, in any case."""
    assert read_cell("return_base64", text)[0] is truth or truth == "maybe"
    assert read_cell("return_base64", text)[0] == truth


def test_a_prompt_is_never_touched():
    """Spaces, case and digits of a prompt are what the user wants to send."""
    assert read_cell("prompt", "  2.0 TRUE \n") == ("  2.0 TRUE \n", None)


CELLS = {
    "prompt": st.sampled_from(("x", " y ", "", " ", "\u2003", "1:1")) | st.text(max_size=5),
    "image_reference": st.just("") | REFERENCES | st.sampled_from((" ", "https://e.com/a ", "/a.png")),
    "face_reference": st.just("") | REFERENCES | st.sampled_from(("data:image/png,x", "https://", "HTTPS://x")),
    "aspect_ratio": st.sampled_from(("", "16:9", "16:09", "01:01:00", "7:5", " 4:3")),
    "face_reference_mode": st.sampled_from(("", "match_base", "MATCH_BASE", "match")),
    "resolution": st.sampled_from(("", "1k", "2K", "8k")),
    "generation_mode": st.sampled_from(("", "fast", "Quality", "turbo")),
    "seed": st.sampled_from(("", "0", "7", "007", "7.0", "42", "4294967295", "4294967296", "٣", "²", " "))
    | st.integers(-9, 2**33).map(str),
    "num_images": st.sampled_from(("", "1", "2.0", "0", "5", "x")),
    "output_format": st.sampled_from(("", "png", "JPEG ", "webp")),
    "return_base64": st.sampled_from(("", "TRUE", "no", "maybe")),
}  # fmt: skip


def by_the_rules(cells):
    """The same row without the reader's memo: every cell read, then the request's own rules."""
    found = {field: read_cell(field, text)[0] for field, text in zip(FIELDS, cells, strict=True)}
    typed = {field: value for field, value in found.items() if value is not None}
    return answer(lambda: checked_request(typed, NO_FOLDER))


def answer(ask):
    """What was asked for, or the faults that came instead."""
    try:
        return ask()
    except InvalidRequest as error:
        return [str(fault) for fault in error.faults]


@given(st.lists(st.tuples(*(CELLS[field] for field in FIELDS)), max_size=3), st.data())
def test_the_memo_never_changes_an_answer(rows, data):
    """Whatever was read before, a row gives the same request or the same faults as by the plain rules."""
    reader = RowReader(read_columns(FIELDS)[0])
    for row in rows:
        for field in data.draw(st.lists(st.sampled_from(FIELDS), max_size=4)):
            # rows that share a shape and differ in one cell are those a memo could confuse
            place = FIELDS.index(field)
            other = (*row[:place], data.draw(CELLS[field]), *row[place + 1 :])
            for cells in (row, other, row):
                expected = by_the_rules(cells)
                found = answer(lambda cells=cells: reader.read(cells))
                if isinstance(found, list):
                    assert found == expected
                    continue
                request = request_of(found)
                assert request == expected
                assert request.body() == expected.body()
                assert found[0].cell == price_cell(expected)
                repairs = [read_cell(field, text)[1] for field, text in zip(FIELDS, cells, strict=True)]
                assert sorted(found[0].repairs) == sorted(filter(None, repairs))


@given(requests(), requests(), st.data())
def test_rows_have_one_identity_exactly_when_they_ask_for_one_picture(first, second, data):
    """Identity and canonical form agree, so occurrences are counted as the ledger will see them."""
    for field in data.draw(st.lists(st.sampled_from(FIELDS))):
        second.pop(field, None) if field not in first else second.update({field: first[field]})
    one, two = parse_request(first), parse_request(second)
    same = identity(read_request(one)) == identity(read_request(two))
    assert same == (canonical(one) == canonical(two))


@given(requests())
def test_identity_knows_the_defaults(given_request):
    """A request with its defaults written out is the same picture in the same file."""
    short = parse_request(given_request)
    seed = 42 if short.seed is None else short.seed
    long = replace(short, seed=seed, num_images=short.num_images or 1)
    assert identity(read_request(short)) == identity(read_request(long))


def test_a_record_keeps_the_types_of_json():
    """A number in quotes is a text, as JSON says; null and empty texts are omitted inputs."""
    reading = read_record({"prompt": "x", "seed": None, "resolution": "", "num_images": 2.0})
    assert request_of(reading).inputs() == {"prompt": "x", "num_images": 2}
    with pytest.raises(InvalidRequest) as caught:
        read_record({"prompt": "x", "num_images": "2", "seed": 1.5, "return_base64": "true"})
    assert [fault.field for fault in caught.value.faults] == ["seed", "num_images", "return_base64"]
