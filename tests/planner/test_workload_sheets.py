"""Bytes as rows: encodings, separators, quotes, JSON lines, workbooks, and whatever else comes."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.request import FIELDS, parse_request
from planner.sheets import cell_text
from planner.workload import WINDOWS_TEXT, open_workload, read_workload
from tests.planner.workload_examples import (
    LATIN_PROMPTS,
    LOOSE_NAMES,
    PROMPTS,
    loose_cells,
    plain_cell,
    requests,
    table,
)


@pytest.fixture
def write(tmp_path):
    """Writes bytes as a workload file and gives its path."""

    def write_file(content: bytes | str, name: str = "looks.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write_file


def read_bytes(content: bytes, name: str = "looks.csv"):
    """The jobs in some bytes, by way of a real file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return read_workload(path)


def outcome(content: bytes, name: str):
    """The jobs in some bytes, or the faults; any other error is a failed test."""
    try:
        return read_bytes(content, name), ()
    except InputError as error:
        return [], error.faults


def fault_of(path, **options):
    with pytest.raises(InputError) as caught:
        read_workload(path, **options)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    ("encoding", "prompts"),
    [("utf-8", PROMPTS), ("utf-8-sig", PROMPTS), ("utf-16", PROMPTS), ("cp1252", LATIN_PROMPTS)],
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_requests_come_back_from_every_dialect(encoding, prompts, data):
    """Valid requests, written in any separator, line end, encoding and spelling, come back equal."""
    wanted = data.draw(st.lists(requests(prompts), max_size=6))
    header = data.draw(st.permutations(FIELDS))
    rows = [[data.draw(loose_cells(field, row.get(field))) for field in header] for row in wanted]
    loose = [data.draw(LOOSE_NAMES)(field) for field in header]
    separator, newline = data.draw(st.sampled_from(",;\t")), data.draw(st.sampled_from(("\n", "\r\n", "\r")))
    content = table(rows, loose, separator, newline).encode(encoding)
    assert [job.request for job in read_bytes(content)] == [parse_request(row) for row in wanted]


@settings(max_examples=50, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=5))
def test_requests_come_back_from_json_lines(wanted):
    """One object per line, inputs typed as JSON, blank lines between them."""
    content = "\n\n".join(json.dumps(row, ensure_ascii=len(wanted) % 2 == 0) for row in wanted)
    assert [job.request for job in read_bytes(content.encode(), "a.jsonl")] == [
        parse_request(row) for row in wanted
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60) | st.text(st.sampled_from('prom,sed;"\n\r\t {}[]:1k\x00\ufeff\u2028'), max_size=60),
    st.sampled_from(("", "prompt,seed\n", '{"prompt": "x"}\n', 'prompt;"resolution"\r')),
    st.sampled_from(("a.csv", "a.jsonl", "a.xlsx", "a")),
)  # fmt: skip
def test_any_text_is_jobs_or_an_input_error(text, start, name):
    """No text makes anything but jobs or faults with a place in the file."""
    jobs, faults = outcome((start + text).encode("utf-8", "replace"), name)
    assert all(job.request.prompt.strip() for job in jobs)
    assert all(fault.message and fault.where for fault in faults)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=80), st.sampled_from((b"", b"PK\x03\x04", b"\xff\xfe", b"\xef\xbb\xbf", b"prompt\n"))
)
def test_any_bytes_are_jobs_or_an_input_error(content, start):
    """The same for bytes that are no text at all."""
    jobs, faults = outcome(start + content, "looks.csv")
    assert not (jobs and faults)
    assert all("\n" not in str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("header", "separator"),
    [("Prompt (de, en),prompt,seed", ","), ('"prompt";"a,b,c,d"', ";"), ("prompt\tteam, squad", "\t"),
     ("prompt", ","), ("a,b,c;prompt;seed", ";")],
)  # fmt: skip
def test_the_header_decides_the_separator(write, header, separator):
    """The separator under which most inputs are named wins, however many others the header holds."""
    row = separator.join("x" if name.strip('"') == "prompt" else "" for name in header.split(separator))
    (job,) = read_workload(write(f"{header}\n{row}\n"))
    assert job.request.prompt == "x"


def test_windows_text_is_read_and_said_so(write):
    """A late byte that is not UTF-8 is enough; the repair names the file."""
    path = write(b"prompt\n" + (b"plain " * 20 + b"\n") * 10_000 + "Größe 5 €\n".encode("cp1252"))
    workload = open_workload(path)
    jobs = list(workload.jobs())
    assert jobs[-1].request.prompt == "Größe 5 €"
    assert [(repair.what, repair.count) for repair in workload.repairs] == [(WINDOWS_TEXT, 1)]


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [(b"", "a.csv", "empty_file"), (b"\n ; \n", "a.csv", "empty_file"), (b"", "a.jsonl", "empty_file"),
     (b"\xef\xbb\xbf", "a.csv", "empty_file"), (b"prompt\n\x81\x8d", "a.csv", "unreadable_file"),
     (b"\xff\xfea", "a.csv", "unreadable_file"), (b"PK\x03\x04", "a.csv", "unreadable_file"),
     (b"prompt\nx", "a.xlsx", "unreadable_file"), (b"\xd0\xcf\x11\xe0", "a.xls", "unreadable_file"),
     (b"sku\n1", "a.csv", "missing_column"), (b'prompt,"seed\n', "a.csv", "broken_row"),
     (b"[1]", "a.jsonl", "broken_row"), (b'{"prompt": "x"', "a.jsonl", "broken_row"),
     (b'{"prompt": "x", "seed": 1, "seed": 2}', "a.jsonl", "broken_row"),
     (b'{"prompt": "x", "sku": "\\ud800"}', "a.jsonl", "broken_row"),
     (b'{"a":' * 100_000, "a.jsonl", "broken_row"),
     (b'{"seed": ' + b"9" * 9999 + b"}", "a.jsonl", "broken_row")],
)  # fmt: skip
def test_what_is_no_table_is_one_fault(write, content, name, code):
    """Each way of not being a workload has one fault with a stable code, a place and a hint."""
    fault = fault_of(write(content, name))
    assert fault.code == code
    assert fault.where
    assert fault.hint


@pytest.mark.parametrize("name", ["missing.csv", "", "."])
def test_a_path_that_cannot_be_read_is_an_input_error(tmp_path, monkeypatch, name):
    """A missing file, no name and a folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        open_workload(name)
    assert caught.value.faults[0].code == "unreadable_file"


def test_broken_quotes_stop_one_row_only(write):
    """A quote in the middle of a cell is text, behind a closing quote it is a fault; the rest goes on."""
    path = write('prompt,seed\n6" heels,1\n"6" heels",2\n"6"" heels",3\nx,4\n"open,5\ny,6\n')
    workload = open_workload(path)
    assert [job.request.prompt for job in workload.jobs(skip_bad=True)] == ['6" heels', '6" heels', "x"]
    assert [fault.where.rsplit(":", 1)[1] for fault in workload.faults] == ["3", "6"]
    assert "never closed" in workload.faults[1].message


def test_a_picture_as_base64_fits_into_a_cell(write):
    """A cell may be far longer than the csv module's own limit."""
    face = "data:image/png;base64," + "A" * 3_000_000
    (job,) = read_workload(write(f'prompt,face_reference\nx,"{face}"\n'))
    assert job.request.face_reference == face


def test_standard_input_is_a_file_like_others(monkeypatch):
    """`-` reads what is piped in; places are named `stdin`."""
    piped = io.TextIOWrapper(io.BytesIO(b"key;prompt\na;x\nb;\n"))
    monkeypatch.setattr(sys, "stdin", piped)
    workload = open_workload("-")
    for _ in range(2):
        assert [job.where for job in workload.jobs(skip_bad=True)] == ["stdin:2"]
    assert workload.faults[0].where == "stdin:3"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_with_a_name_can_be_read(tmp_path):
    """What a shell's process substitution gives cannot be read twice, so it is kept."""
    import threading

    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"prompt\nx\n",))
    writer.start()
    (job,) = read_workload(path)
    writer.join()
    assert job.request.prompt == "x"


def test_a_json_line_may_hold_its_parts_apart(write):
    """Flat or under `request` and `labels`, with loose names, numbers as labels and null as nothing."""
    lines = [
        {"key": 7, "Prompt": "x", "numImages": 2.0, "labels": {"Team": " social "}, "sku": 12, "note": None},
        {"request": {"prompt": "y", "resolution": "4K"}, "labels": {"team": "brand"}, "tags": ["a"]},
    ]
    first, second = read_workload(write("\n".join(map(json.dumps, lines)), "a.ndjson"))
    assert (first.key, first.request.num_images, first.labels) == ("7", 2, {"sku": "12", "team": "social"})
    assert (second.key, second.request.resolution, second.labels) == (None, "4k", {"team": "brand"})
    assert second.columns == {"prompt": "y", "resolution": "4K", "team": "brand", "tags": '["a"]'}


def test_faults_of_json_lines_are_faults_of_their_rows(write):
    """Slips in names, unknown inputs, doubled labels and objects as keys are each said at their line."""
    lines = [
        {"prompt": "x", "resolutoin": "4k"},
        {"request": {"prompt": "x", "steps": 9}},
        {"prompt": "x", "team": "a", "labels": {"Team": "b"}},
        {"prompt": "x", "key": {"a": 1}},
        {"sku": "no prompt"},
        {"prompt": "good"},
    ]
    workload = open_workload(write("\n".join(map(json.dumps, lines)), "a.jsonl"))
    assert [job.request.prompt for job in workload.jobs(skip_bad=True)] == ["good"]
    found = [(fault.where.rsplit(":", 1)[1], fault.code) for fault in workload.faults]
    assert found == [
        ("1", "unknown_field"), ("2", "unknown_field"), ("3", "duplicate_column"), ("4", "invalid_value"),
        ("5", "missing"),
    ]  # fmt: skip


def test_a_workbook_is_read_like_its_csv_export(tmp_path):
    """Time cells are ratios again, numbers are whole, truth is truth, and rows keep their number."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Key", "Prompt", "Aspect-Ratio", "Num Images", "return base64", "seed", "Team"])
    sheet.append([1001, "x", time(16, 9), 2.0, True, 4294967295, "Größe"])
    sheet.append([])
    sheet.append(["b", "y", timedelta(hours=21, minutes=9), 1.5, False, None, date(2026, 11, 1)])
    sheet.append(["c", "z", "03:04", None, None, None, datetime(2026, 11, 1, 8)])  # noqa: DTZ001
    path = tmp_path / "looks.csv"
    book.save(path)
    workload = open_workload(path)
    first, last = workload.jobs(skip_bad=True)
    assert first.request.inputs() == {
        "prompt": "x", "aspect_ratio": "16:9", "seed": 4294967295, "num_images": 2, "return_base64": True
    }  # fmt: skip
    assert (first.key, first.labels, first.line) == ("1001", {"team": "Größe"}, 2)
    assert (last.request.aspect_ratio, last.labels, last.line) == ("3:4", {"team": "2026-11-01 08:00:00"}, 5)
    assert [(fault.where[-2:], fault.field) for fault in workload.faults] == [(":4", "num_images")]


@settings(max_examples=15, deadline=None)
@given(st.lists(requests(st.sampled_from(("x", "Größe\nzwei", "=1+1"))), min_size=1, max_size=4))
def test_requests_come_back_from_a_workbook(wanted):
    """Valid requests written as an Excel workbook come back equal."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(list(FIELDS))
    for place, row in enumerate(wanted, 2):
        for column, field in enumerate(FIELDS, 1):
            cell = book.active.cell(place, column)
            if field in row:
                cell.value = row[field]
                cell.data_type = "s" if isinstance(row[field], str) else cell.data_type
    stream = io.BytesIO()
    book.save(stream)
    jobs = read_bytes(stream.getvalue(), "looks.xlsx")
    assert [job.request for job in jobs] == [parse_request(row) for row in wanted]


def test_without_openpyxl_the_extra_is_named(write, monkeypatch):
    """A workbook without the extra is an input error that says what to install."""
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    fault = fault_of(write(b"PK\x03\x04", "a.xlsx"))
    assert fault.code == "missing_extra"
    assert "pip install 'fashn-planner[sheets]'" in fault.hint


def test_a_date_stays_a_date():
    """A date without a time of day is written as Excel shows it."""
    assert cell_text(datetime(2026, 11, 1)) == "2026-11-01"  # noqa: DTZ001
    assert cell_text(timedelta(hours=25, minutes=1)) == "25:01:00"
    assert cell_text(0.5) == plain_cell(0.5)
