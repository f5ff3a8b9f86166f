"""A history file as past requests: what its columns mean, in whatever form a studio keeps it."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from planner.cells import CHOICES_RESPELLED, WHOLE_NUMBERS
from planner.errors import InputError
from planner.history import COLUMNS_RESPELLED, SAME_PREDICTION, WINDOWS_TEXT, read_history
from planner.loading import shipped_prices
from planner.notes import TEXTS_TRIMMED
from planner.past import DECIMAL_COMMAS, STAND_IN_PICTURE, STATUSES_RESPELLED, stand_in
from planner.quoting import quote
from planner.request import closed_fields

HISTORY = Path(__file__).parents[1] / "data" / "history.csv"
HEADER = "submitted_at,completed_at,status,resolution,face_reference,num_images,credits_used,team"
ROW = "2026-08-01T02:00:00Z,2026-08-01T02:00:30Z,completed,2k,,1,4,brand"


@pytest.fixture
def write(tmp_path):
    """Writes a history file and gives its path."""

    def write_file(text: str | bytes, name: str = "past.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write_file


def faults_of(path, **options):
    with pytest.raises(InputError) as caught:
        read_history(path, **options)
    return [(fault.where.rpartition("/")[2], fault.code, fault.field) for fault in caught.value.faults]


def repairs_of(found):
    return {repair.what: repair.count for repair in found.repairs}


def test_the_sample_history_says_what_a_plain_reading_of_it_says():
    """Numbers, money, failures and missing charges are those of a naive pass over the file."""
    rows = list(csv.DictReader(HISTORY.read_text().splitlines()))
    found = read_history(HISTORY)
    past = found.past
    assert len(past) == len(rows) == 12_000
    assert found.repairs == ()
    assert sum(one.credits_quoted for one in past) == sum(int(row["credits_quoted"]) for row in rows)
    assert [one.credits_used for one in past].count(None) == [row["credits_used"] for row in rows].count("")
    assert sum(one.free for one in past) == sum(row["status"] == "failed" for row in rows) == 462
    assert {one.rate_microusd for one in past} == {75_000, 60_000}
    assert {frozenset(one.labels) for one in past} == {frozenset(("team", "campaign", "stage"))}
    assert [one.prediction_id for one in past] == [row["prediction_id"] for row in rows]


def test_the_quotes_of_the_sample_are_those_of_the_price_book():
    """What was quoted then is what the request read from the file costs at its instant."""
    book = shipped_prices()
    for one in read_history(HISTORY).past:
        assert quote(one.request, book, one.submitted_at).credits == one.credits_quoted


def test_requests_stand_in_the_order_of_their_submission(write):
    """The order of the file does not matter; among equal instants it decides."""
    later, first, second = (
        f"2026-08-01T0{hour}:00:00Z,,completed,1k,,1,1,{team}"
        for hour, team in ((3, "late"), (1, "one"), (1, "two"))
    )
    found = read_history(write("\n".join([HEADER, later, first, second])))
    assert [one.labels["team"] for one in found.past] == ["one", "two", "late"]
    assert found.past[0].where.endswith("past.csv:3")


@pytest.mark.parametrize(
    ("cell", "there"),
    [("yes", True), ("TRUE", True), ("ja", True), ("https://cdn.example.com/me.png", True),
     ("data:image/png;base64,AAAA", True), ("", False), ("no", False), ("false", False)],
)  # fmt: skip
def test_of_a_face_only_its_presence_is_kept(write, cell, there):
    """Yes and no, or the reference itself, for which a stand-in is kept (law 21)."""
    row = ROW.replace("2k,,", f'2k,"{cell}",')
    (one,) = read_history(write(f"{HEADER}\n{row}")).past
    assert one.request.face_reference == (STAND_IN_PICTURE if there else None)


def test_a_prompt_in_a_history_is_not_kept(write):
    """Neither in the request nor among the labels, nor in how a past request is shown."""
    text = f"{HEADER},Prompt\n{ROW},a secret dress\n"
    found = read_history(write(text))
    assert "secret" not in repr(found) + repr(found.past) + found.past[0].request.prompt
    assert set(found.past[0].labels) == {"team"}


def test_columns_are_known_in_any_spelling_and_repairs_are_counted(write):
    """Case, gaps, `1.0`, `2K`, a decimal comma and spaces around a label are read and counted."""
    text = (
        "Submitted At;STATUS;Resolution;numImages;Credits-Used;usd_per_credit;Cost Center\n"
        "2026-08-01T02:00:00Z;Completed;2K;1.0;4;0,075; brand \n"
    )
    found = read_history(write(text))
    (one,) = found.past
    assert (one.request.resolution, one.credits_used, one.rate_microusd) == ("2k", 4, 75_000)
    assert (one.status, one.labels) == ("completed", {"cost_center": "brand"})
    assert repairs_of(found) == {
        COLUMNS_RESPELLED: 5, WHOLE_NUMBERS: 1, CHOICES_RESPELLED: 1,
        DECIMAL_COMMAS: 1, STATUSES_RESPELLED: 1, TEXTS_TRIMMED: 1,
    }  # fmt: skip


def test_columns_that_are_nearly_known_are_errors_with_a_suggestion(write):
    """A slip in the name of an input, or of a history's own columns, is never taken for a label."""
    path = write("submited_at,statuss,resolutoin,credit_used,team\n,,,,\n")
    with pytest.raises(InputError) as caught:
        read_history(path)
    assert [fault.hint for fault in caught.value.faults] == [
        f"did you mean `{name}`?" for name in ("submitted_at", "status", "resolution", "credits_used")
    ]


def test_what_has_to_be_there_is_missed(write):
    """The instant, the status and at least one input of the request."""
    assert faults_of(write("team,credits_used\nbrand,4\n")) == [
        ("past.csv:1", "missing_column", "submitted_at"),
        ("past.csv:1", "missing_column", "status"),
        ("past.csv:1", "missing_column", None),
    ]


def test_the_same_column_twice_is_a_fault(write):
    """Two spellings of one column contradict each other."""
    assert faults_of(write("submitted_at,Submitted At,status,resolution\n")) == [
        ("past.csv:1", "duplicate_column", "submitted_at")
    ]


@pytest.mark.parametrize(
    ("cells", "faults"),
    [
        (",,completed,2k,,1,4,brand", [("missing", "submitted_at")]),
        ("2026-08-01T02:00:00,,completed,2k,,1,4,b", [("invalid_value", "submitted_at")]),
        ("yesterday,,completed,2k,,1,4,b", [("invalid_value", "submitted_at")]),
        ("2026-08-02T00:00:00Z,2026-08-01T00:00:00Z,completed,2k,,1,4,b",
         [("invalid_value", "completed_at")]),
        ("2026-08-01T02:00:00Z,,,2k,,1,4,b", [("missing", "status")]),
        ("2026-08-01T02:00:00Z,,completed,8k,,9,4,b",
         [("invalid_value", "resolution"), ("invalid_value", "num_images")]),
        ("2026-08-01T02:00:00Z,,completed,2k,perhaps,1,4,b", [("invalid_value", "face_reference")]),
        ("2026-08-01T02:00:00Z,,completed,2k,,1,-4,b", [("invalid_value", "credits_used")]),
        ("2026-08-01T02:00:00Z,,completed,2k,,1,2.5,b", [("invalid_value", "credits_used")]),
        ("2026-08-01T02:00:00Z,,completed,2k,,1,4,b,more", [("broken_row", None)]),
    ],
)  # fmt: skip
def test_each_way_to_be_wrong_is_told_with_its_line(write, cells, faults):
    """All faults of a row at once, at its line, and none of the rows around it."""
    found = faults_of(write("\n".join([HEADER, ROW, cells, ROW])))
    assert found == [("past.csv:3", code, field) for code, field in faults]


@pytest.mark.parametrize("price", ["0", "-1", "free", "1,000", "0.0000001", "1e3", "nan"])
def test_what_is_no_price_of_a_credit_is_refused(write, price):
    """Money is whole micro-dollars above nothing, and a comma that may part thousands is no guess."""
    path = write(f'{HEADER},usd_per_credit\n{ROW},"{price}"\n')
    assert faults_of(path) == [("past.csv:2", "invalid_value", "usd_per_credit")]


def test_the_faults_of_a_file_come_all_at_once(write):
    """Whatever is wrong on whatever line is told in one go, and a reference is never quoted."""
    bad = ROW.replace("2k,,", "2k,face-of-jane.png,")
    path = write("\n".join([HEADER, bad, ROW, bad]))
    with pytest.raises(InputError) as caught:
        read_history(path)
    assert [fault.where.rpartition(":")[2] for fault in caught.value.faults] == ["2", "4"]
    assert "jane" not in str(caught.value)


def test_a_missing_charge_is_not_nothing(write):
    """Only failures are free, and only where nothing was charged (law 17)."""
    rows = [
        ROW.replace("completed", status).replace(",1,4,", f",1,{used},")
        for status, used in (
            ("completed", ""),
            ("completed", 0),
            ("failed", ""),
            ("failed", 2),
            ("time_out", ""),
        )
    ]
    past = read_history(write("\n".join([HEADER, *rows]))).past
    assert [(one.credits_used, one.free) for one in past] == [
        (None, False), (0, True), (None, True), (2, False), (None, False)
    ]  # fmt: skip


def test_a_prediction_stands_in_a_history_once(write):
    """The very same row again is counted and dropped; another row under its id is a fault."""
    header, row = f"prediction_id,{HEADER}", f"p-1,{ROW}"
    found = read_history(write("\n".join([header, row, row])))
    assert len(found.past) == 1
    assert repairs_of(found) == {SAME_PREDICTION: 1}
    other = row.replace(",4,", ",5,")
    assert faults_of(write("\n".join([header, row, other]))) == [
        ("past.csv:3", "duplicate_prediction", "prediction_id")
    ]


def test_labels_can_be_restricted(write):
    """Only the named columns are kept; nothing else of the studio's own leaves the file."""
    path = write(f"{HEADER},customer\n{ROW},ACME\n")
    assert read_history(path).past[0].labels == {"team": "brand", "customer": "ACME"}
    assert read_history(path, {"team"}).past[0].labels == {"team": "brand"}


def test_keys_come_with_the_request(write):
    """What an import into a ledger needs is kept."""
    (one,) = read_history(write(f"{HEADER},Key\n{ROW}, sku-17 \n")).past
    assert one.key == "sku-17"


def test_json_lines_say_the_same_as_a_table(write):
    """Flat or with a request and labels of their own; null is a cell that is empty."""
    flat = {
        "submitted_at": "2026-08-01T02:00:00Z", "completed_at": "2026-08-01T02:00:30Z",
        "status": "completed", "resolution": "2k", "face_reference": None, "num_images": 1,
        "credits_used": 4, "team": "brand",
    }  # fmt: skip
    nested = {name: flat[name] for name in ("submitted_at", "completed_at", "status", "credits_used")} | {
        "request": {"prompt": "a secret dress", "resolution": "2k", "num_images": 1},
        "labels": {"team": "brand"},
        "output": ["https://cdn.example.com/output_0.png"],
    }
    text = json.dumps(flat) + "\n" + json.dumps(nested) + "\n"
    (table,) = read_history(write(f"{HEADER}\n{ROW}\n")).past
    for one in read_history(write(text, "past.jsonl")).past:
        assert (one.request, one.labels, one.credits_used) == (table.request, table.labels, 4)
        assert (one.submitted_at, one.completed_at) == (table.submitted_at, table.completed_at)
    (face,) = read_history(write(json.dumps({**flat, "face_reference": True}), "past.jsonl")).past
    assert face.request.face_reference == STAND_IN_PICTURE


def test_objects_have_faults_with_their_lines(write):
    """A line that is no object, and one whose names are wrong, are told apart from the good one."""
    good = {"submitted_at": "2026-08-01T02:00:00Z", "status": "completed", "resolution": "1k"}
    lines = [json.dumps(good), "[1]", json.dumps({**good, "statuss": "x"}), json.dumps({**good, "seed": 1.5})]
    assert faults_of(write("\n".join(lines), "past.jsonl")) == [
        ("past.jsonl:2", "broken_row", None),
        ("past.jsonl:3", "unknown_field", "status"),
        ("past.jsonl:4", "invalid_value", "seed"),
    ]


def test_files_are_read_as_spreadsheets_save_them(write):
    """UTF-16 with tabs, Windows-1252 with semicolons, blank rows and short rows."""
    text = f"{HEADER}\n{ROW}\n\n,,,,,,,\n{ROW.replace('brand', 'Größe')}\n"
    utf16 = read_history(write(text.replace(",", "\t").encode("utf-16")))
    assert [one.labels["team"] for one in utf16.past] == ["brand", "Größe"]
    old = read_history(write(text.replace(",", ";").encode("cp1252")))
    assert [one.labels["team"] for one in old.past] == ["brand", "Größe"]
    assert repairs_of(old) == {WINDOWS_TEXT: 1}


def test_a_workbook_states_utc_in_the_name_of_its_column(tmp_path):
    """Cells of a workbook have no offset: `submitted_at_utc` gives it, without it they are refused."""
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "past.xlsx"
    for name, faults in (("submitted_at_utc", []), ("submitted_at", ["submitted_at"])):
        book = openpyxl.Workbook()
        book.active.append([name, "status", "resolution", "num_images"])
        book.active.append([datetime(2026, 8, 1, 2, 30), "completed", "2k", 2])  # noqa: DTZ001
        book.save(path)
        if faults:
            assert [field for _, _, field in faults_of(path)] == faults
        else:
            (one,) = read_history(path).past
            assert one.submitted_at == datetime(2026, 8, 1, 2, 30, tzinfo=UTC)
            assert one.request.num_images == 2


@pytest.mark.parametrize(
    "text", ["2026-08-01T04:00:00+02:00", "2026-08-01 02:00:00 UTC", "2026-08-01T02:00Z"]
)
def test_instants_say_their_offset_in_any_way(write, text):
    """An offset, Z or UTC: all are the same instant."""
    (one,) = read_history(write(f"{HEADER}\n{ROW.replace('2026-08-01T02:00:00Z', text)}")).past
    assert one.submitted_at == datetime(2026, 8, 1, 2, tzinfo=UTC)


def test_requests_with_the_same_fields_are_one_value():
    """What many rows have in common is kept once."""
    past = read_history(HISTORY).past
    assert len({id(one.request) for one in past}) <= 192
    assert all(one.request == stand_in(closed_fields(one.request)) for one in past[:200])
